"""Synthesis on real questions: what training may rely on."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from learnat.benchmarks.bird import BirdBenchmark
from learnat.benchmarks.spider import SpiderBenchmark
from learnat.benchmarks.types import Benchmark
from learnat.synthesis.proposers.ast import AstProposer
from learnat.synthesis.pruning import Depth, Duplicate, Included, Parses, Progress, Runs
from learnat.synthesis.reward import AstReward
from learnat.synthesis.runner import synthesize
from learnat.synthesis.search import MctsSearch
from learnat.synthesis.synthesizer import Synthesizer
from learnat.synthesis.tree import SearchTree, read_trees, solved_paths

RULES = (Parses(), Runs(), Included(), Duplicate(), Progress(), Depth(8))
TRAIN_QUESTIONS = None if os.environ.get("LEARNAT_SWEEP") == "full" else 500


def trees_of(benchmark: Benchmark, split: str, granularity: str, folder: Path) -> list[SearchTree]:
    synthesizer = Synthesizer(AstProposer(granularity), MctsSearch(), RULES, AstReward(), seed=1)
    return list(read_trees(synthesize(benchmark, split, synthesizer, folder)))


def solved_share(trees: Sequence[SearchTree]) -> float:
    return sum(tree.stats.solved for tree in trees) / len(trees)


def steps(trees: Sequence[SearchTree]) -> Counter[int]:
    return Counter(len(solved_paths(tree)[0]) for tree in trees if tree.stats.solved)


def assert_right_and_running(trees: Sequence[SearchTree], benchmark: Benchmark) -> int:
    """Every unpruned step is included or final and, seen independently of the synthesis, runs. Returns how many ran."""
    ran = 0
    for tree in trees:
        kept = [node for node in tree.nodes if node.pruned_by is None]
        assert all(node.included or node.final for node in kept)
        path = benchmark.database(tree.db_id).path
        if path is None:
            continue
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            connection.text_factory = bytes
            for node in kept:
                connection.execute(node.sql).fetchmany(10)
                ran += 1
    return ran


@pytest.mark.parametrize(("split", "limit"), [("train", TRAIN_QUESTIONS), ("dev", None)])
def test_spider(learnat_data: Path, tmp_path: Path, split: str, limit: int | None) -> None:
    benchmark = SpiderBenchmark(learnat_data / "spider", missing="schema", limit=limit)
    trees = trees_of(benchmark, split, "clause", tmp_path)
    assert len(trees) == {"dev": 1034, "train": limit or 8659}[split]
    assert solved_share(trees) >= 0.99
    assert assert_right_and_running(trees, benchmark) > len(trees)

    depths = steps(trees)
    assert max(depths) <= 4
    assert 0.2 < 1 - depths[1] / sum(depths.values()) < 0.8
    # Every decision has mistakes to learn from, more often than not.
    with_mistakes = sum(any(not (n.included or n.final) for n in tree.nodes) for tree in trees)
    assert with_mistakes / len(trees) > 0.8


@pytest.mark.parametrize(("granularity", "one_step"), [("clause", (0.15, 0.30)), ("block", (0.88, 0.96))])
def test_bird_dev_from_its_schemas(
    learnat_data: Path, tmp_path: Path, granularity: str, one_step: tuple[float, float]
) -> None:
    benchmark = BirdBenchmark(learnat_data / "bird", missing="schema")
    trees = trees_of(benchmark, "dev", granularity, tmp_path)
    assert len(trees) == 1534
    assert solved_share(trees) >= 0.97
    assert assert_right_and_running(trees, benchmark) >= 129, "superhero's steps run"
    depths = steps(trees)
    assert one_step[0] <= depths[1] / sum(depths.values()) <= one_step[1], depths
