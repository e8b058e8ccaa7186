"""The last decoder layer's MLP, run at the positions that the LM head reads and nowhere else.

Keys and values of every position matter to later ones, but nothing reads the last MLP's output save the LM head, and
that at the supervised tokens' predecessors alone. What is left out has no influence on losses or gradients; in a
28-layer model it is up to 3 % of all products.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ReadPositions:
    """The flat positions of the pass in progress that are read after the last layer; None: all."""

    def __init__(self) -> None:
        self.positions: Tensor | None = None


def read_where_needed(lm: Any) -> None:
    """Let the last MLP of a transformers model follow ``lm.read_positions``, which ``token_logprobs`` sets.

    Not for gradient checkpointing: a recomputed layer would meet the positions of a later pass.
    """
    mlp = lm.get_decoder().layers[-1].mlp
    whole, read = mlp.forward, ReadPositions()

    def forward(hidden: Tensor) -> Tensor:
        if read.positions is None:
            return whole(hidden)
        rows = hidden.flatten(0, -2)
        out = whole(rows[read.positions])
        return torch.zeros_like(rows, dtype=out.dtype).index_copy(0, read.positions, out).view(hidden.shape)

    mlp.forward = forward
    lm.read_positions = read


def read_everywhere(lm: Any) -> None:
    """Take ``read_where_needed`` back, where it was called."""
    if hasattr(lm, "read_positions"):
        del lm.read_positions
        del lm.get_decoder().layers[-1].mlp.forward
