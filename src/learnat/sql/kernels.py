"""Compiled edit distances of trees and texts. Import them through ``learnat.sql.similarity``: numba is slow to load.

The tree edit distance is that of Zhang and Shasha (1989) with unit costs. Their dynamic program compares each
keyroot's subtree of one tree with each of the other. Queries have many keyroots with few nodes, so three things make
it fast here: a leaf, which is most keyroots, is compared with all subtrees at once; for one node of the first tree
the columns of *all* keyroots of the second lie in one row, so that the innermost loop is long; and the leftmost
or the rightmost paths are followed, whichever is less work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np

Ints = np.ndarray[Any, np.dtype[np.int64]]
Places = np.ndarray[Any, np.dtype[np.uint64]]
"""Indices are unsigned: numba would ask of each signed one whether it counts from the end."""
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Function = TypeVar("Function", bound=Callable[..., Any])


def _inner(function: Function) -> Function:
    """Compiled, and cached, as a part of the function that calls it."""
    return numba.njit(function)


class _Paths(NamedTuple):
    """A tree in postorder, its children in the order that makes the paths to follow the leftmost ones."""

    labels: Ints
    leftmost: Places
    """The leftmost leaf below each node."""
    keyroots: Places
    """The highest node of each leftmost leaf, in postorder; leaves left out."""
    work: int
    """Nodes in the subtrees of all keyroots: the work for two trees is the product."""


class _Columns(NamedTuple):
    """The forests that end at each node of each keyroot's subtree, and an empty one before each subtree."""

    empty: Flags
    node: Places
    whole: Flags
    """Whether the forest is the node's subtree alone."""
    before: Places
    """The column of the forest that is left without the node's subtree."""
    size: Ints


@_inner
def _postorder(labels: Ints, sizes: Ints, mirrored: bool) -> tuple[Ints, Places]:
    """From preorder with subtree sizes. Preorder read backwards is the postorder of the mirrored tree."""
    count = labels.shape[0]
    moved, leftmost = np.empty(count, np.int64), np.empty(count, np.uint64)
    if mirrored:
        for node in range(count):
            moved[count - 1 - node] = labels[node]
            leftmost[count - 1 - node] = count - node - sizes[node]
        return moved, leftmost
    depth = np.zeros(count, np.int64)
    for node in range(count):
        for below in range(node + 1, node + sizes[node]):
            depth[below] += 1
        place = node + sizes[node] - 1 - depth[node]
        moved[place] = labels[node]
        leftmost[place] = place + 1 - sizes[node]
    return moved, leftmost


@_inner
def _paths(labels: Ints, sizes: Ints, mirrored: bool) -> _Paths:
    moved, leftmost = _postorder(labels, sizes, mirrored)
    count = labels.shape[0]
    seen = np.zeros(count, np.bool_)
    keyroots = np.empty(count, np.uint64)
    first, work = count, 0
    for node in range(count - 1, -1, -1):
        leaf = leftmost[node]
        if not seen[leaf]:
            seen[leaf] = True
            if leaf != np.uint64(node):
                first -= 1
                keyroots[first] = node
                work += node + 1 - np.int64(leaf)
    return _Paths(moved, leftmost, keyroots[first:].copy(), work)


@_inner
def _columns(tree: _Paths) -> _Columns:
    width = tree.work + tree.keyroots.shape[0]
    empty, whole = np.zeros(width, np.bool_), np.zeros(width, np.bool_)
    node, before = np.zeros(width, np.uint64), np.zeros(width, np.uint64)
    size = np.zeros(width, np.int64)
    column = 0
    for root in tree.keyroots:
        start, first = column, tree.leftmost[root]
        empty[column] = True
        column += 1
        for place in range(np.int64(first), np.int64(root) + 1):
            node[column] = place
            whole[column] = tree.leftmost[place] == first
            before[column] = start + np.int64(tree.leftmost[place] - first)
            size[column] = column - start
            column += 1
    return _Columns(empty, node, whole, before, size)


@_inner
def _leaf_distances(a: _Paths, b: _Paths, trees: Ints) -> None:
    """A leaf stays in a tree that has its label anywhere: all other nodes are inserted, or all but one."""
    for leaf in range(a.labels.shape[0]):
        if a.leftmost[leaf] != np.uint64(leaf):
            continue
        seen = -1
        for node in range(b.labels.shape[0]):
            if b.labels[node] == a.labels[leaf]:
                seen = node
            first = np.int64(b.leftmost[node])
            trees[leaf, node] = node - first + (1 if seen < first else 0)


@_inner
def _all_distances(a: _Paths, b: _Paths) -> Ints:
    """The distance of each subtree of ``a`` from each of ``b``."""
    trees = np.empty((a.labels.shape[0], b.labels.shape[0]), np.int64)
    _leaf_distances(a, b, trees)
    _leaf_distances(b, a, trees.T)
    empty, nodes, whole, before, size = _columns(b)
    width = nodes.shape[0]
    forests = np.empty((a.labels.shape[0] + 1, width), np.int64)
    nothing = forests[0]
    nothing[:] = size
    for root in a.keyroots:
        first = a.leftmost[root]
        for row in range(1, np.int64(root - first) + 2):
            node = first + np.uint64(row - 1)
            above, current, distances = forests[row - 1], forests[row], trees[node]
            rest = a.leftmost[node] - first
            left = diagonal = 0
            if rest == 0:
                label = a.labels[node]
                for column in range(width):
                    up = above[column]
                    if empty[column]:
                        left = row
                    else:
                        other = nodes[column]
                        left = min(up, left) + 1
                        if whole[column]:
                            left = min(left, diagonal + (1 if b.labels[other] != label else 0))
                            distances[other] = left
                        else:
                            left = min(left, nothing[before[column]] + distances[other])
                    current[column] = left
                    diagonal = up
            else:
                without = forests[rest]
                for column in range(width):
                    left = min(min(above[column], left) + 1, without[before[column]] + distances[nodes[column]])
                    if empty[column]:
                        left = row
                    current[column] = left
    return trees


def _tree_distance(labels_a: Ints, sizes_a: Ints, labels_b: Ints, sizes_b: Ints) -> int:
    """Edit distance of two trees, each of one node at least, in preorder with subtree sizes.

    O(n² · min(depth, leaves)²) time, O(n² · min(depth, leaves)) memory.
    """
    a, b = _paths(labels_a, sizes_a, False), _paths(labels_b, sizes_b, False)
    mirrored_a, mirrored_b = _paths(labels_a, sizes_a, True), _paths(labels_b, sizes_b, True)
    if mirrored_a.work * mirrored_b.work < a.work * b.work:
        a, b = mirrored_a, mirrored_b
    return int(_all_distances(a, b)[-1, -1])


def _text_distance(a: Ints, b: Ints) -> int:
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
    except Exception:
        # The cache cannot be written or read (no folder, full disk, a damaged index): compile for this process alone.
        return numba.njit(signature)(function)


tree_distance = _compiled(_tree_distance, 4)
text_distance = _compiled(_text_distance, 2)
