"""Spider 1.0 (Yu et al., 2018) in its official layout."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from learnat.benchmarks.base import FileBenchmark
from learnat.benchmarks.types import Example
from learnat.errors import LearnatError, nearest
from learnat.sql.hardness import spider_hardness

_log = logging.getLogger(__name__)

# The official training split is the two files one after the other: 7,000 + 1,659 questions.
_SPLITS = {
    "dev": ("dev.json",),
    "train": ("train_spider.json", "train_others.json"),
    "train_spider": ("train_spider.json",),
    "train_others": ("train_others.json",),
    "test": ("test.json",),
}


class SpiderBenchmark(FileBenchmark):
    """Reads ``dev``, ``train`` (train_spider.json, then train_others.json), either alone, and ``test``.

    ``Example.difficulty`` is Spider's hardness (easy, medium, hard, extra) of the gold SQL.

    Args:
        test_suite: folder of the test-suite databases, ``<db_id>/*.sqlite``; given, test-suite accuracy is measured
            unless told otherwise. None takes ``test_suite_database`` in the root, where it is there.
        options: ``FileBenchmark``.

    Raises:
        LearnatError: ``test_suite`` is no folder; and as ``FileBenchmark``.
    """

    name = "spider"
    ex_mode = "spider_bag"
    difficulties: tuple[str, ...] = ("easy", "medium", "hard", "extra")
    layout = (
        "Get Spider from yale-lily.github.io/spider and unpack it so that the folder holds tables.json, dev.json, "
        "train_spider.json, train_others.json and database/<db_id>/<db_id>.sqlite; then name the folder with "
        "data.root=FOLDER, or its parent with the environment variable LEARNAT_DATA."
    )
    row_keys = ("db_id", "question", "query")
    metrics: tuple[str, ...] = ("ex", "em")

    def __init__(self, root: str | Path, *, test_suite: str | Path | None = None, **options: Any) -> None:
        super().__init__(root, **options)
        self.test_suite_folder = self.root / "test_suite_database" if test_suite is None else Path(test_suite)
        if test_suite is not None:
            self.metrics = ("ex", "em", "ts")
            if not self.test_suite_folder.is_dir():
                raise LearnatError(
                    f"spider: there is no folder {self.test_suite_folder.absolute()} (data.test_suite). Get the "
                    "test-suite databases from github.com/taoyds/test-suite-sql-eval and name the folder that holds "
                    "<db_id>/*.sqlite."
                )

    def question_files(self, split: str) -> list[Path]:
        if split not in _SPLITS:
            raise LearnatError(f"spider has no split {split!r}. {nearest(split, _SPLITS)}")
        files = [self.root / name for name in _SPLITS[split]]
        found = [file for file in files if file.is_file()]
        if not found or files[0] not in found:
            there = [name for name, parts in _SPLITS.items() if (self.root / parts[0]).is_file()]
            raise LearnatError(
                f"spider: the question file of split {split!r} is missing: {files[0].absolute()}. "
                f"Splits that are there: {', '.join(there) or 'none'} (data.split, data.train_split).\n{self.layout}"
            )
        for file in files:
            # Copies of Spider often come without train_others.json: usable, but not the official 8,659 questions.
            if file not in found and file not in self._told:
                self._told.add(file)
                _log.warning("spider: %s is missing: split %r is read without it", file.absolute(), split)
        return found

    @cached_property
    def _told(self) -> set[Path]:
        return set()

    def make_example(self, row: Mapping[str, Any], index: int, split: str) -> Example:
        sql = str(row["query"])
        return Example(
            index=index,
            example_id=f"{split}/{index}",
            split=split,
            db_id=str(row["db_id"]),
            question=str(row["question"]).strip(),
            evidence="",
            gold_sql=sql,
            difficulty=spider_hardness(sql),
        )

    def tables_files(self) -> list[Path]:
        files = [self.root / "tables.json", self.root / "test_tables.json"]
        if not files[0].is_file():
            raise LearnatError(f"spider: the schema file is missing: {files[0].absolute()}.\n{self.layout}")
        return [file for file in files if file.is_file()]

    def database_files(self, db_id: str, split: str | None = None) -> list[Path]:
        # The databases of the test split, released later, come in a folder of their own.
        folders = ["database", "test_database"] if split != "test" else ["test_database", "database"]
        return [self.root / folder / db_id / f"{db_id}.sqlite" for folder in folders]

    def variant_files(self, db_id: str) -> list[Path]:
        # The databases of the test suite (Zhong et al., 2020).
        return sorted((self.test_suite_folder / db_id).glob("*.sqlite"))
