"""Attention over a packed row on a CPU: the row is cut into the tries' roots and their child subtrees.

A dense mask would spend L² work on mostly hidden pairs. A *segment* (a root, or a child subtree of one) sees nothing
but its root and itself, so it is attended in a call of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Span:
    """Positions ``start`` to ``end`` of the pack, which see those of their trie's root and each other."""

    root_start: int
    root_end: int
    start: int
    end: int


@dataclass(frozen=True)
class Segment:
    """A root or child subtree of Q positions; a subtree's keys are its root's, before its own Q: K in all."""

    opens_trie: bool
    """A root: the segments after it, up to the next one, are its child subtrees."""
    mask: Tensor
    """[Q, K] float32, added to the scores: -inf where a key is hidden from a query, 0 elsewhere. (A boolean mask
    would be turned into this one again in every layer.)"""

    @property
    def length(self) -> int:
        return len(self.mask)


def segments_of(spans: Sequence[Span], enter: np.ndarray, leave: np.ndarray) -> tuple[Segment, ...]:
    """Segments from spans that share out the pack in order: roots (whose own root is empty) and child subtrees.

    ``enter`` and ``leave`` [L] are the Euler-tour interval of each position's node. Positions behind the last span
    are padding.
    """
    return tuple(_segment(span, enter, leave) for span in spans)


def _segment(span: Span, enter: np.ndarray, leave: np.ndarray) -> Segment:
    own = np.arange(span.start, span.end)
    root = span.root_end - span.root_start
    mask = np.zeros((len(own), root + len(own)), np.float32)
    mask[:, root:][~visible(own[:, None], own[None, :], enter, leave)] = -np.inf
    return Segment(root == 0, torch.as_tensor(mask))


def visible(q: np.ndarray, k: np.ndarray, enter: np.ndarray, leave: np.ndarray) -> np.ndarray:
    """Whether position ``k`` is visible to position ``q`` (broadcast)."""
    return (k <= q) & (enter[k] <= enter[q]) & (enter[q] < leave[k])


def segment_attention(
    query: Tensor, key: Tensor, value: Tensor, segments: Sequence[Segment], scaling: float | None
) -> Tensor:
    """query [1, H, L, D], key and value [1, H_kv, L, D] → [1, L, H, D]; padding gets zeros."""
    lengths = [segment.length for segment in segments]
    padding = query.shape[2] - sum(lengths)
    # Split rather than sliced: the backward pass of every slice would fill and add a gradient of the whole pack.
    parts = (x.transpose(1, 2).split([*lengths, padding], 1) for x in (query, key, value))
    outputs = []
    for segment, q, k, v in zip(segments, *parts, strict=False):
        if segment.opens_trie:
            root_k, root_v = k, v
        else:
            k, v = torch.cat([root_k, k], 1), torch.cat([root_v, v], 1)
        out = nn.functional.scaled_dot_product_attention(
            q.transpose(1, 2),
            k.transpose(1, 2),
            v.transpose(1, 2),
            attn_mask=segment.mask.to(q.dtype),
            scale=scaling,
            enable_gqa=q.shape[2] != k.shape[2],
        )
        outputs.append(out.transpose(1, 2))
    if padding:
        outputs.append(outputs[-1].new_zeros(1, padding, *outputs[-1].shape[2:]))
    return torch.cat(outputs, 1)
