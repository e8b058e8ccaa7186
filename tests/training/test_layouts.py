"""Packed tries and plain padded rows are the same computation, and both are what transformers computes."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from learnat.training import logprobs
from learnat.training.batches import TokenBatch, make_batch
from learnat.training.logprobs import causal_lm, node_logprobs, token_logprobs
from learnat.training.losses import MadpoLoss, PairLogProbs
from learnat.training.tries import TokenTrie, TrieNode, TriePair
from tests.training.conftest import FAMILIES, VOCABULARY, random_trie, tiny_model, use_float64_norms, with_lora

SETUPS = ["full", "tied", "checkpointed", "lora", "lora tied checkpointed"]


@st.composite
def any_trie(draw: st.DrawFn) -> TokenTrie:
    """A trie of any shape: every node after the root hangs from some node of the path to the one before it."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    path = [0]
    nodes = [TrieNode(-1, tuple(rng.choices(range(VOCABULARY), k=draw(st.integers(1, 9)))))]
    for length in draw(st.lists(st.integers(1, 6), min_size=1, max_size=7)):
        depth = draw(st.integers(1, len(path)))
        ids = tuple(rng.choices(range(VOCABULARY), k=length))
        # The first step is supervised in any case: a batch without supervision is no training data.
        supervised = len(nodes) == 1 or draw(st.booleans())
        path = [*path[:depth], len(nodes)]
        nodes.append(TrieNode(path[-2], ids, supervised, weight=float(rng.randint(0, 2))))
    siblings = [
        TriePair(i, j, rng.random())
        for i, a in enumerate(nodes)
        for j, b in enumerate(nodes)
        if i != j and a.parent == b.parent and a.supervised and b.supervised
    ]
    return TokenTrie(tuple(nodes), tuple(rng.sample(siblings, len(siblings) // 2)))


def build(family: str, setup: str, float64_norms: bool) -> nn.Module:
    model = tiny_model(family, tied="tied" in setup)
    if float64_norms:
        use_float64_norms(model)
    if "checkpointed" in setup:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return (with_lora(model) if "lora" in setup else model).train()


def forward_backward(model: nn.Module, batch: TokenBatch) -> tuple[Tensor, list[Tensor]]:
    """Node log-probs, and the gradients of a loss that reaches every node and weighs chosen paths and pairs."""
    model.zero_grad()
    nodes = node_logprobs(token_logprobs(model, batch), batch)
    policy = PairLogProbs(nodes[batch.chosen], nodes[batch.rejected])
    reference = PairLogProbs(policy.chosen.detach() - 0.5, policy.rejected.detach() + 0.5)
    preference = MadpoLoss()(policy, reference, batch.margin).sum()
    (preference - (nodes * (batch.node_weight + 0.1)).sum()).backward()
    return nodes.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


def assert_same(model: nn.Module, tries: list[TokenTrie], bucket: int, gradient_error: float) -> None:
    expected, expected_gradients = forward_backward(model, make_batch(tries, "padded", 0, bucket))
    nodes, gradients = forward_backward(model, make_batch(tries, "packed", 0, bucket))
    assert ((nodes - expected).abs() <= 1e-10 * expected.abs()).all()
    assert len(gradients) == sum(parameter.requires_grad for parameter in model.parameters())
    # Some gradients are zero but for rounding, as that of a query with one key: they are measured against the others.
    least = 0.01 * torch.cat([gradient.flatten() for gradient in expected_gradients]).norm()
    for gradient, other in zip(gradients, expected_gradients, strict=True):
        assert (gradient - other).norm() <= gradient_error * torch.maximum(other.norm(), least)


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=12, deadline=None)
@given(tries=st.lists(any_trie(), min_size=1, max_size=3), bucket=st.sampled_from([1, 8, 64]))
def test_packed_equals_padded(family: str, setup: str, tries: list[TokenTrie], bucket: int) -> None:
    assert_same(build(family, setup, float64_norms=True), tries, bucket, gradient_error=1e-10)


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("family", FAMILIES)
# The norms' casts to float32 can turn a difference of 1e-16 into 1e-8, once in some ten thousand batches: hence the
# wider bound on gradients, and batches that are the same in every run.
@settings(max_examples=8, deadline=None, derandomize=True)
@given(tries=st.lists(any_trie(), min_size=1, max_size=3), bucket=st.sampled_from([1, 8, 64]))
def test_packed_equals_padded_under_the_models_own_casts(
    family: str, setup: str, tries: list[TokenTrie], bucket: int
) -> None:
    assert_same(build(family, setup, float64_norms=False), tries, bucket, gradient_error=1e-6)


@pytest.mark.parametrize("layout", ["packed", "padded"])
@pytest.mark.parametrize("family", FAMILIES)
def test_node_logprobs_are_those_of_plain_transformers(family: str, layout: str, rng: random.Random) -> None:
    """Each path alone, without padding, through the model's own forward pass and its own attention."""
    model = with_lora(tiny_model(family))
    tries = [random_trie(rng, questions=2), random_trie(rng, questions=3)]
    with torch.no_grad():
        batch = make_batch(tries, layout, pad_id=0, bucket=16)
        nodes = node_logprobs(token_logprobs(model, batch), batch)
        causal_lm(model).set_attn_implementation("sdpa")
        expected = []
        for trie in tries:
            for i in (i for i, node in enumerate(trie.nodes) if node.supervised):
                ids = torch.tensor([token for step in trie.path(i) for token in trie.nodes[step].ids])
                logps = model(input_ids=ids[None]).logits[0, :-1].log_softmax(-1).gather(1, ids[1:, None])
                expected.append(logps[-len(trie.nodes[i].ids) :].sum())
    torch.testing.assert_close(nodes, torch.stack(expected), rtol=1e-10, atol=0)


@pytest.mark.parametrize("setup", ["full", "lora tied checkpointed"])
def test_cutting_the_lm_head_into_chunks_changes_nothing(
    setup: str, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build("qwen2", setup, float64_norms=True)
    batch = make_batch([random_trie(rng) for _ in range(3)], "packed", 0)
    assert len(batch.target) > 14
    expected, expected_gradients = forward_backward(model, batch)
    for chunk in (7, len(batch.target) - 1):
        monkeypatch.setattr(logprobs, "HEAD_CHUNK", chunk)
        nodes, gradients = forward_backward(model, batch)
        torch.testing.assert_close(nodes, expected, rtol=1e-13, atol=0)
        for gradient, other in zip(gradients, expected_gradients, strict=True):
            assert (gradient - other).norm() <= 1e-12 * other.norm()


def test_a_batch_counts_its_tokens(rng: random.Random) -> None:
    tries = [random_trie(rng), random_trie(rng)]
    packed, padded = make_batch(tries, "packed", 0), make_batch(tries, "padded", 0)
    assert packed.tokens == sum(trie.tokens for trie in tries) < packed.logical_tokens
    assert padded.tokens == padded.logical_tokens == packed.logical_tokens == int(padded.attention_mask.sum())
    assert sorted(packed.target.tolist()) == sorted(padded.target.tolist())
