"""Who sees whom: segments on a CPU and FlexAttention's block mask on a GPU follow the one rule over the tries."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from learnat.training import flex
from learnat.training.batches import make_batch
from learnat.training.segments import Span, segment_attention, segments_of, visible
from learnat.training.tries import TokenTrie, TrieNode
from tests.training.conftest import random_trie

HEADS, KEY_HEADS, WIDTH = 4, 2, 8


def long_trie(rng: random.Random, longest: int) -> TokenTrie:
    """The shape of a random trie, with nodes of up to ``longest`` tokens: several blocks of 128 positions."""
    nodes = random_trie(rng, questions=rng.randint(1, 3)).nodes
    return TokenTrie(tuple(TrieNode(n.parent, (7,) * rng.randint(1, longest), n.supervised) for n in nodes))


def dense_mask(tries: list[TokenTrie], length: int) -> Tensor:
    """[L, L] from the tries themselves: a token sees its own path up to itself, and padding sees itself."""
    visible_nodes = torch.block_diag(
        *(
            torch.tensor([[k in trie.path(q) for k in range(len(trie.nodes))] for q in range(len(trie.nodes))])
            for trie in tries
        )
    ).bool()
    nodes = [node for trie in tries for node in trie.nodes]
    owner = torch.repeat_interleave(torch.tensor([len(node.ids) for node in nodes]))
    mask = torch.eye(length, dtype=torch.bool)
    mask[: len(owner), : len(owner)] |= visible_nodes[owner][:, owner].tril()
    return mask


packs = {"seed": st.integers(0, 2**32), "count": st.integers(1, 3), "bucket": st.sampled_from([1, 128])}


@settings(max_examples=10, deadline=None)
@given(**packs)
def test_a_block_mask_is_the_rule_over_the_tries(seed: int, count: int, bucket: int) -> None:
    rng = random.Random(seed)
    tries = [long_trie(rng, longest=40) for _ in range(count)]
    visibility = make_batch(tries, "packed", 0, bucket).visibility
    length = len(visibility.enter)
    expected = dense_mask(tries, length)

    mask = flex.block_mask(visibility.enter, visibility.leave)
    position = torch.arange(length)
    shown = mask.mask_mod(torch.tensor(0), torch.tensor(0), position[:, None], position[None, :])
    assert torch.equal(shown, expected)
    # What the kernel visits: partial blocks, whose pairs it asks the rule for, and full ones, which it does not.
    blocks = -(-length // flex.BLOCK)
    padded = torch.zeros(blocks * flex.BLOCK, blocks * flex.BLOCK, dtype=torch.bool)
    padded[:length, :length] = expected
    tiles = padded.view(blocks, flex.BLOCK, blocks, flex.BLOCK).transpose(1, 2).flatten(2)
    assert torch.equal(mask.to_dense()[0, 0].bool(), tiles.any(-1))
    for row in range(blocks):
        full = mask.full_kv_indices[0, 0, row, : mask.full_kv_num_blocks[0, 0, row]]
        assert set(full.tolist()) == set(tiles[row].all(-1).nonzero().flatten().tolist())


@settings(max_examples=10, deadline=None)
@given(**packs)
def test_segments_and_flex_attention_give_dense_attention(seed: int, count: int, bucket: int) -> None:
    rng = random.Random(seed)
    tries = [long_trie(rng, longest=20) for _ in range(count)]
    visibility = make_batch(tries, "packed", 0, bucket).visibility
    length, tokens = len(visibility.enter), sum(trie.tokens for trie in tries)
    torch.manual_seed(seed)
    query, key, value = (
        torch.randn(1, heads, length, WIDTH, dtype=torch.float64) for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    )
    mask = dense_mask(tries, length)
    expected = scaled_dot_product_attention(query, key, value, mask, scale=0.3, enable_gqa=True).transpose(1, 2)

    segments = visibility.mask()
    assert isinstance(segments, tuple)
    with pytest.MonkeyPatch.context() as patch:
        # On a GPU the kernel is compiled; the rule and the arguments are the same.
        patch.setattr(flex, "_compiled", lambda function: function)
        block_mask = flex.block_mask(visibility.enter, visibility.leave)
        flexed = flex.flex_attention(query, key, value, block_mask, scaling=0.3)
    segmented = segment_attention(query, key, value, segments, scaling=0.3)
    for attended in (segmented, flexed):
        assert attended.shape == expected.shape and torch.isfinite(attended).all()
        torch.testing.assert_close(attended[:, :tokens], expected[:, :tokens], rtol=1e-10, atol=1e-12)


def test_a_segment_shows_its_root_and_what_the_rule_allows_of_itself() -> None:
    enter, leave = np.array([0, 0, 1, 2, 2, 3]), np.array([3, 3, 2, 3, 3, 4])
    spans = [Span(0, 0, 0, 2), Span(0, 2, 2, 3), Span(0, 2, 3, 5), Span(5, 5, 5, 6)]
    segments = segments_of(spans, enter, leave)
    assert [segment.opens_trie for segment in segments] == [True, False, False, True]
    shown = [(segment.mask == 0).int().tolist() for segment in segments]
    assert shown == [[[1, 0], [1, 1]], [[1, 1, 1]], [[1, 1, 1, 0], [1, 1, 1, 1]], [[1]]]
    assert not visible(np.array([3]), np.array([2]), enter, leave)
