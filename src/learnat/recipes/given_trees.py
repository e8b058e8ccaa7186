"""Training on a trees.jsonl that exists already: is it about the training questions, and what was it made with?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from learnat.benchmarks.types import Benchmark, Example
from learnat.errors import LearnatError
from learnat.synthesis.decompositions import content_digest
from learnat.synthesis.tree import SearchTree, read_trees


def check_trees(path: Path, benchmark: Benchmark, split: str) -> str:
    """How many questions of ``split`` have a tree in ``path`` and how many are solved, as a line to print.

    Trees of other questions are no mistake (``data.limit`` and ``data.databases`` choose among them).

    Raises:
        LearnatError: there is no such file, it is no tree file, it has no tree of ``split`` or two of one question, or
            a tree's question, database or gold SQL is not that of the benchmark's question of the same id.
    """
    examples = {example.example_id: example for example in benchmark.examples(split)}
    solved: dict[str, bool] = {}
    differing: list[str] = []
    twice: list[str] = []
    for tree in read_trees(path):
        if tree.example_id in examples:
            twice += [tree.example_id] if tree.example_id in solved else []
            solved[tree.example_id] = tree.stats.solved
            differing += _differences(tree, examples[tree.example_id])
    where = f"split {split} of {benchmark.name}"
    if differing:
        raise LearnatError(
            f"trees={path} is about other questions than {where}: {differing[0]}"
            + (f" ({len(differing)} such differences)" if len(differing) > 1 else "")
            + ". Give trees of the same data, or trees=null to make them."
        )
    if twice:
        raise LearnatError(
            f"trees={path} holds questions twice ({', '.join(twice[:3])}{', …' if len(twice) > 3 else ''}). Keep one "
            "line of each; python -m learnat.synthesis.shards puts the files of shards together."
        )
    if not solved:
        raise LearnatError(
            f"trees={path} has no tree of a question of {where} ({next(iter(examples))}, for one). "
            "Give that split's trees, or trees=null to make them."
        )
    return f"trees: {len(solved):,} of {len(examples):,} questions, {sum(solved.values()):,} solved, from {path}"


def _differences(tree: SearchTree, example: Example) -> list[str]:
    return [
        f"the {name} of {tree.example_id} is {ours!r} there and {theirs!r} here"
        for name, ours, theirs in (
            ("database", tree.db_id, example.db_id),
            ("question", tree.question, example.question),
            ("gold SQL", tree.gold_sql, example.gold_sql),
        )
        if ours != theirs
    ]


def trees_record(path: Path) -> dict[str, Any]:
    """What a run's provenance says of its trees; ``settings`` is None where nothing beside the file tells them.

    Raises ``LearnatError`` where the file beside it is damaged.
    """
    settings = path.with_suffix(".settings.json")
    try:
        made_with = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else None
    except (OSError, ValueError) as error:
        raise LearnatError(
            f"{settings}, which says what trees={path} were made with, cannot be read ({error}). "
            "Put it back, or take it away to train without that record."
        ) from error
    return {"path": str(path), "digest": content_digest(path), "settings": made_with}
