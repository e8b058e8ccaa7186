"""How much of what gold queries read is in a retrieved schema, and how much of the full schema that is.

    python experiments/calls/recall.py data=spider data.split=dev [data.samples=3 …]

All keys: conf/recall.yaml. Puts its rows into recall.csv in the folder of this file, in the place of those of the same
benchmark and split. Questions whose gold query names no column, or cannot be read, are left out and counted.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig

from learnat.benchmarks.types import Benchmark, Example
from learnat.errors import LearnatError
from learnat.inference.schema_filters import RetrievedSchema
from learnat.recipes.app import launch
from learnat.sql.mentions import mentioned_columns
from learnat.sql.parse import SqlParseError
from learnat.sql.schema import Schema

HERE = Path(__file__).parent
FILE_NAME = "recall.csv"
FIGURES = ("gold columns shown", "questions with all", "schema shown")
HEADER = ("benchmark", "split", "questions", "left out", "columns", *FIGURES)
Columns = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Asked:
    """A question, its database's schema, and the columns, of one at least, that its gold query reads."""

    example: Example
    schema: Schema
    gold: Columns


def recall(cfg: DictConfig) -> None:
    """Measure the recall of ``cfg``'s split at each of ``columns``, print it, and put it into recall.csv.

    Raises ``LearnatError`` for a split without a question to measure, and a recall.csv that is something else.
    """
    if not isinstance(cfg.columns, ListConfig) or not cfg.columns:
        raise LearnatError(f"columns={cfg.columns} must be a list of whole numbers: columns=[5,10].")
    filters = [RetrievedSchema(count) for count in cfg.columns]
    path = (HERE if cfg.out is None else Path(cfg.out)) / FILE_NAME
    recorded = read(path)
    benchmark: Benchmark = instantiate(cfg.data.benchmark)
    asked, left_out = questions(benchmark, cfg.data.split)
    subject = [benchmark.name, cfg.data.split]
    why = "gold names no column, or cannot be read"
    print(f"{len(asked)} questions of {' '.join(subject)}; {left_out} left out: {why}")
    rows = []
    for each in filters:
        figures = [f"{value:.3f}" for value in measured(asked, each)]
        print(f"{each.columns:3} columns: " + ", ".join(map(" ".join, zip(FIGURES, figures, strict=True))))
        rows.append([*subject, str(len(asked)), str(left_out), str(each.columns), *figures])
    write(path, [*(row for row in recorded if row[:2] != subject), *rows])


def questions(benchmark: Benchmark, split: str) -> tuple[list[Asked], int]:
    """The questions of ``split`` whose gold query reads a column, and how many others there are."""
    examples = benchmark.examples(split)
    asked = []
    for example in examples:
        schema = benchmark.database(example.db_id).schema
        try:
            read = mentioned_columns(example.gold_sql, schema)
        except SqlParseError:
            continue
        if gold := frozenset((table, column) for table, columns in read.items() for column in columns):
            asked.append(Asked(example, schema, gold))
    if not asked:
        raise LearnatError(f"No gold query of {split!r} names a column: there is nothing to measure.")
    return asked, len(examples) - len(asked)


def measured(asked: Sequence[Asked], schema_filter: RetrievedSchema) -> tuple[float, float, float]:
    """Means over questions: gold's columns shown, whether that is all of them, the schema's columns shown."""
    shown = [columns_of(schema_filter.part(each.example, each.schema)) for each in asked]
    found = [len(each.gold & part) / len(each.gold) for each, part in zip(asked, shown, strict=True)]
    share = [len(part) / len(columns_of(each.schema)) for each, part in zip(asked, shown, strict=True)]
    return fmean(found), fmean(value == 1 for value in found), fmean(share)


def columns_of(schema: Schema) -> Columns:
    return frozenset((table.name, column.name) for table in schema.tables for column in table.columns)


def read(path: Path) -> list[list[str]]:
    """The rows of ``path``, none where there is no such file. Raises ``LearnatError`` for another kind of file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    if header != [*HEADER]:
        raise LearnatError(f"{path} has other columns than {', '.join(HEADER)}: move it away, or give out=FOLDER.")
    return rows


def write(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Replace ``path`` whole. Raises ``LearnatError`` where it cannot be written."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([HEADER, *rows])
        os.replace(partial, path)
    except OSError as error:
        raise LearnatError(f"{path} cannot be written: {error.strerror}.") from error


if __name__ == "__main__":
    launch(recall, config_name="recall", config_dir=Path(__file__).parents[2] / "conf")
