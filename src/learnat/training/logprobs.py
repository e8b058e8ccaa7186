"""Log-probabilities of trie nodes, the one quantity all losses are made of."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from learnat.training.batches import TokenBatch
from learnat.training.last_layer import ReadPositions

HEAD_CHUNK = 4096
"""Supervised tokens whose logits exist at a time: 4,096 × a 152 k vocabulary is 2.5 GB in float32."""


def causal_lm(model: Any) -> Any:
    """The transformers model inside a peft wrapper, or ``model`` itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def token_logprobs(model: nn.Module, batch: TokenBatch) -> Tensor:
    """Log-probs [T] of the batch's supervised tokens, in float32 at least; the LM head runs on these tokens only."""
    lm = causal_lm(model)
    # A sharded model must know where its forward pass begins and ends: it brings a function of its own.
    return getattr(lm, "sharded_token_logprobs", partial(unsharded_token_logprobs, lm))(batch)


def unsharded_token_logprobs(lm: Any, batch: TokenBatch) -> Tensor:
    """``token_logprobs`` of a transformers model whose parameters are whole."""
    mask, extra = batch.attention_mask, {}
    if batch.visibility is not None:
        # A 4-d mask is passed through untouched: without it transformers would build an L × L mask nobody reads.
        mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=batch.input_ids.device)
        extra = {"trie_mask": batch.visibility.mask()}
    # No-op where the last layer runs everywhere (see ``last_layer``).
    read = getattr(lm, "read_positions", ReadPositions())
    read.positions = batch.read
    hidden = lm.get_decoder()(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        attention_mask=mask,
        use_cache=False,
        **extra,
    ).last_hidden_state
    read.positions = None
    hidden = hidden.flatten(0, 1)[batch.source]
    head = lm.get_output_embeddings()
    chunks = zip(hidden.split(HEAD_CHUNK), batch.target.split(HEAD_CHUNK), strict=True)
    if len(hidden) <= HEAD_CHUNK or not torch.is_grad_enabled():
        parts = [_chunk_logprobs(head, h, t) for h, t in chunks]
    else:
        parts = [checkpoint(_chunk_logprobs, head, h, t, use_reentrant=False) for h, t in chunks]
    return torch.cat(parts)


def _chunk_logprobs(head: nn.Module, hidden: Tensor, target: Tensor) -> Tensor:
    logits = head(hidden)
    # One pass over the logits each way on a GPU: in eager steps they would exist four times, twice in float32.
    return (_compiled_logprobs() if logits.is_cuda else _logprobs_of)(logits, target)


def _logprobs_of(logits: Tensor, target: Tensor) -> Tensor:
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return -nn.functional.cross_entropy(logits, target, reduction="none")


@cache
def _compiled_logprobs() -> Any:
    return torch.compile(_logprobs_of, dynamic=True)


def node_logprobs(tokens: Tensor, batch: TokenBatch) -> Tensor:
    """Sum the token log-probs [T] over each node's tokens: [N], log π(step | prompt, earlier steps)."""
    return tokens.new_zeros(batch.num_nodes).index_add(0, batch.node, tokens)
