"""Exact match as a metric over a split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from learnat.benchmarks.sqlite_schema import read_schema
from learnat.benchmarks.types import Database
from learnat.evaluation.exact_match.compare import comparable, matches
from learnat.evaluation.exact_match.foreign_keys import representatives
from learnat.evaluation.exact_match.parser import Columns, parse
from learnat.evaluation.exact_match.parts import Query, Unreadable
from learnat.evaluation.metric import LEARNAT, Measured
from learnat.evaluation.run import ScoringRun
from learnat.sql.results import plug_placeholder
from learnat.sql.schema import Schema


@dataclass(frozen=True)
class _Names:
    """What of a database exact match needs: its columns, and which of them are the same."""

    columns: Columns
    same_as: Mapping[str, str]


class ExactMatch:
    """EM: the share of predictions that equal gold clause by clause, values aside.

    A question whose *gold* query is outside Spider's subset has no value: the official evaluator stops there.
    """

    name = "em"
    title = "EM"
    evaluator = f"{LEARNAT}, exact match of test-suite-sql-eval's evaluation.py"
    is_share = True

    def measure(self, run: ScoringRun) -> Measured:
        names = {db_id: _names(run.benchmark.database(db_id)) for db_id in {e.db_id for e in run.examples}}
        values = tuple(
            _value(run.predictions[example.index], example.gold_sql, names[example.db_id]) for example in run.examples
        )
        return Measured(
            values=values,
            comparison="clauses without values",
            database_hash=run.benchmark.fingerprint(run.split),
            gold_failed=sum(value is None for value in values),
            executes="nothing",
        )


def _names(database: Database) -> _Names:
    # The official evaluator takes tables and columns from the file, foreign keys from tables.json.
    schema: Schema = database.schema if database.path is None else read_schema(database.path)
    columns = {table.name.lower(): {column.name.lower() for column in table.columns} for table in schema.tables}
    return _Names(columns, representatives(database.schema))


def _value(predicted: str, gold: str, names: _Names) -> float | None:
    try:
        wanted = _read(gold, names)
    except Unreadable:
        return None
    try:
        found = _read(plug_placeholder(predicted, gold), names)
    except Unreadable:
        return 0.0
    return float(matches(found, wanted))


def _read(sql: str, names: _Names) -> Query:
    return comparable(parse(sql, names.columns), names.same_as)
