"""Attention over a packed row on a CPU: segments of its tries in batched calls with boolean masks.

A dense mask would spend L² work on mostly hidden pairs; instead the row is cut into *segments* (a child subtree of a
trie's root against the root's tokens and its own), and segments of similar lengths are attended in one call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

LEAST_FILL = 0.75
"""A group's smallest segment has at least this share of the query-key pairs that it is padded to."""


@dataclass(frozen=True)
class Segments:
    """A pack cut into the tries' roots and their child subtrees, grouped by length.

    A group of S segments with at most Q queries and K keys takes S·Q entries of ``queries`` and S·K of ``keys``.
    """

    masks: tuple[Tensor, ...]  # of each group: [S, 1, Q, K] bool; padding is masked out
    queries: Tensor  # positions in the pack, group after group
    keys: Tensor  # likewise
    inverse: Tensor  # [L] where position p of the pack stands in ``queries``


@dataclass(frozen=True)
class Span:
    """Positions ``start`` to ``end`` of the pack, which see those of their trie's root and each other."""

    root_start: int
    root_end: int
    start: int
    end: int

    @property
    def queries(self) -> int:
        return self.end - self.start

    @property
    def keys(self) -> int:
        return self.queries + self.root_end - self.root_start


def segments_of(spans: Sequence[Span], enter: np.ndarray, leave: np.ndarray) -> Segments:
    """Segments from spans that share out the pack: roots (whose own root is empty) and child subtrees.

    ``enter`` and ``leave`` [L] are the Euler-tour interval of each position's node. Positions in no span (padding)
    get the output of another one.
    """
    inverse = np.zeros(len(enter), np.int64)
    groups: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    offset = 0
    for alike in _alike(spans):
        groups.append(_group(alike, enter, leave, inverse, offset))
        offset += groups[-1][0].size
    queries, keys, masks = zip(*groups, strict=True)
    return Segments(
        tuple(torch.as_tensor(mask[:, None]) for mask in masks),
        torch.as_tensor(np.concatenate([q.ravel() for q in queries])),
        torch.as_tensor(np.concatenate([k.ravel() for k in keys])),
        torch.as_tensor(inverse),
    )


def _alike(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """Spans of similar numbers of queries and keys, so that little of a group is padding."""
    group: list[Span] = []
    smallest = queries = keys = 0
    for span in sorted(spans, key=lambda span: (span.keys, span.queries)):
        pairs = span.queries * span.keys
        least = min(smallest, pairs)
        if group and LEAST_FILL * max(queries, span.queries) * max(keys, span.keys) > least:
            yield group
            group, least, queries, keys = [], pairs, 0, 0
        elif not group:
            least = pairs
        group.append(span)
        smallest, queries, keys = least, max(queries, span.queries), max(keys, span.keys)
    yield group


def _group(
    spans: Sequence[Span], enter: np.ndarray, leave: np.ndarray, inverse: np.ndarray, offset: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Query positions [S, Q], key positions [S, K] and mask [S, Q, K] of ``spans``, which are noted in ``inverse``."""
    width, breadth = max(span.queries for span in spans), max(span.keys for span in spans)
    queries, keys = np.zeros((len(spans), width), np.int64), np.zeros((len(spans), breadth), np.int64)
    mask = np.zeros((len(spans), width, breadth), bool)
    # Padding queries see one key, so that their softmax is finite; they are never read.
    mask[:, :, 0] = True
    for s, span in enumerate(spans):
        q = np.arange(span.start, span.end)
        k = np.concatenate([np.arange(span.root_start, span.root_end), q])
        queries[s, : len(q)], keys[s, : len(k)] = q, k
        inverse[q] = offset + s * width + np.arange(len(q))
        mask[s, : len(q), : len(k)] = visible(q[:, None], k[None, :], enter, leave)
    return queries, keys, mask


def visible(q: np.ndarray, k: np.ndarray, enter: np.ndarray, leave: np.ndarray) -> np.ndarray:
    """Whether position ``k`` is visible to position ``q`` (broadcast)."""
    return (k <= q) & (enter[k] <= enter[q]) & (enter[q] < leave[k])


def segment_attention(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scaling: float | None) -> Tensor:
    """query [1, H, L, D], key and value [1, H_kv, L, D] → [1, L, H, D]."""
    masks = segments.masks
    num_queries = [mask.shape[0] * mask.shape[2] for mask in masks]
    num_keys = [mask.shape[0] * mask.shape[3] for mask in masks]
    # One selection for all groups, then a split: the backward pass of every selection, or slice, would fill and add
    # a gradient of the whole pack.
    queries = _rows(query, segments.queries).split(num_queries)
    keys, values = (_rows(x, segments.keys).split(num_keys) for x in (key, value))
    outputs = []
    for mask, *qkv in zip(masks, queries, keys, values, strict=True):
        q, k, v = (x.view(len(mask), -1, *x.shape[1:]).transpose(1, 2) for x in qkv)
        out = nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, scale=scaling, enable_gqa=q.shape[1] != k.shape[1]
        )
        outputs.append(out.transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs).index_select(0, segments.inverse)[None]


def _rows(x: Tensor, positions: Tensor) -> Tensor:
    """[1, H, L, D] at positions [N] → [N, H, D].

    Whole rows are selected: the backward pass of ``index_select`` over the first dimension is several times faster
    on a CPU than that of fancy indexing.
    """
    _, heads, length, width = x.shape
    rows = x[0].transpose(0, 1).reshape(length, heads * width).index_select(0, positions)
    return rows.view(len(positions), heads, width)
