"""Solved questions in the prompt of a new one (the paper's adaptive demonstration reasoning)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from learnat.benchmarks.types import Benchmark, Example
from learnat.errors import LearnatError
from learnat.sql.schema import Schema
from learnat.synthesis.checks import check_count, check_flag
from learnat.synthesis.demonstrations import MaskedQuestionPool
from learnat.training.prompts import question_text, step_text

HEADING = "Solved questions of a similar shape, about this and other databases:\n\n"


class NearestDemonstrations:
    """Shows every question the verified decompositions that are nearest to it: see ``MaskedQuestionPool``.

    Args:
        trees: a trees.jsonl of training questions, or JSON lines of decompositions with their ``question``.
        size: decompositions shown, at most.
        same_database: whether those about the asked question's own database may be shown; if not, all must name theirs.

    Raises ``LearnatError`` for a value that is not allowed, and a file that is missing, cannot be read, has nothing to
    show or does not name the databases where it must.
    """

    def __init__(self, trees: str | Path | None, size: int = 3, same_database: bool = True) -> None:
        check_count("inference.demonstrations.size", size)
        check_flag("inference.demonstrations.same_database", same_database)
        if trees is None:
            raise LearnatError(
                "Demonstrations come from solved questions: give inference.demonstrations.trees=FILE, a trees.jsonl "
                "of the training split (synthesize.py data.split=train … writes one)."
            )
        self._trees = trees
        self._pool = MaskedQuestionPool(size=size, same_database=same_database, initial=trees)

    def check(self, benchmark: Benchmark, split: str) -> None:
        """Raise ``LearnatError`` where questions of ``split`` themselves would be shown: that gives gold away."""
        asked = self._pool.count_among(benchmark.examples(split))
        if asked:
            questions, their = ("question", "its") if asked == 1 else ("questions", "their")
            raise LearnatError(
                f"{self._trees} holds {asked} {questions} of {split!r}, the split that is asked, with {their} gold "
                "SQL: give inference.demonstrations.trees=FILE with questions of the training split, each with its "
                "db_id if it might be asked of other databases too."
            )

    def record(self, benchmark: Benchmark, split: str) -> dict[str, Any]:
        """What was shown with the questions of ``split``: sixteen hexadecimal digits of its text, and how many."""
        digest, count = hashlib.sha256(), 0
        for example in benchmark.examples(split):
            schema = benchmark.database(example.db_id).schema
            digest.update(f"{self.text(example, schema)}\0".encode(errors="backslashreplace"))
            count += len(self._pool.similar(example, schema))
        return {"digest": digest.hexdigest()[:16], "count": count}

    def text(self, example: Example, schema: Schema) -> str:
        """What stands before the question of ``example``; empty where nothing helps."""
        shown = self._pool.similar(example, schema)
        parts = [
            f"{question_text(each.question, each.evidence)}\n{''.join(map(step_text, each.steps))}\n" for each in shown
        ]
        return HEADING + "".join(parts) if parts else ""
