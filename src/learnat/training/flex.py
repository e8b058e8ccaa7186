"""Attention over a packed row on a GPU: FlexAttention skips every 128 × 128 block of hidden pairs."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import flex_attention as flex
from torch.nn.attention.flex_attention import BlockMask

BLOCK = 128
"""Positions along a block's side: FlexAttention's own default."""


def block_mask(enter: Tensor, leave: Tensor) -> BlockMask:
    """The visibility rule over Euler-tour intervals [L] as a block mask, built on their device without a host sync.

    A position sees itself in any case: rows of padding would be empty, and their softmax not finite.
    """

    def visible(batch: Tensor, head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return ((k <= q) & (enter[k] <= enter[q]) & (enter[q] < leave[k])) | (q == k)

    length = len(enter)
    return flex.create_block_mask(visible, None, None, length, length, device=enter.device, BLOCK_SIZE=BLOCK)


def flex_attention(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask, scaling: float | None) -> Tensor:
    """query [1, H, L, D], key and value [1, H_kv, L, D] → [1, L, H, D]."""
    # Inside a compiled decoder layer the kernel is generated with it; alone it must be compiled, or it would
    # materialise all L² scores.
    attend: Any = flex.flex_attention if torch.compiler.is_compiling() else _compiled()
    grouped = query.shape[1] != key.shape[1]
    return attend(query, key, value, block_mask=mask, scale=scaling, enable_gqa=grouped).transpose(1, 2).contiguous()


@cache
def _compiled() -> Any:
    return torch.compile(flex.flex_attention)
