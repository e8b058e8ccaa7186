"""Several calls of one tree, and several questions, under way at once: the same trees, whatever comes first."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from learnat.benchmarks.types import Example
from learnat.errors import LearnatError
from learnat.sql.execution import Executor, Result
from learnat.synthesis.growth import Budget
from learnat.synthesis.proposers.ast import AstProposer
from learnat.synthesis.proposers.base import Proposal, Proposals, Proposer, Request, Unanswered
from learnat.synthesis.pruning import Depth, Duplicate, Included, Parses, Progress, PruningRule, Runs
from learnat.synthesis.reward import AstReward
from learnat.synthesis.runner import synthesize
from learnat.synthesis.search import BeamSearch, BestOfN, MctsSearch, Search
from learnat.synthesis.synthesizer import Synthesizer
from learnat.synthesis.tree import SearchTree, children, read_trees
from tests.synthesis.conftest import QUESTIONS, SmallBenchmark

ALL: tuple[PruningRule, ...] = (Parses(), Runs(), Included(), Duplicate(), Progress(), Depth(8))
GOLD = "SELECT name FROM singer WHERE age > 30 AND country = 'France' AND singer_id < 9"
QUESTION = Example(0, "t/0", "t", "music", "?", "", GOLD)


@dataclass
class Slow(Proposer):
    """Two right first steps, then one step more below each; counts how many calls wait at once.

    ``delays`` are seconds before an answer, by the number of its call.
    """

    delays: Sequence[float] = ()
    calls: int = 0
    at_once: int = 0
    most_at_once: int = 0
    paths: list[tuple[str, ...]] = field(default_factory=list)
    _lock: Any = field(default_factory=threading.Lock)

    def propose(self, request: Request) -> Proposals:
        with self._lock:
            number, self.calls = self.calls, self.calls + 1
            self.paths.append(tuple(step.sql for step in request.path))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(self.delays[number % len(self.delays)] if self.delays else 0.0)
        with self._lock:
            self.at_once -= 1
        conditions = ["age > 30", "country = 'France'", "singer_id < 9"]
        sqls = [f"SELECT name FROM singer WHERE {condition}" for condition in conditions]
        if len(request.path) == 2:
            sqls = ["SELECT name FROM singer WHERE age > 99"]
        return Proposals(tuple(Proposal("", sql, "slow") for sql in sqls[: request.k]))


def grown(search: Search, proposer: Proposer, benchmark: SmallBenchmark, example: Example = QUESTION) -> SearchTree:
    tree = Synthesizer(proposer, search, ALL, AstReward()).tree(example, benchmark.database("music"))
    return replace(tree, stats=replace(tree.stats, seconds=0.0))


@pytest.mark.parametrize(
    "search",
    [
        MctsSearch(Budget(12, None), k=3, max_expansions=2, in_flight=4),
        BeamSearch(Budget(12, None), k=3, max_expansions=2, in_flight=4),
        BestOfN(Budget(12, None), n=9, in_flight=4),
    ],
    ids=lambda search: type(search).__name__,
)
def test_a_tree_does_not_depend_on_which_answer_comes_first(benchmark_of_music: SmallBenchmark, search: Search) -> None:
    proposers = [Slow([0.0]), Slow([0.03, 0.0, 0.02, 0.01]), Slow([0.0, 0.04])]
    trees = [grown(search, proposer, benchmark_of_music) for proposer in proposers]
    assert trees[0] == trees[1] == trees[2]
    assert proposers[1].most_at_once > 1, "nothing was under way at once"
    assert proposers[1].most_at_once <= 4
    assert trees[0].stats.calls == trees[0].stats.simulations == proposers[0].calls <= 12


def test_virtual_loss_leads_the_next_simulation_elsewhere(benchmark_of_music: SmallBenchmark) -> None:
    """After the root, three calls are in flight: without virtual loss all would go to the same best child."""
    proposer = Slow([0.02])
    grown(MctsSearch(Budget(4, None), k=3, in_flight=3), proposer, benchmark_of_music)
    assert proposer.paths[0] == ()
    assert len(set(proposer.paths[1:])) == 3 and {len(path) for path in proposer.paths[1:]} == {1}


def test_what_is_asked_is_not_asked_again_before_it_is_answered(benchmark_of_music: SmallBenchmark) -> None:
    proposer = Slow([0.02])
    grown(MctsSearch(Budget(1, None), k=3, in_flight=8), proposer, benchmark_of_music)
    assert proposer.paths == [()]


def test_visits_balance_once_all_is_answered(benchmark_of_music: SmallBenchmark) -> None:
    """A virtual loss is a visit lent: in the end each node has its own visit and one for each expansion below it."""
    tree = grown(MctsSearch(Budget(9, None), k=3, in_flight=3), Slow([0.01, 0.0]), benchmark_of_music)
    asked = {node.parent for node in tree.nodes}
    for node in tree.nodes:
        if node.id in asked:
            assert node.visits >= 2 and children(tree, node.id)
        assert 0.0 <= node.value <= 1.0
    roots = children(tree)
    assert sum(node.visits - 1 for node in roots) == tree.stats.simulations - 1


@pytest.mark.parametrize("in_flight", [1, 3])
def test_the_number_in_flight_changes_no_verdict(benchmark_of_music: SmallBenchmark, in_flight: int) -> None:
    for example in benchmark_of_music.examples("train"):
        tree = grown(MctsSearch(in_flight=in_flight), AstProposer(), benchmark_of_music, example)
        assert tree.stats.solved, example.gold_sql


# -- many questions ------------------------------------------------------------------------------------------


@dataclass
class Waited(Proposer):
    """Answers like the AST proposer, but in threads and after ``learn`` tells it the trees of earlier rounds."""

    concurrency: int = 4
    round_size: int | None = None
    silent: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    learnt: list[str] = field(default_factory=list)
    _at_once: set[str] = field(default_factory=set)
    _most: int = 0
    _closed: bool = False
    _lock: Any = field(default_factory=threading.Lock)
    free_settings = ("concurrency", "silent", "broken", "learnt")

    def propose(self, request: Request) -> Proposals:
        name = request.example.example_id
        with self._lock:
            self._at_once.add(threading.current_thread().name)
            self._most = max(self._most, len(self._at_once))
        time.sleep(0.01)
        if self._closed:
            raise Unanswered(["closed"])
        if name in self.broken:
            raise LearnatError("the server at 127.0.0.1:1 cannot be reached")
        if name in self.silent:
            raise Unanswered(["timed out", "http 500"])
        return replace(AstProposer().propose(request), rejected=("not JSON",))

    def learn(self, trees: Sequence[SearchTree]) -> None:
        self.learnt += [tree.example_id for tree in trees]

    def close(self) -> None:
        self._closed = True


def run(benchmark: SmallBenchmark, proposer: Proposer, folder: Path) -> list[SearchTree]:
    return list(
        read_trees(synthesize(benchmark, "train", Synthesizer(proposer, MctsSearch(), ALL, AstReward()), folder))
    )


def test_questions_are_asked_at_once_and_the_trees_are_those_of_one_thread(
    benchmark_of_music: SmallBenchmark, tmp_path: Path
) -> None:
    many, one = Waited(concurrency=4), Waited(concurrency=1)
    trees = run(benchmark_of_music, many, tmp_path / "many")
    assert many._most == 4 and many._closed
    alone = run(benchmark_of_music, one, tmp_path / "one")
    assert [replace(t, stats=replace(t.stats, seconds=0.0)) for t in trees] == [
        replace(t, stats=replace(t.stats, seconds=0.0)) for t in alone
    ]
    summary = json.loads((tmp_path / "many" / "summary.json").read_text())
    assert summary["rejected"] == {"not JSON": summary["calls"]}


def test_a_question_without_an_answer_stays_open_and_is_asked_again(
    benchmark_of_music: SmallBenchmark, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(LearnatError, match=r"2 questions got no answer .*http 500: 2, timed out: 2.*same command"):
        run(benchmark_of_music, Waited(silent=("train/1", "train/4")), tmp_path)
    assert "train/4" in caplog.text
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["trees"], summary["questions"]) == (len(QUESTIONS) - 2, len(QUESTIONS))
    trees = run(benchmark_of_music, Waited(concurrency=2), tmp_path)
    assert [tree.example_id for tree in trees] == [f"train/{i}" for i in range(len(QUESTIONS))]
    assert all(tree.stats.solved for tree in trees)


def test_a_server_that_never_answers_ends_the_run_early(benchmark_of_music: SmallBenchmark, tmp_path: Path) -> None:
    """16 questions in a row are enough to know."""

    @dataclass
    class Many(SmallBenchmark):
        def examples(self, split: str) -> list[Example]:
            first = super().examples(split)[0]
            return [replace(first, index=i, example_id=f"train/{i}") for i in range(60)]

    proposer = Waited(concurrency=2, silent=tuple(f"train/{i}" for i in range(60)))
    with pytest.raises(LearnatError, match="16 questions got no answer"):
        run(Many(benchmark_of_music.path), proposer, tmp_path)
    assert proposer._closed


def test_skip_leaves_such_a_question_unsolved_with_the_reasons(
    benchmark_of_music: SmallBenchmark, tmp_path: Path
) -> None:
    proposer = Waited(silent=("train/1",), round_size=4)
    synthesizer = Synthesizer(proposer, MctsSearch(), ALL, AstReward())
    path = synthesize(benchmark_of_music, "train", synthesizer, tmp_path, unanswered="skip")
    trees = list(read_trees(path))
    assert len(trees) == len(QUESTIONS) and "train/1" in proposer.learnt, "later rounds go on"
    assert trees[1].nodes == () and trees[1].stats.rejected == {"http 500": 1, "timed out": 1}
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["unanswered"], summary["failed"]) == (1, 0)
    with pytest.raises(LearnatError, match="Did you mean 'skip'"):
        synthesize(benchmark_of_music, "train", synthesizer, tmp_path, unanswered="skp")


def test_questions_in_flight_are_given_up_with_the_sql_they_run(
    benchmark_of_music: SmallBenchmark, tmp_path: Path
) -> None:
    """An error, or Ctrl-C, does not wait for time limits, and keeps no tree that was judged by SQL it has ended."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

    class Endless(Proposer):
        concurrency = 4

        def propose(self, request: Request) -> Proposals:
            if request.example.example_id == "train/0":
                time.sleep(1.0)
                raise LearnatError("the budget is spent")
            return Proposals((Proposal("", endless, "x"),))

    synthesizer = Synthesizer(Endless(), MctsSearch(), ALL, AstReward(), timeout_s=60.0)
    start = time.monotonic()
    with pytest.raises(LearnatError, match="budget is spent"):
        synthesize(benchmark_of_music, "train", synthesizer, tmp_path)
    assert time.monotonic() - start < 30.0
    assert (tmp_path / "trees.jsonl").read_bytes() == b""


