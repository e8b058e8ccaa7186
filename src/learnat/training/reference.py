"""The reference policy: which one is sound, and its log-probabilities, computed once before preference training.

In every legal set-up the reference *is* the policy before its first step (the base model, the SFT adapter, or the SFT
weights), so one pass of the fresh policy gives them. Not even ``frozen`` holds a second copy of the weights: by the
time training moves them, the log-probs are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from learnat.errors import LearnatError, nearest
from learnat.training.batches import TokenBatch
from learnat.training.logprobs import node_logprobs, token_logprobs
from learnat.training.tries import TokenTrie

REFERENCES = {
    "base": "the base model with adapters off",
    "stacked": "the SFT adapter, frozen, under the one that is trained",
    "frozen": "the weights before the first step",
}

NO_WARM_START, SFT_ADAPTER_START, SFT_FULL_START = "none", "an SFT adapter", "full SFT weights"

# What preference training starts from → (reference under LoRA, reference in full fine-tuning); None: no sound one.
LEGAL: dict[str, tuple[str | None, str | None]] = {
    NO_WARM_START: ("base", "frozen"),
    SFT_ADAPTER_START: ("stacked", None),
    SFT_FULL_START: ("base", "frozen"),
}


def choose_reference(wanted: str, start: str, lora: bool) -> str:
    """The reference for a warm start (a key of ``LEGAL``) and the way of training.

    ``wanted`` is ``auto``, which takes the table's cell, or that cell by its name. Raises ``LearnatError`` for
    anything else.
    """
    if wanted not in ("auto", *REFERENCES):
        raise LearnatError(f"reference={wanted!r} is not known. {nearest(wanted, ('auto', *REFERENCES))}")
    legal = LEGAL[start][0 if lora else 1]
    if legal is None:
        raise LearnatError(
            f"The warm start is {start}, but model.lora.enabled=false asks for full fine-tuning: that combination has "
            f"no sound reference. With model.lora.enabled=true it is reference={LEGAL[start][0]}; to train all "
            "weights, warm-start from full ones (reference=frozen)."
        )
    if wanted not in ("auto", legal):
        raise LearnatError(
            f"reference={wanted} ({REFERENCES[wanted]}) is not sound here: with warm start {start} and "
            f"model.lora.enabled={str(lora).lower()} it must be reference={legal} ({REFERENCES[legal]}), which "
            "reference=auto takes."
        )
    return legal


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
