"""Attention over packed tries: a token attends to its own root-to-node path only.

Token ``k`` is visible to ``q`` iff ``k <= q`` and ``enter[k] <= enter[q] < leave[k]``, Euler-tour intervals of one
clock over the whole pack. A dense mask would spend L² work on mostly hidden pairs; instead the pack is cut into
*segments* (a child subtree of a trie's root against the root's tokens and its own), which are attended in one batched
call. The function is registered with transformers, so no model file is patched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ATTENTION_NAME = "learnat_trie"


@dataclass(frozen=True)
class Segments:
    """S segments of at most Q queries and K keys; padding is masked out."""

    queries: Tensor  # [S, Q] positions in the pack
    keys: Tensor  # [S, K] positions in the pack
    mask: Tensor  # [S, 1, Q, K] bool
    inverse: Tensor  # [L] where position p of the pack stands in the flattened [S·Q]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Segments:
        return Segments(*(getattr(self, f.name).to(device, non_blocking=non_blocking) for f in fields(self)))


def segments_of(spans: Sequence[tuple[int, int, int, int]], enter: np.ndarray, leave: np.ndarray) -> Segments:
    """Segments from spans ``(root start, root end, query start, query end)``; a root's own span repeats its ends.

    ``enter`` and ``leave`` [L] are the Euler-tour interval of each position's node. Every position is in one span.
    """
    width = max(q1 - q0 for _, _, q0, q1 in spans)
    breadth = max(r1 - r0 + (0 if (r0, r1) == (q0, q1) else q1 - q0) for r0, r1, q0, q1 in spans)
    queries, keys = np.zeros((len(spans), width), np.int64), np.zeros((len(spans), breadth), np.int64)
    mask = np.zeros((len(spans), width, breadth), bool)
    # Padding queries see one key, so that their softmax is finite; they are never read.
    mask[:, :, 0] = True
    inverse = np.zeros(len(enter), np.int64)
    for s, (r0, r1, q0, q1) in enumerate(spans):
        q = np.arange(q0, q1)
        k = q if (r0, r1) == (q0, q1) else np.concatenate([np.arange(r0, r1), q])
        queries[s, : len(q)], keys[s, : len(k)] = q, k
        inverse[q] = s * width + np.arange(len(q))
        mask[s, : len(q), : len(k)] = visible(q[:, None], k[None, :], enter, leave)
    return Segments(*(torch.as_tensor(a) for a in (queries, keys, mask[:, None], inverse)))


def visible(q: np.ndarray, k: np.ndarray, enter: np.ndarray, leave: np.ndarray) -> np.ndarray:
    """Whether position ``k`` is visible to position ``q`` (broadcast)."""
    return (k <= q) & (enter[k] <= enter[q]) & (enter[q] < leave[k])


def trie_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    segments: Segments | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: query [1, H, L, D], key and value [1, H_kv, L, D] → [1, L, H, D].

    Without ``segments`` it is transformers' own SDPA attention.
    """
    if segments is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    q = query[0][:, segments.queries].transpose(0, 1)
    k = key[0][:, segments.keys].transpose(0, 1)
    v = value[0][:, segments.keys].transpose(0, 1)
    out = nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=segments.mask, dropout_p=dropout, scale=scaling, enable_gqa=q.shape[1] != k.shape[1]
    )
    out = out.transpose(1, 2).flatten(0, 1)[segments.inverse]
    return out[None], None


def register() -> None:
    """Make ``attn_implementation="learnat_trie"`` known to transformers; calling it again changes nothing."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(ATTENTION_NAME, trie_attention)
    AttentionMaskInterface.register(ATTENTION_NAME, sdpa_mask)
