"""What the readers of Spider and BIRD share: which questions are kept, and how a database is found and described."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learnat.benchmarks.files import fingerprint, read_rows
from learnat.benchmarks.sqlite_schema import read_schema
from learnat.benchmarks.tables_json import build_schema, describe_columns, letters, read_entries
from learnat.benchmarks.types import Database, Example
from learnat.errors import LearnatError, nearest
from learnat.sql.execution import check_sqlite
from learnat.sql.schema import Schema

_MISSING = ("error", "skip", "schema")


@dataclass(frozen=True)
class _Selection:
    """What of a split is kept."""

    examples: tuple[Example, ...]
    skipped: int
    size: int
    """Of the whole split."""


class FileBenchmark(ABC):
    """A benchmark in a folder; parses its files when they are first asked for, and keeps what it read in memory.

    Args:
        root: the benchmark's folder.
        databases: keep the questions about these databases only; None keeps all.
        limit: keep the first ``limit`` questions of a split; None keeps all.
        missing: what to do about a question whose database file is missing: ``error``, ``skip`` (and count), or
            ``schema``: keep it, with what tables.json says of its database; nothing can be executed then.
            Only questions that would be kept matter: what comes after the first ``limit`` is not looked at.
        samples: how many sample values a column's schema carries.

    Raises:
        LearnatError: the folder is missing, or an argument is not as described.
    """

    name: str
    ex_mode: str
    difficulties: tuple[str, ...]
    metrics: tuple[str, ...] = ("ex",)
    layout: str
    """Where the benchmark is to be had and how its folder looks, as error messages say it."""
    row_keys: tuple[str, ...]
    """What every row of a question file must have."""

    def __init__(
        self,
        root: str | Path,
        *,
        databases: Iterable[str] | str | None = None,
        limit: int | None = None,
        missing: str = "error",
        samples: int = 3,
    ) -> None:
        self.root = Path(root)
        self.databases = _names(databases)
        self.limit = limit
        self.missing = missing
        self.samples = samples
        if missing not in _MISSING:
            raise LearnatError(f"data.missing={missing!r} is not known. {nearest(str(missing), _MISSING)}")
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise LearnatError(f"data.limit={limit!r} must be a whole number above 0, or null for all questions.")
        if not isinstance(samples, int) or samples < 0:
            raise LearnatError(f"data.samples={samples!r} must be a whole number, 0 for none.")
        if not self.root.is_dir():
            raise LearnatError(f"{self.name}: there is no folder {self.root.absolute()} (data.root).\n{self.layout}")
        self._selections: dict[str, _Selection] = {}
        self._databases: dict[str, Database] = {}
        self._entries: dict[Path, dict[str, dict[str, Any]]] = {}
        self._fingerprints: dict[str, str] = {}

    # What a layout decides.

    @abstractmethod
    def question_files(self, split: str) -> list[Path]:
        """The files whose rows, one after the other, are ``split``.

        Raises:
            LearnatError: there is no such split; the message lists those there are.
        """

    @abstractmethod
    def make_example(self, row: Mapping[str, Any], index: int, split: str) -> Example: ...

    @abstractmethod
    def tables_files(self) -> list[Path]:
        """The tables.json files that exist; where two know a database, the first counts."""

    @abstractmethod
    def database_files(self, db_id: str, split: str | None = None) -> list[Path]:
        """Where the SQLite file of ``db_id`` may lie, the most usual place (of ``split``) first; never empty."""

    def variant_files(self, db_id: str) -> list[Path]:
        """Further SQLite files of the same schema, by name; the database itself may be among them."""
        return []

    def describe_column(self, db_id: str, table: str, column: str, human_name: str) -> str:
        """The description of a column, given its name in words from tables.json (``""`` where there is none).

        By default that name, where it says more than the column's own name does.
        """
        return "" if letters(human_name) == letters(column) else " ".join(human_name.split())

    # The Benchmark protocol.

    def examples(self, split: str) -> list[Example]:
        """The questions of ``split`` after ``databases``, ``missing`` and ``limit`` were applied, in that order.

        Raises:
            LearnatError: an unknown split, a file that is missing or broken, a missing database under
                ``missing=error``, a database file that is not SQLite, or nothing left of the split.
        """
        return list(self._select(split).examples)

    def size(self, split: str) -> int:
        """How many questions ``split`` has, whichever of them are kept."""
        return self._select(split).size

    def skipped(self, split: str) -> int:
        """How many questions were passed over because their database file is missing (up to ``limit`` kept ones)."""
        return self._select(split).skipped

    def database(self, db_id: str) -> Database:
        """The database with its schema; ``path`` is None where the file is missing.

        Raises:
            LearnatError: no tables.json and no file knows ``db_id``, or its file is not a sound SQLite database.
        """
        if db_id not in self._databases:
            path = self._database_file(db_id)
            variants = tuple(file for file in self.variant_files(db_id) if path is None or file.name != path.name)
            self._databases[db_id] = Database(db_id, path, self._read_schema(db_id, path), variants)
        return self._databases[db_id]

    def test_suite(self, db_id: str) -> tuple[Path, ...]:
        """All files of the database's test suite, the plain database's copy there included."""
        return tuple(self.variant_files(db_id))

    def fingerprint(self, split: str) -> str:
        """A short hash of the split's question files, the tables.json files and the databases its questions name.

        The databases are those of the questions kept, so it changes with ``databases``, ``missing`` and ``limit``
        where they change which databases are read. How files above 64 MiB are hashed: ``files.fingerprint``.
        """
        if split not in self._fingerprints:
            paths = [*self.question_files(split), *self.tables_files()]
            for db_id in {example.db_id for example in self.examples(split)}:
                path = self._database_file(db_id)
                paths += [path] if path is not None else []
            self._fingerprints[split] = fingerprint(paths)
        return self._fingerprints[split]

    # How a split is read.

    def _select(self, split: str) -> _Selection:
        if split not in self._selections:
            self._selections[split] = self._read_split(split)
        return self._selections[split]

    def _read_split(self, split: str) -> _Selection:
        files = self.question_files(split)
        rows = [row for file in files for row in read_rows(file, self.row_keys)]
        wanted = [(index, row) for index, row in enumerate(rows) if self._is_wanted(str(row["db_id"]))]
        known = {str(row["db_id"]) for row in rows}
        self._refuse_unknown_databases(known)
        if not wanted:
            self._refuse_empty(split, files, known)
        present: dict[str, bool] = {}
        kept: list[Example] = []
        skipped = 0
        for index, row in wanted:
            if len(kept) == self.limit:
                break
            db_id = str(row["db_id"])
            if db_id not in present:
                present[db_id] = self._is_present(db_id, split)
            if not present[db_id] and self.missing != "schema":
                if self.missing == "error":
                    raise LearnatError(self._missing_message(split, index, db_id, [row for _, row in wanted]))
                skipped += 1
                continue
            kept.append(self.make_example(row, index, split))
        if not kept:
            where = self.database_files(str(wanted[0][1]["db_id"]), split)[0]
            raise LearnatError(
                f"{self.name}: nothing is left of split {split!r}: all {skipped} questions were skipped because their "
                f"database files are missing (looked for {where.absolute()}, for one).\n{self.layout}"
            )
        return _Selection(tuple(kept), skipped, len(rows))

    def _is_wanted(self, db_id: str) -> bool:
        return self.databases is None or db_id in self.databases

    def _is_present(self, db_id: str, split: str) -> bool:
        path = self._database_file(db_id, split)
        if path is None:
            return False
        check_sqlite(path)
        return True

    def _refuse_unknown_databases(self, known: set[str]) -> None:
        for name in self.databases or ():
            if name in known or self._database_file(name) is not None:
                continue
            in_tables = {db_id for source in self.tables_files() for db_id in self._tables(source)}
            if name not in in_tables:
                raise LearnatError(
                    f"{self.name} has no database {name!r} (data.databases). {nearest(name, known | in_tables)}"
                )

    def _refuse_empty(self, split: str, files: Sequence[Path], known: set[str]) -> None:
        where = ", ".join(str(file.absolute()) for file in files)
        if self.databases is None:
            raise LearnatError(f"{self.name}: split {split!r} has no questions ({where}).")
        raise LearnatError(
            f"{self.name}: no question of split {split!r} is about data.databases=[{','.join(self.databases)}]; "
            f"{where} is about {_listed(known)}."
        )

    def _missing_message(self, split: str, index: int, db_id: str, rows: Sequence[Mapping[str, Any]]) -> str:
        counts: dict[str, int] = {}
        for row in rows:
            counts[str(row["db_id"])] = counts.get(str(row["db_id"]), 0) + 1
        present = [name for name in counts if self._database_file(name, split) is not None]
        absent = [name for name in counts if name not in present]
        questions = sum(counts[name] for name in absent)
        choice = f"data.databases=[{','.join(present[:3])}]" + (" and the like" if len(present) > 3 else "")
        return (
            f"{self.name}: question {index} of split {split!r} needs the database {db_id!r}, and there is no file "
            f"{self.database_files(db_id, split)[0].absolute()}.\n"
            f"In all, {questions} of the {len(rows)} questions are about {len(absent)} of {len(counts)} databases "
            f"whose file is missing. Put the files there, or leave such questions out with data.missing=skip "
            "(they are counted beside every score), or, where nothing need be executed, as in a synthesis from schemas "
            "alone, go on without the files with data.missing=schema"
            + (f", or choose databases that are there: {choice}." if present else f".\n{self.layout}")
        )

    # How a database is read.

    def _tables(self, source: Path) -> dict[str, dict[str, Any]]:
        if source not in self._entries:
            self._entries[source] = read_entries(source)
        return self._entries[source]

    def _database_file(self, db_id: str, split: str | None = None) -> Path | None:
        return next((path for path in self.database_files(db_id, split) if path.is_file()), None)

    def _read_schema(self, db_id: str, path: Path | None) -> Schema:
        def describe(table: str, column: str, human_name: str) -> str:
            return self.describe_column(db_id, table, column, human_name)

        from_file = read_schema(path, self.samples) if path is not None else None
        for source in self.tables_files():
            if db_id in self._tables(source):
                return build_schema(self._tables(source)[db_id], from_file, describe, source)
        if from_file is not None:
            return describe_columns(from_file, describe)
        known = [name for source in self.tables_files() for name in self._tables(source)]
        raise LearnatError(
            f"{self.name} has no database {db_id!r}: no tables.json names it and there is no file "
            f"{self.database_files(db_id)[0].absolute()}. {nearest(db_id, known) if known else self.layout}"
        )


def _names(databases: Iterable[str] | str | None) -> tuple[str, ...] | None:
    if databases is None:
        return None
    return (databases,) if isinstance(databases, str) else tuple(str(name) for name in databases)


def _listed(names: Iterable[str], most: int = 20) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:most]) + (f" and {len(ordered) - most} more" if len(ordered) > most else "")