def test_an_error_that_ends_the_run_keeps_what_is_done(benchmark_of_music: SmallBenchmark, tmp_path: Path) -> None:
    with pytest.raises(LearnatError, match="cannot be reached"):
        run(benchmark_of_music, Waited(concurrency=2, broken=("train/7",)), tmp_path)
    done = {tree.example_id for tree in read_trees(tmp_path / "trees.jsonl")}
    assert {"train/0", "train/1", "train/2", "train/3"} <= done and "train/7" not in done
    assert len(run(benchmark_of_music, Waited(), tmp_path)) == len(QUESTIONS)


def test_a_proposer_is_told_each_rounds_trees_once_and_again_after_a_stop(
    benchmark_of_music: SmallBenchmark, tmp_path: Path
) -> None:
    ids = [f"train/{i}" for i in range(len(QUESTIONS))]
    first = Waited(round_size=4)
    run(benchmark_of_music, first, tmp_path / "whole")
    assert first.learnt == ids[:8], "nothing is asked after the last round"
    stopped = Waited(round_size=4, broken=("train/6",))
    with pytest.raises(LearnatError):
        run(benchmark_of_music, stopped, tmp_path / "stopped")
    assert stopped.learnt == ids[:4]
    resumed = Waited(round_size=4)
    run(benchmark_of_music, resumed, tmp_path / "stopped")
    assert resumed.learnt == ids[:8]


