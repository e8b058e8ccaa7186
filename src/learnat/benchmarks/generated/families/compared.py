"""Subqueries that yield one value: an average, an extreme, the value of a row that the question names."""

from __future__ import annotations

from learnat.benchmarks.generated.families.common import AGGREGATES, Composer, Draft
from learnat.benchmarks.generated.families.heads import asked_of
from learnat.benchmarks.generated.filters import equals, literal
from learnat.benchmarks.generated.model import GenColumn, GenTable
from learnat.benchmarks.generated.scope import Scope, Where
from learnat.benchmarks.generated.words import with_article

_SIDES = ((">", "above"), (">", "higher than"), (">", "greater than"), ("<", "below"), ("<", "lower than"))


def _columns(c: Composer, *kinds: str) -> list[tuple[GenTable, GenColumn]]:
    return [(table, column) for table in c.db.tables for column in table.of_kind(*kinds)]


def _whole(c: Composer, table: GenTable, part: Where) -> str:
    return c.say.rows(Scope(table), part) if part.filters else f"all {c.say.noun(table)}"


def versus_average(c: Composer) -> Draft | None:
    """Rows above or below an average over the table, or over a part of it."""
    choices = _columns(c, "number")
    if not choices:
        return None
    table, column = c.rng.choice(choices)
    outer = c.maybe_filter(0.3, table, column)
    inner = c.maybe_filter(0.35, table, column)
    of, mean, whole = c.say.phrase(column), c.rng.choice(AGGREGATES["AVG"]), _whole(c, table, inner)
    operator, than = c.rng.choice(_SIDES)
    clause = c.words(
        f"with {of} {than} the {mean} {of} of {whole}",
        f"with {of} {than} the {mean} of {whole}",
        f"having {of} {than} the {mean} {of} of {whole}",
        f"for which the {of} is {than} the {mean} of {whole}",
    )
    condition = f"{column.name} {operator} (SELECT AVG({column.name}) FROM {table.name}{inner.sql(Scope(table))})"
    return asked_of(c, table, outer, clause, condition, inner.evidence)


def equals_extreme(c: Composer) -> Draft | None:
    """Rows that hold the highest or lowest value, however many share it."""
    choices = _columns(c, "number", "year", "date", "code")
    if not choices:
        return None
    table, column = c.rng.choice(choices)
    inner = c.maybe_filter(0.4, table, column)
    function = c.rng.choice(("MAX", "MIN"))
    if column.kind in ("year", "date"):
        most = c.rng.choice(("latest", "most recent") if function == "MAX" else ("earliest", "oldest"))
    else:
        most = c.rng.choice(AGGREGATES[function])
    of, whole = c.say.phrase(column), _whole(c, table, inner)
    clause = c.words(
        f"whose {of} equals the {most} {of} of {whole}",
        f"with {of} equal to the {most} {of} among {whole}",
        f"with the same {of} as the {most} among {whole}",
        f"whose {of} is the {most} found for {whole}",
    )
    condition = f"{column.name} = (SELECT {function}({column.name}) FROM {table.name}{inner.sql(Scope(table))})"
    return asked_of(c, table, Where(), clause, condition, inner.evidence)


def versus_own_group(c: Composer) -> Draft | None:
    """Rows above the average of the rows that share a value with them: a correlated self-join."""
    choices = [
        (table, column, group)
        for table, column in _columns(c, "number")
        for group in table.of_kind("category", "code")
        if not group.has_nulls and len(group.distinct) < table.size / 3
    ]
    if not choices:
        return None
    table, column, group = c.rng.choice(choices)
    of, by, mean = c.say.phrase(column), c.say.phrase(group), c.rng.choice(AGGREGATES["AVG"])
    operator, than = c.rng.choice(_SIDES)
    clause = c.words(
        f"with {of} {than} the {mean} {of} of the same {by}",
        f"with {of} {than} the {mean} of {c.say.noun(table)} with the same {by}",
        f"whose {of} is {than} the {mean} for its {by}",
        f"having {of} {than} the {mean} within the {by}",
    )
    inner = f"SELECT AVG(t2.{column.name}) FROM {table.name} AS t2 WHERE t2.{group.name} = t1.{group.name}"
    return asked_of(c, table, Where(), clause, f"t1.{column.name} {operator} ({inner})", alias="t1")


def versus_named_row(c: Composer) -> Draft | None:
    """Rows compared with one row that the question names."""
    tables = [table for table in c.db.tables if table.label is not None]
    if not tables:
        return None
    table = c.rng.choice(tables)
    label = table.label
    assert label is not None
    row = c.rng.randrange(table.size)
    same = c.chance(0.5)
    kinds = ("category", "code") if same else ("number", "year", "date")
    columns = [column for column in table.of_kind(*kinds) if column.values[row] is not None]
    if not columns:
        return None
    column, name = c.rng.choice(columns), label.values[row]
    of, noun = c.say.phrase(column), c.say.noun(table, one=True)
    value = f"(SELECT {column.name} FROM {table.name} WHERE {equals(label, name).sql(label.name)})"
    if same:
        clause = c.words(
            f"other than {name} with the same {of} as the {noun} {name}",
            f"other than {name} sharing the {of} of the {noun} {name}",
            f"other than {name} whose {of} is the same as for {name}",
            f"other than {name} having the {of} of the {noun} {name}",
        )
        condition = f"{column.name} = {value} AND {label.name} != {literal(name)}"
        return asked_of(c, table, Where(), clause, condition)
    up = c.chance(0.5)
    if column.kind in ("year", "date"):
        than = c.rng.choice(("later", "more recent") if up else ("earlier",))
    else:
        than = c.rng.choice(("higher", "greater") if up else ("lower", "smaller"))
    clause = c.words(
        f"with {with_article(than)} {of} than the {noun} {name}",
        f"whose {of} is {than} than that of {name}",
        f"where the {of} is {than} than for the {noun} {name}",
        f"with {of} {than} than that of the {noun} {name}",
    )
    return asked_of(c, table, Where(), clause, f"{column.name} {'>' if up else '<'} {value}")
