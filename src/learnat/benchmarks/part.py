"""A benchmark of which only some questions of one split are asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from learnat.benchmarks.types import Benchmark, Database, Example


class Part(Benchmark):
    """``benchmark`` with the questions ``kept`` in place of all of ``split``; other splits stay as they are.

    ``fingerprint``, ``size`` and ``skipped`` are the whole split's: they tell of its files.
    """

    def __init__(self, benchmark: Benchmark, split: str, kept: Sequence[Example]) -> None:
        self.benchmark = benchmark
        self.split = split
        self.kept = tuple(kept)
        self.name = benchmark.name
        self.ex_mode = benchmark.ex_mode
        self.difficulties = benchmark.difficulties
        self.metrics = benchmark.metrics
        self.samples = benchmark.samples

    def examples(self, split: str) -> list[Example]:
        return list(self.kept) if split == self.split else self.benchmark.examples(split)

    def size(self, split: str) -> int:
        return self.benchmark.size(split)

    def skipped(self, split: str) -> int:
        return self.benchmark.skipped(split)

    def database(self, db_id: str) -> Database:
        return self.benchmark.database(db_id)

    def test_suite(self, db_id: str) -> tuple[Path, ...]:
        return self.benchmark.test_suite(db_id)

    def fingerprint(self, split: str) -> str:
        return self.benchmark.fingerprint(split)
