"""Many questions: the same trees whatever the order, the processes or the interruptions."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from learnat.errors import LearnatError
from learnat.sql.execution import Executor, Result
from learnat.synthesis import engines
from learnat.synthesis.proposers.ast import AstProposer
from learnat.synthesis.proposers.base import Proposals, Request
from learnat.synthesis.pruning import Included, Parses, PruningRule, Runs
from learnat.synthesis.reward import AstReward
from learnat.synthesis.runner import synthesize
from learnat.synthesis.search import MctsSearch
from learnat.synthesis.synthesizer import Attempt, Synthesizer
from learnat.synthesis.tree import SearchTree, read_trees
from tests.synthesis.conftest import QUESTIONS, SmallBenchmark

RULES: tuple[PruningRule, ...] = (Parses(), Runs(), Included())


def synthesizer(seed: int = 1) -> Synthesizer:
    return Synthesizer(AstProposer(), MctsSearch(), RULES, AstReward(), seed=seed)


def without_seconds(path: Path) -> list[SearchTree]:
    return [replace(tree, stats=replace(tree.stats, seconds=0.0)) for tree in read_trees(path)]


def test_summary_and_resume(benchmark_of_music: SmallBenchmark, tmp_path: Path) -> None:
    whole = synthesize(benchmark_of_music, "train", synthesizer(), tmp_path / "whole")
    summary = json.loads((tmp_path / "whole" / "summary.json").read_text())
    assert summary["solved"] == 1.0 and summary["questions"] == summary["trees"] == len(QUESTIONS)
    assert sum(summary["depth_histogram"].values()) == len(QUESTIONS)
    assert list(summary["by_difficulty"]) == ["easy", "hard"]
    assert summary["branching"] > 1.0 and summary["pruned"]["included"] > 0

    # Half of it, then a torn line, then the rest: the same file as in one go.
    synthesize(SmallBenchmark(benchmark_of_music.path, limit=5), "train", synthesizer(), tmp_path / "half")
    with (tmp_path / "half" / "trees.jsonl").open("ab") as stream:
        stream.write(b'{"version": 1, "example_id": "train/6", "db')
    resumed = synthesize(benchmark_of_music, "train", synthesizer(), tmp_path / "half")
    assert without_seconds(resumed) == without_seconds(whole)

    before = resumed.read_bytes()
    assert synthesize(benchmark_of_music, "train", synthesizer(), tmp_path / "half").read_bytes() == before
    with pytest.raises(LearnatError, match="other settings"):
        synthesize(benchmark_of_music, "train", synthesizer(seed=2), tmp_path / "half")


def test_worker_processes_change_nothing(
    benchmark_of_music: SmallBenchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = synthesize(benchmark_of_music, "train", synthesizer(), tmp_path / "alone", workers=1)
    monkeypatch.setattr("learnat.synthesis.run.QUESTIONS_PER_WORKER", 1)
    together = synthesize(benchmark_of_music, "train", synthesizer(), tmp_path / "together", workers=2)
    assert without_seconds(alone) == without_seconds(together)


def test_an_interrupt_keeps_what_is_done(
    benchmark_of_music: SmallBenchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0
    tree = Synthesizer.tree

    def interrupted(self: Synthesizer, *args: object) -> SearchTree:
        nonlocal made
        made += 1
        if made == 4:
            raise KeyboardInterrupt
        return tree(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Synthesizer, "tree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        synthesize(benchmark_of_music, "train", synthesizer(), tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["trees"], summary["questions"]) == (3, len(QUESTIONS))
    monkeypatch.undo()
    assert len(list(read_trees(synthesize(benchmark_of_music, "train", synthesizer(), tmp_path)))) == len(QUESTIONS)


def test_a_schema_without_database_is_enough(tmp_path: Path) -> None:
    path = synthesize(SmallBenchmark(None), "train", synthesizer(), tmp_path)
    assert all(tree.stats.solved for tree in read_trees(path))


def test_synthesis_imports_no_torch() -> None:
    code = "import sys, learnat.synthesis.runner, learnat.synthesis.proposers.ast; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


class Fragile(AstProposer):
    """Raises ``error`` for the third question."""

    error: BaseException = ZeroDivisionError("the proposer broke")

    def propose(self, request: Request) -> Proposals:
        if request.example.example_id == "train/2":
            raise self.error
        return super().propose(request)


@pytest.mark.parametrize("workers", [1, 2])
def test_one_broken_question_does_not_end_the_run(
    benchmark_of_music: SmallBenchmark,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    workers: int,
) -> None:
    monkeypatch.setattr("learnat.synthesis.run.QUESTIONS_PER_WORKER", 1)
    fragile = Synthesizer(Fragile(), MctsSearch(), RULES, AstReward())
    trees = list(read_trees(synthesize(benchmark_of_music, "train", fragile, tmp_path, workers)))
    assert [tree.example_id for tree in trees if not tree.stats.solved] == ["train/2"]
    assert trees[2].nodes == () and len(trees) == len(QUESTIONS)
    assert "train/2" in caplog.text and "the proposer broke" in caplog.text
    assert json.loads((tmp_path / "summary.json").read_text())["failed"] == 1


class Broken(AstProposer):
    """Fails for every question: the cause is not in them."""

    def propose(self, request: Request) -> Proposals:
        raise ZeroDivisionError("a typo in the settings")


def test_a_cause_common_to_all_questions_ends_the_run_and_marks_none_as_done(
    benchmark_of_music: SmallBenchmark, tmp_path: Path
) -> None:
    broken = Synthesizer(Broken(), MctsSearch(), RULES, AstReward())
    for limit in (None, 3):  # many questions, and fewer than it takes to be sure
        benchmark = SmallBenchmark(benchmark_of_music.path, limit=limit)
        with pytest.raises(LearnatError, match=r"questions failed, .*ZeroDivisionError: a typo in the settings"):
            synthesize(benchmark, "train", broken, tmp_path / str(limit))
        assert list(read_trees(tmp_path / str(limit) / "trees.jsonl")) == []


def test_a_user_s_mistake_ends_the_run(benchmark_of_music: SmallBenchmark, tmp_path: Path) -> None:
    class Refused(Fragile):
        error = LearnatError("no such endpoint")

    with pytest.raises(LearnatError, match="no such endpoint"):
        synthesize(benchmark_of_music, "train", Synthesizer(Refused(), MctsSearch(), RULES, AstReward()), tmp_path)


def test_an_interrupt_keeps_what_the_workers_finished(
    benchmark_of_music: SmallBenchmark, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = benchmark_of_music.examples("train")
    kept: list[str] = []

    def interrupted(futures: set[Future[Attempt]], return_when: str) -> None:
        assert len(futures) == 4
        wait(futures)
        raise KeyboardInterrupt

    monkeypatch.setattr(engines, "wait", interrupted)
    databases = {"music": benchmark_of_music.database("music")}
    with pytest.raises(KeyboardInterrupt):
        engines.in_processes(examples, databases, synthesizer(), 2, lambda done: kept.append(done.example.example_id))
    assert sorted(kept) == [example.example_id for example in examples[:4]]


def test_a_step_that_reaches_the_time_limit_is_no_mistake(
    benchmark_of_music: SmallBenchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Executor.run

    def slow(self: Executor, sql: str, *args: Any) -> Result:
        result = run(self, sql, *args)
        return result if "2014" in sql else replace(result, error="timed out", timed_out=True)

    monkeypatch.setattr(Executor, "run", slow)
    trees = list(read_trees(synthesize(benchmark_of_music, "train", synthesizer(), tmp_path)))
    assert all(tree.stats.solved for tree in trees)  # gold proves right steps without running them
    nodes = [node for tree in trees for node in tree.nodes if "2014" not in node.sql]
    assert nodes and all(node.included or node.final or node.pruned_by == "parses" for node in nodes)
    assert json.loads((tmp_path / "summary.json").read_text())["timed_out"] > 0
