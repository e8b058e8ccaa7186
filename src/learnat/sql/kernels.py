"""Compiled edit distances of trees and texts. Import them through ``learnat.sql.similarity``: numba is slow to load."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

Array = np.ndarray[Any, np.dtype[np.int64]]


def _tree_distance(
    labels_a: Array, leftmost_a: Array, keyroots_a: Array, labels_b: Array, leftmost_b: Array, keyroots_b: Array
) -> int:
    """Zhang and Shasha (1989), figures 4 and 5, with unit costs. Arrays are in postorder.

    ``leftmost[i]`` is the leftmost leaf below ``i``, keyroots are the highest nodes of each leftmost leaf.
    O(n² · min(depth, leaves)²) time, O(n²) memory.
    """
    size_a, size_b = labels_a.shape[0], labels_b.shape[0]
    trees = np.zeros((size_a, size_b), np.int32)
    forests = np.zeros((size_a + 1, size_b + 1), np.int32)
    for root_a in keyroots_a:
        for root_b in keyroots_b:
            first_a, first_b = leftmost_a[root_a], leftmost_b[root_b]
            rows, columns = root_a - first_a + 2, root_b - first_b + 2
            forests[0, 0] = 0
            for i in range(1, rows):
                forests[i, 0] = forests[i - 1, 0] + 1
            for j in range(1, columns):
                forests[0, j] = forests[0, j - 1] + 1
            for i in range(1, rows):
                node_a = first_a + i - 1
                whole_a = leftmost_a[node_a] == first_a
                for j in range(1, columns):
                    node_b = first_b + j - 1
                    best = min(forests[i - 1, j], forests[i, j - 1]) + 1
                    if whole_a and leftmost_b[node_b] == first_b:
                        change = 0 if labels_a[node_a] == labels_b[node_b] else 1
                        best = min(best, forests[i - 1, j - 1] + change)
                        trees[node_a, node_b] = best
                    else:
                        before_a = leftmost_a[node_a] - first_a
                        before_b = leftmost_b[node_b] - first_b
                        best = min(best, forests[before_a, before_b] + trees[node_a, node_b])
                    forests[i, j] = best
    return int(trees[size_a - 1, size_b - 1])


def _text_distance(a: Array, b: Array) -> int:
    """Levenshtein distance of two sequences of code points."""
    previous = np.arange(b.shape[0] + 1)
    current = np.empty_like(previous)
    for i in range(a.shape[0]):
        current[0] = i + 1
        for j in range(b.shape[0]):
            change = 0 if a[i] == b[j] else 1
            current[j + 1] = min(previous[j] + change, previous[j + 1] + 1, current[j] + 1)
        previous, current = current, previous
    return int(previous[b.shape[0]])


def _compiled(function: Callable[..., int], arguments: int) -> Callable[..., int]:
    signature = numba.types.int64(*[numba.types.int64[::1]] * arguments)
    try:
        return numba.njit(signature, cache=True)(function)
    except RuntimeError:
        # numba finds no folder it may write its cache to: compile for this process alone.
        return numba.njit(signature)(function)


tree_distance = _compiled(_tree_distance, 6)
text_distance = _compiled(_text_distance, 2)
