"""BIRD (Li et al., 2023) in its official layout, and any benchmark laid out like it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from learnat.benchmarks.base import FileBenchmark
from learnat.benchmarks.column_descriptions import Descriptions, describe, read_descriptions
from learnat.benchmarks.types import Example
from learnat.errors import LearnatError

_MINI_DEV = {"mini_dev": "mini_dev_sqlite.json", "mini_dev_postgresql": "mini_dev_postgresql.json"}
_MINI_DEV_FOLDERS = ("mini_dev", "minidev/MINIDEV", "MINIDEV", "minidev")


class BirdBenchmark(FileBenchmark):
    """Reads a split ``<name>`` from ``<name>.json``, ``<name>/<name>.json`` or ``<name>_<date>/<name>.json``.

    ``dev``, ``train``, ``mini_dev`` (its SQLite wording) and ``mini_dev_postgresql`` are found where BIRD's downloads
    put them. Databases lie
    in ``<name>_databases`` or ``databases``, beside the question file or in the root, as ``<db_id>/<db_id>.sqlite``
    with ``<db_id>/database_description/<table>.csv``; schemas in ``<name>_tables.json`` or ``tables.json``. A
    database that no such file names has the schema of its SQLite file. Arguments and errors: ``FileBenchmark``.
    """

    name = "bird"
    ex_mode = "bird_set"
    difficulties: tuple[str, ...] = ("simple", "moderate", "challenging")
    metrics: tuple[str, ...] = ("ex", "soft_f1")
    layout = (
        "Get BIRD from bird-bench.github.io and unpack it so that the folder holds dev/ (or dev_20240627/) with "
        "dev.json, dev_tables.json and dev_databases/<db_id>/<db_id>.sqlite, and train/ with train.json, "
        "train_tables.json and train_databases/ (the databases are zip files inside the downloads); then name the "
        "folder with data.root=FOLDER, or its parent with the environment variable LEARNAT_DATA."
    )
    row_keys = ("db_id", "question", "SQL")
    not_splits: tuple[str, ...] = ("tables",)
    """JSON files, without their ending, that hold no questions."""

    def question_files(self, split: str) -> list[Path]:
        candidates = self._candidates(split)
        for path in candidates:
            if path.is_file():
                return [path]
        there = self._splits()
        found = (
            f"Splits that are there: {', '.join(there)} (data.split, data.train_split, data.eval_splits)."
            if there
            else "No other split is there."
        )
        raise LearnatError(
            f"{self.name}: there is no question file of split {split!r}; looked for "
            f"{', '.join(str(path.absolute()) for path in candidates)}. {found}\n{self.layout}"
        )

    def make_example(self, row: Mapping[str, Any], index: int, split: str) -> Example:
        return Example(
            index=index,
            example_id=f"{split}/{index}",
            split=split,
            db_id=str(row["db_id"]),
            question=str(row["question"]).strip(),
            evidence=str(row.get("evidence") or "").strip(),
            gold_sql=str(row["SQL"]),
            difficulty=str(row.get("difficulty") or ""),
        )

    def tables_files(self) -> list[Path]:
        return [
            path
            for home in self._homes
            for path in (*sorted(home.glob("*_tables.json")), home / "tables.json")
            if path.is_file()
        ]

    def database_files(self, db_id: str, split: str | None = None) -> list[Path]:
        return [folder / db_id / f"{db_id}.sqlite" for folder in self._database_folders(split)]

    def describe_column(self, db_id: str, table: str, column: str, human_name: str) -> str:
        if db_id not in self._descriptions:
            folders = [path.parent / "database_description" for path in self.database_files(db_id)]
            self._descriptions[db_id] = read_descriptions(next((f for f in folders if f.is_dir()), folders[0]))
        return describe(self._descriptions[db_id], table, column, human_name)

    @cached_property
    def _descriptions(self) -> dict[str, Descriptions]:
        return {}

    # Where things lie.

    @cached_property
    def _homes(self) -> list[Path]:
        """The folders that may hold question files, schemas and database folders; BIRD's own names come first."""
        children = sorted(path for path in self.root.iterdir() if path.is_dir())
        dated = [path for path in reversed(children) if _is_dated(path.name, "dev")]
        named = [self.root / "dev", *dated, self.root / "train", *(self.root / name for name in _MINI_DEV_FOLDERS)]
        return list(dict.fromkeys([self.root, *(path for path in named if path.is_dir()), *children]))

    def _candidates(self, split: str) -> list[Path]:
        if split in _MINI_DEV:
            return [self.root / folder / _MINI_DEV[split] for folder in _MINI_DEV_FOLDERS]
        dated = [home / f"{split}.json" for home in self._homes if _is_dated(home.name, split)]
        return [self.root / f"{split}.json", self.root / split / f"{split}.json", *dated]

    def _splits(self) -> list[str]:
        stems = {path.stem for home in self._homes for path in home.glob("*.json")} | {*_MINI_DEV}
        names = sorted(stem for stem in stems if stem not in self.not_splits and not stem.endswith("_tables"))
        found = [name for name in names if any(path.is_file() for path in self._candidates(name))]
        # A JSON file in the root is a split where databases lie beside it, and somebody's notes where none do.
        flat = (self.root / "databases").is_dir()
        return [name for name in found if flat or not (self.root / f"{name}.json").is_file()]

    @cached_property
    def _all_database_folders(self) -> list[Path]:
        names = [
            path
            for home in self._homes
            for path in (*sorted(home.glob("*_databases")), home / "databases")
            if path.is_dir()
        ]
        return names or [self.root / "dev" / "dev_databases"]

    def _database_folders(self, split: str | None) -> list[Path]:
        """Every database folder; that of ``split`` comes first, also when it is not there, for messages to name it."""
        everywhere = self._all_database_folders
        if split is None:
            return everywhere
        home = self.question_files(split)[0].parent
        own = "dev_databases" if split in _MINI_DEV else f"{split}_databases"
        places = [home / own, home / "databases", *(other / own for other in self._homes), self.root / "databases"]
        first = next((place for place in places if place.is_dir()), places[0])
        return [first, *(folder for folder in everywhere if folder != first)]


def _is_dated(folder: str, split: str) -> bool:
    """Whether ``folder`` is a dated release of ``split``: dev_20240627."""
    prefix, _, date = folder.rpartition("_")
    return prefix == split and date.isdigit()
