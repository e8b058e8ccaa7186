"""How much of what gold queries read is in a retrieved schema, and how much of the full schema that is.

    python experiments/calls/recall.py data=spider data.split=dev [data.samples=3 …]

Takes evaluate.py's keys. Adds its rows to recall.csv in the folder of this file.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from statistics import mean

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from learnat.benchmarks.types import Benchmark
from learnat.errors import LearnatError
from learnat.inference.schema_filters import RetrievedSchema
from learnat.sql.mentions import mentioned_columns
from learnat.sql.parse import SqlParseError
from learnat.sql.schema import Schema

HERE = Path(__file__).parent
COLUMNS = (5, 10, 20, 40)
HEADER = ["benchmark", "split", "questions", "columns", "gold columns shown", "questions with all", "schema shown"]


def columns_of(schema: Schema) -> set[tuple[str, str]]:
    return {(table.name, column.name) for table in schema.tables for column in table.columns}


def main(arguments: list[str]) -> None:
    with initialize_config_dir(str(HERE.parents[1] / "conf"), version_base="1.3"):
        cfg = compose("evaluate", arguments)
    benchmark: Benchmark = instantiate(cfg.data.benchmark)
    asked = []
    for example in benchmark.examples(cfg.data.split):
        schema = benchmark.database(example.db_id).schema
        try:
            read = mentioned_columns(example.gold_sql, schema)
        except SqlParseError:
            continue
        gold = {(table, column) for table, columns in read.items() for column in columns}
        if gold:
            asked.append((example, schema, gold))
    with (HERE / "recall.csv").open("a", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        if not file.tell():
            rows.writerow(HEADER)
        for count in COLUMNS:
            shown = [columns_of(RetrievedSchema(count).part(example, schema)) for example, schema, _ in asked]
            found = [len(gold & part) / len(gold) for (_, _, gold), part in zip(asked, shown, strict=True)]
            share = [len(part) / len(columns_of(schema)) for (_, schema, _), part in zip(asked, shown, strict=True)]
            whole = mean(value == 1 for value in found)
            figures = [f"{value:.3f}" for value in (mean(found), whole, mean(share))]
            rows.writerow([benchmark.name, cfg.data.split, len(asked), count, *figures])


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except LearnatError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