def test_a_round_with_an_open_question_is_not_learnt_from(benchmark_of_music: SmallBenchmark, tmp_path: Path) -> None:
    """Otherwise later prompts would differ from those of a rerun, and nothing of the cache would serve."""
    proposer = Waited(round_size=4, silent=("train/2",))
    with pytest.raises(LearnatError, match="1 question got no answer"):
        run(benchmark_of_music, proposer, tmp_path)
    assert proposer.learnt == []
    assert len(list(read_trees(tmp_path / "trees.jsonl"))) == 3


# -- finality by execution -----------------------------------------------------------------------------------


@dataclass
class Says(Proposer):
    """Proposes one text, its finality decided as asked."""

    sql: str = ""
    final: str = "execution"

    def propose(self, request: Request) -> Proposals:
        return Proposals((Proposal("", self.sql, "says", self.final),))


def test_a_step_with_golds_results_on_every_database_is_final(
    benchmark_of_music: SmallBenchmark, tmp_path: Path
) -> None:
    example = Example(0, "t/0", "t", "music", "?", "", "SELECT max(age) FROM singer")
    other = "SELECT age FROM singer ORDER BY age DESC LIMIT 1"
    lucky = "SELECT age FROM singer WHERE name = 'Ada'"
    variant = tmp_path / "variant.sqlite"
    with sqlite3.connect(variant) as connection:
        connection.executescript(
            "CREATE TABLE singer (singer_id INTEGER PRIMARY KEY, name TEXT, country TEXT, age INTEGER);"
            "INSERT INTO singer VALUES (1, 'Ada', 'France', 20), (2, 'Bo', 'France', 31);"
        )
    connection.close()
    database = benchmark_of_music.database("music")
    both = replace(database, variants=(variant,))

    def solved(sql: str, on: Any, final: str = "execution") -> bool:
        synthesizer = Synthesizer(Says(sql, final), MctsSearch(Budget(1)), ALL, AstReward())
        return synthesizer.tree(example, on).stats.solved

    assert solved(other, database) and solved(other, both)
    assert not solved(other, database, "canonical")
    assert solved(lucky, database) and not solved(lucky, both), "the variant tells luck from meaning"


def test_a_step_that_a_variant_s_time_limit_left_undecided_is_no_mistake(
    benchmark_of_music: SmallBenchmark, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    variant = tmp_path / "variant.sqlite"
    with sqlite3.connect(variant) as connection:
        connection.execute("CREATE TABLE singer (age INTEGER)")
    connection.close()
    run_sql = Executor.run

    def slow_on_the_variant(self: Executor, sql: str, *args: Any) -> Result:
        result = run_sql(self, sql, *args)
        return replace(result, error="timed out", timed_out=True) if self.path == variant else result

    monkeypatch.setattr(Executor, "run", slow_on_the_variant)
    example = Example(0, "t/0", "t", "music", "?", "", "SELECT max(age) FROM singer")
    database = replace(benchmark_of_music.database("music"), variants=(variant,))
    proposer = Says("SELECT age FROM singer WHERE name = 'Ada'")
    tree = Synthesizer(proposer, MctsSearch(Budget(1)), ALL, AstReward()).tree(example, database)
    assert tree.nodes == () and tree.stats.timed_out == 1
