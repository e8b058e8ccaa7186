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

    A position sees itself in any case: rows of padding would be empty, and their softmax not finite. The same as
    ``create_block_mask``, which takes many times as long: it counts pairs where this asks for any and all.
    """

    def visible(batch: Tensor, head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return _visible(enter, leave, q, k)

    length = len(enter)
    some, full = (_compiled(_blocks) if enter.is_cuda else _blocks)(enter, leave)
    return BlockMask.from_kv_blocks(*_ordered(some), *_ordered(full), BLOCK, visible, seq_lengths=(length, length))


def _visible(enter: Tensor, leave: Tensor, q: Tensor, k: Tensor) -> Tensor:
    return ((k <= q) & (enter[k] <= enter[q]) & (enter[q] < leave[k])) | (q == k)


def _blocks(enter: Tensor, leave: Tensor) -> tuple[Tensor, Tensor]:
    """Which blocks [Q, K] hold some visible pairs, but not all, and which hold visible pairs only.

    Compiled, it goes over the L² pairs once and keeps none of them.
    """
    length = len(enter)
    # Positions past the end repeat the last one: their block is no fuller than it is.
    inside = torch.arange(-(-length // BLOCK) * BLOCK, device=enter.device).clamp_max(length - 1)
    pairs = _visible(enter, leave, inside[:, None], inside[None]).view(len(inside) // BLOCK, BLOCK, -1, BLOCK)
    any_pair, all_pairs = pairs.any(3).any(1), pairs.all(3).all(1)
    return any_pair & ~all_pairs, all_pairs


def _ordered(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """For each row of ``blocks`` [Q, K] how many are set [1, 1, Q], and their columns first [1, 1, Q, K]."""
    columns = torch.argsort(blocks.to(torch.int8), dim=1, descending=True, stable=True)
    return blocks.sum(1, dtype=torch.int32)[None, None], columns.to(torch.int32)[None, None]


def flex_attention(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask, scaling: float | None) -> Tensor:
    """query [1, H, L, D], key and value [1, H_kv, L, D] → [1, L, H, D]."""
    # Inside a compiled decoder layer the kernel is generated with it; alone it must be compiled, or it would
    # materialise all L² scores.
    attend: Any = flex.flex_attention if torch.compiler.is_compiling() else _compiled(flex.flex_attention)
    grouped = query.shape[1] != key.shape[1]
    return attend(query, key, value, block_mask=mask, scale=scaling, enable_gqa=grouped).transpose(1, 2).contiguous()


@cache
def _compiled(function: Any) -> Any:
    return torch.compile(function)
