"""What a benchmark is made of: questions with gold SQL, and databases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from learnat.sql.schema import Schema


@dataclass(frozen=True)
class Example:
    """One question with its gold SQL.

    ``index`` is the 0-based position in the split's official file (it survives ``data.limit`` and
    ``data.databases``), ``example_id`` is unique over the whole benchmark (``"dev/17"``).
    ``difficulty`` is the benchmark's own level (``easy … extra`` or ``simple … challenging``), or ``""``.
    """

    index: int
    example_id: str
    split: str
    db_id: str
    question: str
    evidence: str
    gold_sql: str
    difficulty: str = ""


@dataclass(frozen=True)
class Database:
    """``path`` is None where only the schema is at hand: its questions cannot be executed.

    ``variants`` are further databases of the same schema with other rows (Spider's test suite): queries that differ
    in meaning differ in their results on one of them.
    """

    db_id: str
    path: Path | None
    schema: Schema
    variants: tuple[Path, ...] = ()


class Benchmark(Protocol):
    """A source of questions and databases. Readers raise ``LearnatError`` for whatever a user can mend."""

    name: str
    ex_mode: str
    """How execution accuracy compares results: ``bird_set``, ``spider_bag`` or ``ordered``."""
    difficulties: tuple[str, ...]
    """The levels in the order tables show them."""
    metrics: tuple[str, ...]
    """What evaluate.py measures unless told otherwise, by the names of ``evaluation.registry``."""
    samples: int
    """How many sample values a column's schema carries, at most."""

    def examples(self, split: str) -> list[Example]:
        """The questions of ``split`` after ``databases``, ``missing`` and ``limit`` were applied, in that order."""
        ...

    def size(self, split: str) -> int:
        """How many questions ``split`` has, before ``databases``, ``missing`` and ``limit`` are applied."""
        ...

    def skipped(self, split: str) -> int:
        """How many questions of ``split`` were left out because their database file is missing."""
        ...

    def database(self, db_id: str) -> Database: ...

    def test_suite(self, db_id: str) -> tuple[Path, ...]:
        """All files of the database's test suite; none where it has no test suite."""
        ...

    def fingerprint(self, split: str) -> str:
        """A short hash of the split's question file and of the databases it names."""
        ...
