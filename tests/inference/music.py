"""A small benchmark with a real database, and an engine that answers from a script."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from learnat.benchmarks.types import Database, Example
from learnat.inference.engines.base import Completion, Decoding, Engine, Prompt, Request, Written
from learnat.sql.schema import Column, ForeignKey, Schema, Table
from learnat.training.prompts import PromptStyle

SCHEMA = Schema(
    (
        Table("singer", (Column("id", "INTEGER", primary_key=True), Column("name"), Column("country"), Column("age"))),
        Table("concert", (Column("id", "INTEGER", primary_key=True), Column("venue_id"), Column("year"))),
        Table("venue", (Column("id", "INTEGER", primary_key=True), Column("city"), Column("seats"))),
        Table("performs", (Column("singer_id"), Column("concert_id"), Column("fee"))),
    ),
    (
        ForeignKey("concert", "venue_id", "venue", "id"),
        ForeignKey("performs", "singer_id", "singer", "id"),
        ForeignKey("performs", "concert_id", "concert", "id"),
    ),
)
ROWS = [(1, "Zoe", "France", 31), (2, "Yann", "France", 52), (3, "Xaver", "Chile", 52)]


class Music:
    """Questions about one database, under one comparison mode."""

    name, difficulties, samples = "music", (), 0

    def __init__(self, folder: Path, questions: int = 3, ex_mode: str = "spider_bag", file: bool = True) -> None:
        self.ex_mode = ex_mode
        self._questions = questions
        self._path = folder / "music.sqlite" if file else None
        if self._path is not None and not self._path.exists():
            with sqlite3.connect(self._path) as connection:
                for table in SCHEMA.tables:
                    columns = ", ".join(f"{column.name} {column.type}" for column in table.columns)
                    connection.execute(f"CREATE TABLE {table.name} ({columns})")
                connection.executemany("INSERT INTO singer VALUES (?, ?, ?, ?)", ROWS)

    def size(self, split: str) -> int:
        return len(self.examples(split))

    def skipped(self, split: str) -> int:
        return 0

    def fingerprint(self, split: str) -> str:
        return "data"

    def examples(self, split: str) -> list[Example]:
        gold = "SELECT name FROM singer WHERE age > 40"
        return [
            Example(i, f"{split}/{i}", split, "music", f"Question {i}: which singers are older than 40?", "", gold)
            for i in range(4, 4 + self._questions)
        ]

    def database(self, db_id: str) -> Database:
        return Database(db_id, self._path, SCHEMA)


class Scripted(Engine):
    """Stands for a model: writes what ``answer`` says to a chat and a sample, and keeps what it was asked."""

    name, style = "scripted", PromptStyle()

    def __init__(self, answer: Callable[[Prompt, int], str], identity: str = "scripted") -> None:
        self.identity = identity
        self.asked: list[tuple[Prompt, int]] = []
        self._answer = answer
        self.sessions = 0

    @contextmanager
    def session(self) -> Iterator[None]:
        self.sessions += 1
        yield

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Written]:
        for position in reversed(range(len(requests))):
            prompt = requests[position].prompt
            for sample in requests[position].samples:
                self.asked.append((prompt, sample))
                yield Written(position, sample, Completion(self._answer(prompt, sample), 10, 5, True))

    def close(self) -> None:
        pass
