"""Attention over packed tries: a token attends to its own root-to-node path only.

Token ``k`` is visible to ``q`` iff ``k <= q`` and ``enter[k] <= enter[q] < leave[k]``, Euler-tour intervals of one
clock over the whole row. On a GPU that rule is a FlexAttention block mask, on a CPU boolean masks over segments of the
row. The function is registered with transformers, so no model file is patched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask

from learnat.training.flex import block_mask, flex_attention
from learnat.training.segments import Segment, Span, segment_attention, segments_of

ATTENTION_NAME = "learnat_trie"

TrieMask = tuple[Segment, ...] | BlockMask


@dataclass(frozen=True)
class Visibility:
    """Who sees whom in a packed row of L positions."""

    enter: Tensor  # [L] int32, the Euler-tour interval of each position's node
    leave: Tensor  # [L] int32
    spans: tuple[Span, ...]
    """Roots and child subtrees, which share out the row but for the padding at its end."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Visibility:
        enter, leave = (x.to(device, non_blocking=non_blocking) for x in (self.enter, self.leave))
        return Visibility(enter, leave, self.spans)

    def pin_memory(self) -> Visibility:
        return Visibility(self.enter.pin_memory(), self.leave.pin_memory(), self.spans)

    def mask(self) -> TrieMask:
        """What ``trie_attention`` takes on the device where the intervals are; the same for all layers."""
        if self.enter.is_cuda:
            return block_mask(self.enter, self.leave)
        return segments_of(self.spans, self.enter.numpy(), self.leave.numpy())


def trie_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    trie_mask: TrieMask | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: query [1, H, L, D], key and value [1, H_kv, L, D] → [1, L, H, D].

    Without ``trie_mask`` it is transformers' own SDPA attention. Attention dropout is not supported over tries.
    """
    if trie_mask is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    if isinstance(trie_mask, tuple):
        return segment_attention(query, key, value, trie_mask, scaling), None
    return flex_attention(query, key, value, trie_mask, scaling), None


def register() -> None:
    """Make ``attn_implementation="learnat_trie"`` known to transformers; calling it again changes nothing."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(ATTENTION_NAME, trie_attention)
    AttentionMaskInterface.register(ATTENTION_NAME, sdpa_mask)
