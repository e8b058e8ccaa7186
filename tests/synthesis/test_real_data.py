"""Synthesis on real questions: what training may rely on."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from learnat.benchmarks.spider import SpiderBenchmark
from learnat.synthesis.proposers.ast import AstProposer
from learnat.synthesis.pruning import Depth, Duplicate, Included, Parses, Progress, Runs
from learnat.synthesis.reward import AstReward
from learnat.synthesis.runner import synthesize
from learnat.synthesis.search import MctsSearch
from learnat.synthesis.synthesizer import Synthesizer
from learnat.synthesis.tree import read_trees, solved_paths

RULES = (Parses(), Runs(), Included(), Duplicate(), Progress(), Depth(8))


def test_spider_train(learnat_data: Path, tmp_path: Path) -> None:
    benchmark = SpiderBenchmark(learnat_data / "spider", missing="skip", limit=500)
    synthesizer = Synthesizer(AstProposer(), MctsSearch(), RULES, AstReward(), seed=1)
    trees = list(read_trees(synthesize(benchmark, "train", synthesizer, tmp_path)))
    assert len(trees) == 500
    assert sum(tree.stats.solved for tree in trees) / len(trees) >= 0.99

    for tree in trees:
        database = benchmark.database(tree.db_id)
        connection = sqlite3.connect(f"file:{database.path}?mode=ro", uri=True)
        connection.text_factory = bytes
        for node in tree.nodes:
            if node.pruned_by is None:
                assert node.included or node.final
                connection.execute(node.sql).fetchmany(10)
        connection.close()

    steps = [len(solved_paths(tree)[0]) for tree in trees if tree.stats.solved]
    assert max(steps) <= 4
    assert 0.2 < sum(count > 1 for count in steps) / len(steps) < 0.8
    # Every decision has mistakes to learn from, more often than not.
    with_mistakes = sum(any(not (n.included or n.final) for n in tree.nodes) for tree in trees)
    assert with_mistakes / len(trees) > 0.8
