"""A benchmark of given questions over small databases."""

from __future__ import annotations

from pathlib import Path

from learnat.benchmarks.types import Database, Example
from learnat.sql.schema import Schema


class Folder:
    """A benchmark of given questions over ``<root>/<db_id>.sqlite``."""

    name = "toy"
    metrics = ("ex",)
    samples = 0

    def __init__(
        self,
        root: Path,
        examples: list[Example],
        ex_mode: str,
        difficulties: tuple[str, ...],
    ) -> None:
        self.root = root
        self.ex_mode = ex_mode
        self.difficulties = difficulties
        self._examples = examples

    def examples(self, split: str) -> list[Example]:
        return [example for example in self._examples if example.split == split]

    def size(self, split: str) -> int:
        return len(self.examples(split))

    def skipped(self, split: str) -> int:
        return 2

    def database(self, db_id: str) -> Database:
        path = self.root / f"{db_id}.sqlite"
        nested = self.root / db_id / f"{db_id}.sqlite"
        found = nested if nested.exists() else path if path.exists() else None
        return Database(db_id, found, Schema(()))

    def test_suite(self, db_id: str) -> tuple[Path, ...]:
        return tuple(sorted((self.root / "suite" / db_id).glob("*.sqlite")))

    def fingerprint(self, split: str) -> str:
        return "f00d"


GOLD = ["SELECT name FROM item", "SELECT name, id FROM item ORDER BY id", "SELECT count(*) FROM item"]


def question(index: int, sql: str, difficulty: str = "easy", db_id: str = "shop") -> Example:
    return Example(index, f"dev/{index}", "dev", db_id, "?", "", sql, difficulty)


def toy(shop: Path, ex_mode: str = "spider_bag") -> Folder:
    levels = ("easy", "hard", "easy")
    examples = [question(i, sql, level) for i, (sql, level) in enumerate(zip(GOLD, levels, strict=True))]
    return Folder(shop, examples, ex_mode, ("easy", "medium", "hard"))
