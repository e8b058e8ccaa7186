"""Packed tries and plain padded rows are the same computation."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from learnat.training.batches import TokenBatch, make_batch
from learnat.training.logprobs import node_logprobs, token_logprobs
from learnat.training.losses import MadpoLoss, PairLogProbs
from learnat.training.segments import Segments, Span, segments_of, visible
from tests.training.conftest import random_trie, tiny_model


def preference_loss(model: torch.nn.Module, batch: TokenBatch) -> tuple[Tensor, Tensor]:
    nodes = node_logprobs(token_logprobs(model, batch), batch)
    policy = PairLogProbs(nodes[batch.chosen], nodes[batch.rejected])
    reference = PairLogProbs(policy.chosen.detach() - 0.5, policy.rejected.detach() + 0.5)
    return nodes, MadpoLoss()(policy, reference, batch.margin).sum() - (nodes * batch.node_weight).sum()


@pytest.mark.parametrize("family", ["qwen2", "llama"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), tries=st.integers(1, 4), questions=st.integers(1, 3), depth=st.integers(1, 4))
def test_packed_equals_padded(family: str, seed: int, tries: int, questions: int, depth: int) -> None:
    rng = random.Random(seed)
    data = [random_trie(rng, questions, depth) for _ in range(tries)]
    model = tiny_model(family)
    results = {}
    for layout in ("packed", "padded"):
        model.zero_grad()
        nodes, loss = preference_loss(model, make_batch(data, layout, pad_id=0))
        loss.backward()
        results[layout] = nodes.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]
    torch.testing.assert_close(results["packed"][0], results["padded"][0], rtol=1e-10, atol=1e-10)
    # Gradients pass through the models' own float32 casts (RMSNorm), hence the wider bound.
    for packed, padded in zip(results["packed"][1], results["padded"][1], strict=True):
        assert (packed - padded).norm() <= 1e-6 * padded.norm()


def test_a_batch_counts_its_tokens(rng: random.Random) -> None:
    tries = [random_trie(rng), random_trie(rng)]
    packed, padded = make_batch(tries, "packed", 0), make_batch(tries, "padded", 0)
    assert packed.tokens == sum(trie.tokens for trie in tries) < packed.logical_tokens
    assert padded.tokens == padded.logical_tokens == packed.logical_tokens == int(padded.attention_mask.sum())
    assert sorted(packed.target.tolist()) == sorted(padded.target.tolist())


def test_segments_show_each_token_its_own_path_only(rng: random.Random) -> None:
    trie = random_trie(rng, questions=3)
    batch = make_batch([trie, trie], "packed", 0)
    segments = batch.visibility.mask()
    assert isinstance(segments, Segments)
    ancestors = [set(trie.path(i)) for i in range(len(trie.nodes))]
    owner = [(t, i) for t in range(2) for i, node in enumerate(trie.nodes) for _ in node.ids]
    shown = [
        (int(query), group.keys[s][group.mask[s, 0, row]].tolist())
        for group in segments.groups
        for s, queries in enumerate(group.queries)
        for row, query in enumerate(queries)
    ]
    for position, (t, node) in enumerate(owner):
        query, seen = shown[int(segments.inverse[position])]
        expected = [p for p in range(position + 1) if owner[p][0] == t and owner[p][1] in ancestors[node]]
        assert query == position and seen == expected


def test_padding_queries_see_one_key() -> None:
    enter, leave = np.array([0, 0, 1, 2, 2]), np.array([3, 3, 2, 3, 3])
    spans = [Span(0, 0, 0, 2), Span(0, 2, 2, 3), Span(0, 2, 3, 5)]
    for group in segments_of(spans, enter, leave).groups:
        assert group.mask.any(-1).all()
    assert not visible(np.array([3]), np.array([2]), enter, leave)
