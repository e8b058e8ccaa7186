"""The last MLP at the read positions only: the same log-probs and gradients, and a way back."""

from __future__ import annotations

import random

import pytest
import torch

from learnat.training.batches import make_batch
from learnat.training.last_layer import read_everywhere, read_where_needed
from learnat.training.logprobs import causal_lm, token_logprobs
from tests.training.conftest import FAMILIES, random_trie, tiny_model, with_lora


@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize("layout", ["packed", "padded"])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_left_out_changes_nothing(family: str, layout: str, adapted: bool, rng: random.Random) -> None:
    model = with_lora(tiny_model(family)) if adapted else tiny_model(family)
    batch = make_batch([random_trie(rng), random_trie(rng)], layout, 0, bucket=16)
    results = []
    for restricted in (False, True):
        if restricted:
            read_where_needed(causal_lm(model))
        model.zero_grad()
        tokens = token_logprobs(model, batch)
        (tokens * torch.linspace(-1, 1, len(tokens))).sum().backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        results.append((tokens.detach(), torch.cat([g.flatten() for g in gradients])))
    for whole, part in zip(*results, strict=True):
        torch.testing.assert_close(part, whole, rtol=1e-9, atol=1e-9)


def test_fewer_rows_are_computed_until_it_is_taken_back(rng: random.Random) -> None:
    model = tiny_model()
    batch = make_batch([random_trie(rng)], "packed", 0, bucket=16)
    rows: list[int] = []
    mlp = model.model.layers[-1].mlp
    mlp.up_proj.register_forward_hook(lambda module, args, out: rows.append(args[0].shape[:-1].numel()))
    read_where_needed(model)
    token_logprobs(model, batch)
    # Outside of a pass over tries nothing is left out: generation reads every position.
    model(input_ids=batch.input_ids)
    read_everywhere(model)
    token_logprobs(model, batch)
    length = batch.input_ids.numel()
    assert rows == [len(batch.read), length, length] and len(batch.read) < length
    assert "forward" not in vars(mlp)
    read_everywhere(model)
