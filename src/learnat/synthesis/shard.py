"""One shard of a split's questions, and what is written beside its trees of the split as a whole."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from learnat.benchmarks.types import Benchmark, Example
from learnat.errors import LearnatError
from learnat.synthesis.settings import digest

SPLIT_FILE = "trees.split.json"
AGAIN = "run synthesize.py again with that run_dir and the same settings, it goes on where it stopped."
"""The way out of what is wrong with a shard's files."""

Item = TypeVar("Item", Example, "Question")


@dataclass(frozen=True)
class Shard:
    """The ``index``-th, counted from 1, of ``count`` parts of a split; ``str`` gives ``2/8``, and ``parse`` reads it.

    Raises ``LearnatError`` unless 1 ≤ ``index`` ≤ ``count``.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise LearnatError(_not_a_shard(f"{self.index}/{self.count}"))

    @classmethod
    def parse(cls, text: object) -> Shard:
        """Raises ``LearnatError`` for anything but ``i/n``."""
        match = re.fullmatch(r"([0-9]+)/([0-9]+)", str(text))
        if match is None:
            raise LearnatError(_not_a_shard(text))
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def of(self, questions: Sequence[Item]) -> list[Item]:
        """This shard's part of the whole split's ``questions``, in their order.

        The questions, ordered by database, are cut into ``count`` runs whose lengths differ by one at most. So shards
        are balanced, and yet a cut parts one database at most: its connection, its parsed schema and the prefix of
        its prompts stay warm on one machine.
        """
        ranked = sorted(range(len(questions)), key=lambda position: questions[position].db_id)
        start, end = (len(questions) * index // self.count for index in (self.index - 1, self.index))
        return [questions[position] for position in sorted(ranked[start:end])]


def _not_a_shard(text: object) -> str:
    return f"shard={text} is no shard: write i/n with i from 1 to n, as in shard=2/8 for the second of eight."


@dataclass(frozen=True)
class Question:
    """What a merge needs to know of an ``Example``."""

    example_id: str
    db_id: str
    difficulty: str


@dataclass(frozen=True)
class Split:
    """What a merge needs to know of the whole split, written beside every shard's trees (``trees.split.json``).

    ``questions`` are in the benchmark's order; the rest is what ``summarize`` takes.
    """

    questions: tuple[Question, ...]
    rules: tuple[str, ...]
    levels: tuple[str, ...]
    skipped: int

    @classmethod
    def of(cls, benchmark: Benchmark, split: str, rules: Iterable[str]) -> Split:
        examples = benchmark.examples(split)
        questions = tuple(Question(example.example_id, example.db_id, example.difficulty) for example in examples)
        return cls(questions, tuple(rules), tuple(benchmark.difficulties), benchmark.skipped(split))

    @classmethod
    def read(cls, folder: Path) -> Split:
        """Raises ``LearnatError`` where ``folder`` has no readable ``trees.split.json``."""
        record = read_json(folder / SPLIT_FILE)
        try:
            questions = tuple(Question(*question) for question in record["questions"])
            return cls(questions, tuple(record["rules"]), tuple(record["levels"]), int(record["skipped"]))
        except (KeyError, TypeError, ValueError) as error:
            raise LearnatError(f"{folder / SPLIT_FILE} is damaged: {AGAIN}") from error

    def text(self) -> str:
        record = {**asdict(self), "questions": [list(asdict(question).values()) for question in self.questions]}
        return json.dumps(record, ensure_ascii=False) + "\n"

    def write(self, folder: Path) -> None:
        temporary = folder / f"{SPLIT_FILE}.new"
        temporary.write_text(self.text(), encoding="utf-8")
        os.replace(temporary, folder / SPLIT_FILE)

    def settings(self, shard: Shard, learns: bool) -> dict[str, object]:
        """What ``trees.settings.json`` says of a shard beyond what it says of a whole split.

        A proposer that ``learns`` from trees learns from its shard's alone, so that merged trees are not what one
        machine would have made: they keep saying so.
        """
        alone = {"learned_in_shards": shard.count} if learns else {}
        return {"shard": str(shard), "questions": len(self.questions), "split_digest": digest(self.text()), **alone}


def read_json(path: Path) -> dict[str, Any]:
    """The object in a shard's file. Raises ``LearnatError``, with the way out, for one that holds none."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LearnatError(f"{path} cannot be read ({error}): {AGAIN}") from error
    if not isinstance(record, dict):
        raise LearnatError(f"{path} is damaged, it holds a {type(record).__name__} and no object: {AGAIN}")
    return record
