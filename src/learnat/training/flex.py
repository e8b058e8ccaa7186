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
ROWS = 4096
"""Rows of the visibility rule that exist at a time: 4,096 × 32,768 pairs are 128 MB."""


def block_mask(enter: Tensor, leave: Tensor) -> BlockMask:
    """The visibility rule over Euler-tour intervals [L] as a block mask, built on their device without a host sync.

    A position sees itself in any case: rows of padding would be empty, and their softmax not finite. The same as
    ``create_block_mask(visible, …)``, which takes about 16 times as long: it sums pairs where this asks any and all.
    """

    def visible(batch: Tensor, head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return ((k <= q) & (enter[k] <= enter[q]) & (enter[q] < leave[k])) | (q == k)

    length = len(enter)
    inside = torch.arange(-(-length // BLOCK) * BLOCK, device=enter.device)
    # Positions past the end repeat the last one: their block is no fuller than it is.
    inside = inside.clamp_max(length - 1)
    some, full = [], []
    for rows in inside.split(ROWS):
        pairs = visible(rows, rows, rows[:, None], inside[None]).view(len(rows) // BLOCK, BLOCK, -1, BLOCK)
        along = pairs.any(3).any(1), pairs.all(3).all(1)
        some.append(along[0] & ~along[1])
        full.append(along[1])
    return BlockMask.from_kv_blocks(
        *_ordered(torch.cat(some)), *_ordered(torch.cat(full)), BLOCK, visible, seq_lengths=(length, length)
    )


def _ordered(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """For each row of ``blocks`` [Q, K] how many are set [1, 1, Q], and their columns first [1, 1, Q, K]."""
    columns = torch.argsort(blocks.to(torch.int8), dim=1, descending=True, stable=True)
    return blocks.sum(1, dtype=torch.int32)[None, None], columns.to(torch.int32)[None, None]


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
