"""Searches: each solves what can be solved, spends no more than its budget, and branches where proposals do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from learnat.benchmarks.types import Example
from learnat.sql import SqlParseError, canonicalize
from learnat.synthesis.growth import Budget
from learnat.synthesis.proposers.ast import AstProposer, next_steps
from learnat.synthesis.proposers.base import Proposal, Proposals, Proposer, Request
from learnat.synthesis.pruning import Depth, Duplicate, Included, Parses, Progress, PruningRule, Runs
from learnat.synthesis.reward import AstReward
from learnat.synthesis.search import BeamSearch, BestOfN, GreedySearch, MctsSearch, Search
from learnat.synthesis.synthesizer import Synthesizer
from learnat.synthesis.tree import ROOT, SearchTree, Step, children, path_to, solved_paths
from tests.synthesis.conftest import SmallBenchmark

ALL: tuple[PruningRule, ...] = (Parses(), Runs(), Included(), Duplicate(), Progress(), Depth(8))
SEARCHES: tuple[Search, ...] = (MctsSearch(), GreedySearch(), BeamSearch(), BestOfN(Budget(200, 200), n=100))


def trees(
    benchmark: SmallBenchmark, search: Search, rules: Sequence[PruningRule] = ALL, proposer: AstProposer | None = None
) -> list[SearchTree]:
    synthesizer = Synthesizer(proposer or AstProposer(), search, rules, AstReward())
    return [synthesizer.tree(example, benchmark.database(example.db_id)) for example in benchmark.examples("train")]


@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: type(search).__name__)
def test_every_search_solves_every_gold_shape(benchmark_of_music: SmallBenchmark, search: Search) -> None:
    for tree in trees(benchmark_of_music, search):
        assert tree.stats.solved, tree.gold_sql
        path = solved_paths(tree)[0]
        assert tree.stats.depth == len(path)
        assert (path[-1].sub_question, path[-1].sql) == (tree.question, tree.gold_sql)
        assert path[-1].reward == path[-1].coverage == 1.0
        assert [node.coverage for node in path] == sorted(node.coverage for node in path)
        for node in tree.nodes:
            assert 0.0 <= node.reward <= 1.0 and 0.0 <= node.value <= 1.0
            if node.pruned_by is None:
                assert node.included or node.final
            else:
                assert not children(tree, node.id)


def test_right_outranks_wrong_in_every_tree(benchmark_of_music: SmallBenchmark) -> None:
    for tree in trees(benchmark_of_music, MctsSearch(k=8)):
        wrong = [node.reward for node in tree.nodes if not (node.included or node.final)]
        right = [node.reward for node in tree.nodes if node.included or node.final]
        assert min(right) > max(wrong, default=0.0)
        assert any(node.source.startswith("mutation:") for node in tree.nodes)


def test_verdicts_are_recorded_whatever_is_pruned(benchmark_of_music: SmallBenchmark) -> None:
    seen = [node for tree in trees(benchmark_of_music, MctsSearch(), rules=()) for node in tree.nodes]
    assert {node.pruned_by for node in seen} == {None}
    assert {node.included or node.final for node in seen} == {True, False}


def test_mcts_branches_and_respects_its_budget(benchmark_of_music: SmallBenchmark) -> None:
    budget = Budget(max_simulations=None, max_calls=5)
    grown = trees(benchmark_of_music, MctsSearch(budget, n_solutions=100), rules=())
    assert all(tree.stats.calls <= 5 for tree in grown)
    branching = [len(children(tree, parent)) for tree in grown for parent in {node.parent for node in tree.nodes}]
    assert sum(branching) / len(branching) > 1.5
    assert any(len({len(path_to(tree, node.id)) for node in tree.nodes}) > 1 for tree in grown)


@dataclass
class Letters(Proposer):
    """Proposes, below each step, two conditions of gold and the whole of it in the end; remembers what was asked."""

    asked: list[tuple[str, ...]]

    def propose(self, request: Request) -> Proposals:
        path = request.path
        self.asked.append(tuple(step.sql for step in path))
        sqls = ["SELECT name FROM singer WHERE age > 30", "SELECT name FROM singer WHERE country = 'France'"]
        if path:
            sqls = ["SELECT name FROM singer WHERE age > 99", request.example.gold_sql][: len(path)]
        return Proposals(tuple(Proposal("", sql, "letters") for sql in sqls), prompt_tokens=10, completion_tokens=1)


def test_uct_selects_by_value_and_visits(benchmark_of_music: SmallBenchmark) -> None:
    example = Example(0, "t/0", "t", "music", "?", "", "SELECT name FROM singer WHERE age > 30 AND country = 'France'")
    proposer = Letters([])
    search = MctsSearch(Budget(max_simulations=7, max_calls=None), max_expansions=3)
    tree = Synthesizer(proposer, search, ALL, AstReward()).tree(example, benchmark_of_music.database("music"))
    first, second = children(tree, ROOT)
    # Both dead ends were tried, each as often as allowed, and then nothing was left to ask.
    assert {len(path) for path in proposer.asked} == {0, 1}
    assert tree.stats.simulations == tree.stats.calls == len(proposer.asked) == 7
    assert (first.visits, second.visits) == (4, 4)
    assert math.isclose(first.value, first.reward / 4, abs_tol=1e-6)
    assert tree.stats.prompt_tokens == 70 and tree.stats.completion_tokens == 7
    assert not tree.stats.solved and tree.stats.depth == 2


def test_a_token_budget_stops_the_search(benchmark_of_music: SmallBenchmark) -> None:
    example = benchmark_of_music.examples("train")[5]
    search = MctsSearch(Budget(max_tokens=30), n_solutions=9)
    tree = Synthesizer(Letters([]), search, (), AstReward()).tree(example, benchmark_of_music.database("music"))
    assert tree.stats.calls == 3


def test_duplicates_and_steps_without_progress_are_pruned_as_such(benchmark_of_music: SmallBenchmark) -> None:
    gold = "SELECT name FROM singer WHERE age > 30 AND country = 'France'"
    example = Example(0, "t/0", "t", "music", "?", "", gold)

    class Repeating(Proposer):
        def propose(self, request: Request) -> Proposals:
            sqls = [
                "select NAME from singer where 30 < age",
                "SELECT name FROM singer",
                "SELECT nme FROM singer",
                "SELEC",
            ]
            return Proposals(tuple(Proposal("", sql, "x") for sql in sqls))

    search = MctsSearch(Budget(max_simulations=2))
    tree = Synthesizer(Repeating(), search, ALL, AstReward()).tree(example, benchmark_of_music.database("music"))
    pruned = {(len(path_to(tree, node.id)), node.sql): node.pruned_by for node in tree.nodes}
    assert [pruned[1, sql] for _, sql in list(pruned)[:4]] == [None, None, "runs", "parses"]
    assert pruned[2, "select NAME from singer where 30 < age"] == "duplicate"
    assert pruned[2, "SELECT name FROM singer"] == "progress"


def test_next_steps_follow_the_chains_that_agree_with_the_path() -> None:
    a, b, c, z = (Step(name, name) for name in "abcz")
    chains = [[a, b, z], [b, a, z], [c, z]]
    assert next_steps(chains, []) == [a, b, c]
    assert next_steps(chains, [b]) == [a]
    assert next_steps(chains, [Step("wrong", "wrong")]) == [b, a, z]
    assert next_steps(chains, [a, b, z, z]) == [z]


def test_gold_that_only_sqlite_reads_is_solved_by_its_own_text(benchmark_of_music: SmallBenchmark) -> None:
    gold = f"SELECT name FROM singer WHERE age > {'(' * 60}30{')' * 60};"
    example = Example(0, "t/0", "t", "music", "?", "", gold)
    with pytest.raises(SqlParseError):
        canonicalize(gold, benchmark_of_music.database("music").schema)
    synthesizer = Synthesizer(AstProposer(), MctsSearch(), ALL, AstReward())
    tree = synthesizer.tree(example, benchmark_of_music.database("music"))
    assert tree.stats.solved and tree.stats.depth == 1
