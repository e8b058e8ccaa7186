"""What must not change the loss path: how a step is cut into passes, how it is laid out, in what order things stand."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from learnat.training.optimizers import muon_adamw
from learnat.training.packing import Packing, StepLoader
from learnat.training.tries import TokenTrie
from tests.training.conftest import items
from tests.training.runs import EPOCHS, PACKING, STEPS, run

TOLERANCE = 1e-6
"""Relative, at every step: some 16 units in the last place of a float32 loss; up to 6 were seen in 16 models."""


def reordered(trie: TokenTrie, rng: random.Random) -> TokenTrie:
    """``trie`` with siblings and pairs in another order."""
    children: dict[int, list[int]] = {}
    for i, node in enumerate(trie.nodes):
        children.setdefault(node.parent, []).append(i)
    order: list[int] = []
    stack = [0]
    while stack:
        order.append(stack.pop())
        below = children.get(order[-1], [])
        stack += rng.sample(below, len(below))
    place = {old: new for new, old in enumerate(order)}
    nodes = [replace(trie.nodes[old], parent=place.get(trie.nodes[old].parent, -1)) for old in order]
    pairs = [replace(pair, chosen=place[pair.chosen], rejected=place[pair.rejected]) for pair in trie.pairs]
    return TokenTrie(tuple(nodes), tuple(rng.sample(pairs, len(pairs))), trie.questions)


@pytest.fixture(scope="module", params=[False, True], ids=["sft", "preference"])
def preference(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture(scope="module")
def expected(preference: bool, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The loss path of ``items()`` under ``PACKING``."""
    path = run(tmp_path_factory.mktemp("base"), preference)
    assert len(path) == STEPS and sum(path[-3:]) < sum(path[:3])
    return path


CUTS = {
    "one trie a pass": replace(PACKING, token_budget=1),
    "one pass a step": replace(PACKING, token_budget=10_000),
    "long bucket": replace(PACKING, length_bucket=128),
    "padded": replace(PACKING, layout="padded"),
    "padded in one pass": replace(PACKING, layout="padded", token_budget=10_000),
}


@pytest.mark.parametrize("cut", CUTS)
def test_cutting_and_layout_do_not_change_the_loss_path(
    tmp_path: Path, preference: bool, expected: list[float], cut: str
) -> None:
    """A pack is a micro-batch, and the packs of a step are accumulated."""
    assert run(tmp_path, preference, packing=CUTS[cut]) == pytest.approx(expected, rel=TOLERANCE)


def test_the_cuts_are_different_ones() -> None:
    budgets = (1, PACKING.token_budget, 10_000)
    packs = [sum(map(len, StepLoader(items(), replace(PACKING, token_budget=n), 0, seed=1))) for n in budgets]
    assert packs[0] > packs[1] > packs[2] == STEPS / EPOCHS


def test_the_order_of_siblings_and_pairs_does_not_change_the_loss_path(
    tmp_path: Path, preference: bool, expected: list[float]
) -> None:
    data, rng = items(), random.Random(3)
    other = [replace(item, trie=reordered(item.trie, rng)) for item in data]
    assert sum(a.trie.nodes != b.trie.nodes for a, b in zip(data, other, strict=True)) > 5
    assert any(a.trie.pairs != b.trie.pairs for a, b in zip(data, other, strict=True))
    assert sum(len(item.trie.pairs) for item in data) == sum(len(item.trie.pairs) for item in other) > 10
    assert run(tmp_path, preference, other) == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.parametrize("size", [1, 2])
def test_questions_a_trie_do_not_change_the_loss_path(tmp_path: Path, preference: bool, size: int) -> None:
    """Of one database, whose questions come in the same order however they are grouped."""
    data = items(databases=1, questions=12)
    whole = Packing("packed", questions_per_trie=4, databases_per_step=1, token_budget=100)
    regrouped = replace(whole, questions_per_trie=size, databases_per_step=4 // size)
    path = run(tmp_path / "whole", preference, data, whole)
    assert len(path) == STEPS
    assert run(tmp_path / "regrouped", preference, data, regrouped) == pytest.approx(path, rel=TOLERANCE)


def test_muon_follows_the_path_too(tmp_path: Path) -> None:
    """Its iteration pulls small singular values up, and with them their rounding."""
    optimizer = partial(muon_adamw, muon_lr=5e-3, lr=1e-3)
    path = run(tmp_path / "base", False, optimizer=optimizer)
    other = run(tmp_path / "cut", False, packing=CUTS["one trie a pass"], optimizer=optimizer)
    assert other == pytest.approx(path, rel=1e-5)
