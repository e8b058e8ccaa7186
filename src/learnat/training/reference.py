"""Reference log-probabilities, computed once before preference training.

In every legal set-up the reference policy *is* the policy before its first step (the base model, the SFT adapter, or
the SFT weights), so one pass of the fresh policy gives them and no second model is held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from learnat.training.batches import TokenBatch
from learnat.training.logprobs import node_logprobs, token_logprobs
from learnat.training.tries import TokenTrie


@torch.no_grad()
def reference_logprobs(
    model: nn.Module, batches: Iterable[TokenBatch], device: torch.device | str, advance: Callable[[int], None]
) -> Tensor:
    """Node log-probs [N over all batches] of ``model``; ``advance`` is told the number of nodes done."""
    was_training = model.training
    model.eval()
    parts = []
    for batch in batches:
        moved = batch.to(device)
        parts.append(node_logprobs(token_logprobs(model, moved), moved).float().cpu())
        advance(moved.num_nodes)
    model.train(was_training)
    return torch.cat(parts)


def with_reference(tries: Sequence[TokenTrie], logprobs: Tensor) -> list[TokenTrie]:
    """``tries`` with each supervised node's reference log-prob; ``logprobs`` [N] in the order of tries and nodes."""
    values = iter(logprobs.tolist())
    return [
        replace(
            trie,
            nodes=tuple(replace(node, reference=next(values)) if node.supervised else node for node in trie.nodes),
        )
        for trie in tries
    ]
