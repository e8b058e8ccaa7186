"""The cache of reference log-probs: its key is what they depend on, and a damaged file is never believed."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from learnat.training.reference_cache import ReferenceCache, cache_key
from learnat.training.tries import TokenTrie, TrieNode, TriePair
from tests.training.conftest import random_trie

SETTINGS = {"weights": "abc", "dtype": "float32", "layout": "packed", "length_bucket": 128}


@pytest.fixture
def tries() -> list[TokenTrie]:
    rng = random.Random(0)
    return [random_trie(rng) for _ in range(3)]


def with_node(trie: TokenTrie, i: int, **changes: object) -> TokenTrie:
    nodes = list(trie.nodes)
    nodes[i] = replace(nodes[i], **changes)
    return replace(trie, nodes=tuple(nodes))


def test_the_key_depends_on_what_the_logprobs_depend_on(tries: list[TokenTrie]) -> None:
    first = tries[0]
    last = len(first.nodes) - 1
    ids = first.nodes[last].ids
    # Two nodes whose ids together are the same: [1, 2] [3] and [1] [2, 3].
    cut = TokenTrie((TrieNode(-1, (1, 2)), TrieNode(0, (3,), supervised=True)))
    cut_elsewhere = TokenTrie((TrieNode(-1, (1,)), TrieNode(0, (2, 3), supervised=True)))
    others = [
        cache_key(tries[::-1], SETTINGS),
        cache_key(tries[:2], SETTINGS),
        cache_key([with_node(first, last, ids=(*ids[:-1], ids[-1] + 1)), *tries[1:]], SETTINGS),
        cache_key([with_node(first, 0, ids=(*first.nodes[0].ids, 5)), *tries[1:]], SETTINGS),
        cache_key([with_node(first, last, supervised=not first.nodes[last].supervised), *tries[1:]], SETTINGS),
        cache_key([with_node(first, last, parent=0), *tries[1:]], SETTINGS),
        cache_key([cut], SETTINGS),
        cache_key([cut_elsewhere], SETTINGS),
        *(cache_key(tries, {**SETTINGS, name: "other"}) for name in SETTINGS),
    ]
    assert len({cache_key(tries, SETTINGS), *others}) == 1 + len(others)


def test_the_key_does_not_depend_on_pairs_or_weights(tries: list[TokenTrie]) -> None:
    other = [with_node(replace(trie, pairs=(TriePair(1, 2, 0.5),)), 2, weight=9.0, reference=-1.0) for trie in tries]
    assert cache_key(other, SETTINGS) == cache_key(tries, SETTINGS)


def test_the_key_of_a_whole_benchmark_takes_seconds() -> None:
    """Spider's training split: 8,659 questions, here of 150 schemas of 1,500 tokens, with 12 steps of 60 tokens."""
    root = TrieNode(-1, tuple(range(1500)))
    step = tuple(range(60))
    question = [TrieNode(0, step), *(TrieNode(1, step, supervised=True) for _ in range(12))]
    shared = [replace(node, parent=node.parent and node.parent + 13 * q) for q in range(16) for node in question]
    tries = [TokenTrie((root, *shared))] * (8659 // 16)
    started = time.process_time()
    cache_key(tries, SETTINGS)
    assert time.process_time() - started < 5


def test_what_is_written_is_read(tmp_path: Path) -> None:
    cache = ReferenceCache(tmp_path / "reference", "k")
    assert cache.read(3) is None
    logprobs = torch.tensor([-1.0, -2.5, -0.25])
    cache.write(logprobs)
    assert torch.equal(cache.read(3), logprobs)  # type: ignore[arg-type]
    assert [path.name for path in cache.folder.iterdir()] == ["k.safetensors"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    cache = ReferenceCache(tmp_path / "reference", "k")
    (cache.path / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match=r"k\.safetensors"):
        cache.write(torch.tensor([-1.0]))
    assert [path.name for path in cache.folder.iterdir()] == ["k.safetensors"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_a_damaged_file_is_not_believed(tmp_path: Path, damage: str) -> None:
    cache = ReferenceCache(tmp_path, "k")
    cache.write(torch.tensor([-1.0, -2.5]))
    whole = cache.path.read_bytes()
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    cache.path.write_bytes({"cut": whole[:-3], "flipped": flipped, "empty": b"", "text": b"{}" * 40}[damage])
    with pytest.raises(ValueError, match=r"."):
        cache.read(2)


def test_a_file_of_another_length_is_not_believed(tmp_path: Path) -> None:
    cache = ReferenceCache(tmp_path, "k")
    cache.write(torch.tensor([-1.0, -2.5]))
    with pytest.raises(ValueError, match=r"shape \[2\], not \[3\]"):
        cache.read(3)
