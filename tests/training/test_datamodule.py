"""The order of training: every question once an epoch, shared databases together, resumable anywhere."""

from __future__ import annotations

import random
import threading
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learnat.training.batches import TokenBatch
from learnat.training.packing import LAYOUTS, Item, Packing, StepLoader, shares
from learnat.training.tries import TokenTrie, TrieNode


def items(databases: list[int]) -> list[Item]:
    """``databases[d]`` questions for each database; every question has tokens of its own."""
    made, token = [], 100
    for d, questions in enumerate(databases):
        for _ in range(questions):
            token += 1
            nodes = (TrieNode(-1, (d, d)), TrieNode(0, (token,)), TrieNode(1, (7, 8), supervised=True, weight=1.0))
            made.append(Item(str(d), TokenTrie(nodes)))
    return made


def questions_of(loader: StepLoader) -> list[list[int]]:
    return [sorted(i for batch in step for i in batch.input_ids.flatten().tolist() if i > 100) for step in loader]


@settings(max_examples=50, deadline=None)
@given(
    databases=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    per_trie=st.integers(1, 4),
    per_step=st.integers(1, 4),
    budget=st.integers(1, 40),
    layout=st.sampled_from(LAYOUTS),
)
def test_an_epoch_shows_every_question_once(
    databases: list[int], per_trie: int, per_step: int, budget: int, layout: str
) -> None:
    packing = Packing(layout, per_trie, per_step, budget)
    loader = StepLoader(items(databases), packing, pad_id=0, seed=1)
    steps = questions_of(loader)
    assert len(steps) == len(loader)
    assert Counter(q for step in steps for q in step) == Counter(range(101, 101 + sum(databases)))


def test_a_step_draws_from_different_databases_as_long_as_they_last() -> None:
    loader = StepLoader(items([8, 8, 8, 8]), Packing("packed", 2, 4, 1000), pad_id=0, seed=3)
    for step in loader:
        roots = {i for batch in step for i in batch.input_ids.flatten().tolist() if i < 7}
        assert roots == {0, 1, 2, 3}


def test_padded_rows_of_similar_lengths_share_a_pass() -> None:
    lengths = [9, 2, 5, 2, 8, 5, 2, 9]
    tries = [TokenTrie((TrieNode(-1, (1,)), TrieNode(0, (5,) * n, supervised=True, weight=1.0))) for n in lengths]
    packing = Packing("padded", 4, 2, token_budget=20, length_bucket=1)
    (step,) = StepLoader([Item("0", trie) for trie in tries], packing, pad_id=0, seed=1)
    assert [tuple(batch.input_ids.shape) for batch in step] == [(3, 3), (2, 6), (2, 10), (1, 10)]
    assert sum(batch.input_ids.numel() - batch.tokens for batch in step) == 1


@pytest.mark.parametrize("stop", [0, 1, 3])
def test_a_resumed_pass_goes_on_where_it_stopped(stop: int) -> None:
    packing = Packing("packed", 2, 2, 1000)
    undisturbed = StepLoader(items([6, 5, 4]), packing, pad_id=0, seed=1)
    expected = questions_of(undisturbed) + questions_of(undisturbed)
    first = StepLoader(items([6, 5, 4]), packing, pad_id=0, seed=1)
    passing = iter(first)
    seen = [sorted(i for b in next(passing) for i in b.input_ids.flatten().tolist() if i > 100) for _ in range(stop)]
    second = StepLoader(items([6, 5, 4]), packing, pad_id=0, seed=1)
    second.load_state_dict(first.state_dict())
    assert seen + questions_of(second) + questions_of(second) == expected


def test_epochs_differ_and_seeds_differ() -> None:
    packing = Packing("packed", 2, 2, 1000)
    loader = StepLoader(items([6, 5, 4]), packing, pad_id=0, seed=1)
    first, second = questions_of(loader), questions_of(loader)
    assert first != second
    assert first != questions_of(StepLoader(items([6, 5, 4]), packing, pad_id=0, seed=2))


def test_ranks_share_a_step() -> None:
    packing = Packing("packed", 2, 4, 1000)
    ranks = [StepLoader(items([4, 4, 4, 4]), packing, 0, seed=1, rank=r, world=2) for r in range(2)]
    whole = questions_of(StepLoader(items([4, 4, 4, 4]), packing, 0, seed=1))
    halves = [questions_of(loader) for loader in ranks]
    assert [sorted(a + b) for a, b in zip(*halves, strict=True)] == whole


@settings(max_examples=50, deadline=None)
@given(
    databases=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    per_step=st.integers(1, 4),
    budget=st.integers(1, 40),
    world=st.integers(1, 4),
)
def test_ranks_make_equally_many_packs_and_idle_ones_weigh_nothing(
    databases: list[int], per_step: int, budget: int, world: int
) -> None:
    packing = Packing("packed", 3, per_step, budget)
    whole = StepLoader(items(databases), packing, 0, seed=1)
    ranks = [StepLoader(items(databases), packing, 0, seed=1, rank=r, world=world) for r in range(world)]
    for one, *shared in zip(whole, *ranks, strict=True):
        assert len({len(packs) for packs in shared}) == 1
        batches = [batch for packs in shared for batch in packs]
        assert sum(batch.tokens for batch in batches) == sum(batch.tokens for batch in one)
        weights = sum(float(batch.node_weight.sum()) for batch in batches)
        assert weights == sum(float(batch.node_weight.sum()) for batch in one)
        assert all(batch.tokens or float(batch.node_weight.sum()) == 0 == len(batch.margin) for batch in batches)


def test_ranks_share_positions_and_not_tries() -> None:
    assert shares([10, 1, 9, 4, 4, 1], 2) == [[0, 4, 5], [1, 2, 3]]
    assert shares([5], 3) == [[0], [], []]


def test_packs_keep_to_the_budget() -> None:
    rng = random.Random(0)
    loader = StepLoader(items([rng.randint(1, 9) for _ in range(6)]), Packing("packed", 3, 6, 20), 0, seed=1)
    for step in loader:
        assert all(batch.tokens <= 20 for batch in step)


def test_the_next_step_is_built_while_one_is_used_but_not_counted() -> None:
    built = threading.Semaphore(0)

    class Noticed(StepLoader):
        def _build(self, tries: list[list[Item]]) -> list[TokenBatch]:
            packs = super()._build(tries)
            built.release()
            return packs

    loader = Noticed(items([6, 5, 4]), Packing("packed", 2, 2, 1000), pad_id=0, seed=1)
    passing = iter(loader)
    next(passing)
    assert built.acquire(timeout=10) and built.acquire(timeout=10), "the second step is built before it is asked for"
    assert loader.state_dict() == {"epoch": 0, "position": 1}
    next(passing)
    assert loader.state_dict() == {"epoch": 0, "position": 2}
    assert loader.waited_s > 0


def test_a_pass_that_is_given_up_leaves_no_thread() -> None:
    passing = iter(StepLoader(items([6, 5, 4]), Packing("packed", 2, 2, 1000), pad_id=0, seed=1))
    next(passing)
    assert any(thread.name.startswith("next-step") for thread in threading.enumerate())
    del passing
    assert not any(thread.name.startswith("next-step") for thread in threading.enumerate())


def test_an_error_in_building_a_step_reaches_whoever_asks_for_it() -> None:
    broken = items([2, 2])
    broken[3] = Item("1", TokenTrie((TrieNode(-1, (9, 9)), *broken[3].trie.nodes[1:])))
    with pytest.raises(ValueError, match="different roots"):
        list(StepLoader(broken, Packing("packed", 2, 1, 1000), pad_id=0, seed=1))
