"""Questions whose SQL holds a subquery: comparisons with an aggregate, membership, existence, correlated blocks."""

from __future__ import annotations

from dataclasses import dataclass

from learnat.benchmarks.generated.families.common import Composer, Draft
from learnat.benchmarks.generated.families.plain import AGGREGATES, block
from learnat.benchmarks.generated.filters import Filter, draw_filter, equals, literal
from learnat.benchmarks.generated.model import GenColumn, GenTable
from learnat.benchmarks.generated.scope import Scope, Where
from learnat.benchmarks.generated.words import number_word, plural


def _head(c: Composer, table: GenTable, rows: str, one: str, clause: str) -> tuple[str, str] | None:
    """What is asked about the rows of ``table`` that meet ``clause``: (select list, question)."""
    if c.chance(0.22):
        question = c.words(
            f"How many {rows} are there {clause}?",
            f"Count the {rows} {clause}.",
            f"What is the number of {rows} {clause}?",
            f"Give the count of {rows} {clause}.",
        )
        return "COUNT(*)", question
    shown = c.shown(table)
    if shown is None:
        return None
    asked = c.say.phrase(shown)
    question = c.words(
        f"List the {asked} of all {rows} {clause}.",
        f"What are the {plural(asked)} of the {rows} {clause}?",
        f"Show the {asked} of every {one} {clause}.",
        f"Find the {plural(asked)} of {rows} {clause}.",
        f"Give the {asked} of each {one} {clause}.",
    )
    return shown.name, question


def _one_filter(c: Composer, table: GenTable, *avoid: GenColumn) -> Where | None:
    item = draw_filter(table, c.rng, avoid=frozenset(column.name for column in avoid))
    return None if item is None else Where((item,))


def _measured(c: Composer) -> tuple[GenTable, GenColumn] | None:
    choices = [(table, column) for table in c.db.tables for column in table.of_kind("number")]
    return c.rng.choice(choices) if choices else None


def versus_average(c: Composer) -> Draft | None:
    """Rows above or below an average over the table, or over a part of it."""
    drawn = _measured(c)
    if drawn is None:
        return None
    table, column = drawn
    scope = Scope(table)
    outer = (_one_filter(c, table, column) if c.chance(0.3) else Where()) or Where()
    inner = (_one_filter(c, table, column) if c.chance(0.35) else Where()) or Where()
    of = c.say.phrase(column)
    operator, than = c.rng.choice(
        ((">", "above"), (">", "higher than"), (">", "greater than"), ("<", "below"), ("<", "lower than"))
    )
    mean = c.rng.choice(AGGREGATES["AVG"])
    whole = c.say.rows(scope, inner) if inner.filters else f"all {c.say.noun(table)}"
    clause = c.words(
        f"with {of} {than} the {mean} {of} of {whole}",
        f"with {of} {than} the {mean} of {whole}",
        f"having {of} {than} the {mean} {of} of {whole}",
        f"for which the {of} is {than} the {mean} of {whole}",
    )
    return _compare(
        c,
        scope,
        column,
        outer,
        f"{operator} (SELECT AVG({column.name}) FROM {table.name}{inner.sql(scope)})",
        clause,
        (*outer.evidence, *inner.evidence),
    )


def equals_extreme(c: Composer) -> Draft | None:
    """Rows that hold the highest or lowest value, however many share it."""
    choices = [(table, column) for table in c.db.tables for column in table.of_kind("number", "year", "date", "code")]
    if not choices:
        return None
    table, column = c.rng.choice(choices)
    scope = Scope(table)
    inner = (_one_filter(c, table, column) if c.chance(0.4) else Where()) or Where()
    of = c.say.phrase(column)
    function = c.rng.choice(("MAX", "MIN"))
    if column.kind in ("year", "date"):
        most = c.rng.choice(("latest", "most recent") if function == "MAX" else ("earliest", "oldest"))
    else:
        most = c.rng.choice(AGGREGATES[function])
    whole = c.say.rows(scope, inner) if inner.filters else f"all {c.say.noun(table)}"
    clause = c.words(
        f"whose {of} equals the {most} {of} of {whole}",
        f"with {of} equal to the {most} {of} among {whole}",
        f"having the same {of} as the {most} among {whole}",
        f"that match the {most} {of} found for {whole}",
    )
    condition = f"= (SELECT {function}({column.name}) FROM {table.name}{inner.sql(scope)})"
    return _compare(c, scope, column, Where(), condition, clause, inner.evidence)


def _compare(
    c: Composer, scope: Scope, column: GenColumn, outer: Where, condition: str, clause: str, evidence: tuple[str, ...]
) -> Draft | None:
    if outer.filters and not outer.filters[0].adjective:
        group = c.say.rows(scope, outer)
        head = _head(c, scope.root, "those", "one", clause)
        if head is None:
            return None
        select, question = head
        question = f"Among {group}: {question[0].lower()}{question[1:]}".replace("all those", "those")
    else:
        head = _head(c, scope.root, c.say.rows(scope, outer), c.say.rows(scope, outer, one=True), clause)
        if head is None:
            return None
        select, question = head
    where = outer.sql(scope) + (" AND " if outer.filters else " WHERE ")
    sql = f"SELECT {select} FROM {scope.root.name}{where}{column.name} {condition}"
    return Draft(sql, question, "; ".join(dict.fromkeys(evidence)), fewer_than=scope.root.size)


@dataclass(frozen=True)
class _Relation:
    """Rows of ``table`` that stand in a relation: ``keys`` is the subquery that lists them, ``words`` the clause."""

    table: GenTable
    keys: str
    words: str
    rows: str
    one: str
    evidence: tuple[str, ...]
    person: str


def _relation(c: Composer, *, must_filter: bool) -> _Relation | None:
    links = c.db.links
    if links and c.chance(0.4):
        link = c.rng.choice(links)
        scope = Scope(link.left.child, (link.right,))
        where = _one_filter(c, link.right.parent)
        if where is None:
            return None
        shown = Scope(link.right.parent)
        return _Relation(
            link.left.parent,
            block(scope.reference(link.left.column), scope, where),
            link.words,
            c.say.rows(shown, where),
            c.say.rows(shown, where, one=True),
            where.evidence,
            link.words,
        )
    edges = [edge for edge in c.db.edges if edge.child.readable]
    if not edges:
        return None
    edge = c.rng.choice(edges)
    scope = Scope(edge.child)
    where = Where()
    if must_filter or c.chance(0.75):
        drawn = _one_filter(c, edge.child)
        if drawn is None:
            return None
        where = drawn
    return _Relation(
        edge.parent,
        block(edge.column.name, scope, where),
        edge.up,
        c.say.rows(scope, where),
        c.say.rows(scope, where, one=True),
        where.evidence,
        edge.up,
    )


def _outer(c: Composer, table: GenTable, probability: float) -> Where:
    return (_one_filter(c, table) if c.chance(probability) else None) or Where()


def _asked_of(
    c: Composer, table: GenTable, outer: Where, clause: str, condition: str, evidence: tuple[str, ...]
) -> Draft | None:
    scope = Scope(table)
    separator = "," if outer.filters and not outer.filters[0].adjective else ""
    rows, one = c.say.rows(scope, outer) + separator, c.say.rows(scope, outer, one=True) + separator
    head = _head(c, table, rows, one, clause)
    if head is None:
        return None
    select, question = head
    where = outer.sql(scope) + (" AND " if outer.filters else " WHERE ")
    sql = f"SELECT {select} FROM {table.name}{where}{condition}"
    return Draft(
        sql, question.replace(", are there", " are there"), "; ".join(dict.fromkeys(evidence)), fewer_than=table.size
    )


def member_of(c: Composer) -> Draft | None:
    """IN: rows with at least one related row of some kind. No join, so nobody is listed twice."""
    relation = _relation(c, must_filter=False)
    if relation is None:
        return None
    outer = _outer(c, relation.table, 0.2)
    clause = c.words(
        f"{relation.words} {relation.rows}",
        f"{relation.words} at least one {relation.one}",
        f"{relation.words} any {relation.rows}",
        f"{relation.words} one or more {relation.rows}",
    )
    condition = f"{relation.table.key.name} IN ({relation.keys})"
    return _asked_of(c, relation.table, outer, clause, condition, (*outer.evidence, *relation.evidence))


def not_member_of(c: Composer) -> Draft | None:
    """NOT IN: rows without a related row of some kind."""
    relation = _relation(c, must_filter=False)
    if relation is None:
        return None
    outer = _outer(c, relation.table, 0.2)
    clause = c.words(
        f"except those {relation.words} {relation.rows}",
        f"other than those {relation.words} {relation.rows}",
        f"that are not among those {relation.words} {relation.rows}",
        f"leaving out those {relation.words} {relation.rows}",
    )
    condition = f"{relation.table.key.name} NOT IN ({relation.keys})"
    return _asked_of(c, relation.table, outer, clause, condition, (*outer.evidence, *relation.evidence))


def exists(c: Composer) -> Draft | None:
    """EXISTS and NOT EXISTS, with a correlated block."""
    edges = [edge for edge in c.db.edges if edge.child.readable]
    if not edges:
        return None
    edge = c.rng.choice(edges)
    scope = Scope(edge.child, qualified=True)
    where = _one_filter(c, edge.child)
    if where is None:
        return None
    one = c.say.rows(scope, where, one=True)
    negated = c.chance(0.5)
    clause = (
        c.words(
            f"for which there is no {one}",
            f"for which no {one} exists",
            f"such that there is no {one}",
            f"that lack any {one}",
        )
        if negated
        else c.words(
            f"for which there is a {one}",
            f"for which a {one} exists",
            f"such that there is at least one {one}",
            f"for which some {one} can be found",
        )
    )
    correlated = f"SELECT 1 FROM {edge.child.name} WHERE {edge.on} AND {where.sql(scope).removeprefix(' WHERE ')}"
    condition = f"{'NOT ' if negated else ''}EXISTS ({correlated})"
    outer = _outer(c, edge.parent, 0.15)
    return _asked_of(c, edge.parent, outer, clause, condition, (*outer.evidence, *where.evidence))


def member_by_count(c: Composer) -> Draft | None:
    """IN with a grouped block: rows with more than so many related rows."""
    edges = [edge for edge in c.db.edges if edge.child.size > 40] or list(c.db.edges)
    if not edges:
        return None
    edge = c.rng.choice(edges)
    scope = Scope(edge.child)
    where = (_one_filter(c, edge.child) if c.chance(0.4) else None) or Where()
    typical = edge.child.size / max(1, edge.parent.size)
    bound = max(1, round(typical * c.rng.uniform(0.5, 1.5) / (2 if where.filters else 1)))
    operator, measure = c.rng.choice(
        (
            (">", f"more than {number_word(bound, c.rng)}"),
            (">=", f"at least {number_word(bound + 1, c.rng)}"),
            (">=", f"{number_word(bound + 1, c.rng)} or more"),
        )
    )
    rows = c.say.rows(scope, where)
    clause = c.words(
        f"{edge.up} {measure} {rows}",
        f"for which there are {measure} {rows}",
        f"that occur in {measure} {rows}",
        f"that go with {measure} {rows}",
    )
    column = edge.column.name
    keys = block(column, scope, where) + f" GROUP BY {column} HAVING COUNT(*) {operator} {bound + (operator == '>=')}"
    outer = _outer(c, edge.parent, 0.15)
    condition = f"{edge.parent.key.name} IN ({keys})"
    return _asked_of(c, edge.parent, outer, clause, condition, (*outer.evidence, *where.evidence))


def like_named_row(c: Composer) -> Draft | None:
    """Rows compared with one row that the question names."""
    tables = [table for table in c.db.tables if table.label is not None]
    if not tables:
        return None
    table = c.rng.choice(tables)
    label = table.label
    assert label is not None
    index = c.rng.randrange(table.size)
    name = label.values[index]
    same = c.chance(0.5)
    kinds = ("category", "code") if same else ("number", "year", "date")
    columns = [column for column in table.of_kind(*kinds) if column.values[index] is not None]
    if not columns or name is None:
        return None
    column = c.rng.choice(columns)
    target: Filter = equals(label, name)
    inner = f"(SELECT {column.name} FROM {table.name} WHERE {target.sql(label.name)})"
    of, noun = c.say.phrase(column), c.say.noun(table, one=True)
    rows = c.say.noun(table)
    if same:
        clause = c.words(
            f"with the same {of} as the {noun} {name}",
            f"that share the {of} of the {noun} {name}",
            f"whose {of} is that of the {noun} {name}",
            f"having the same {of} as {name}",
        )
        condition = f"{column.name} = {inner} AND {label.name} != {literal(name)}"
        return _asked_of(c, table, Where(), f"other than {name} {clause}", condition, ())
    time = column.kind in ("year", "date")
    up = c.chance(0.5)
    than = c.rng.choice(
        (("later", "more recent") if up else ("earlier",))
        if time
        else (("higher", "greater") if up else ("lower", "smaller"))
    )
    clause = c.words(
        f"with a {than} {of} than the {noun} {name}"
        if than[0] not in "aeiou"
        else f"with an {than} {of} than the {noun} {name}",
        f"whose {of} is {than} than that of {name}",
        f"where the {of} is {than} than for the {noun} {name}",
        f"that have {than} {of} than {name}",
    )
    head = _head(c, table, rows, noun, clause)
    if head is None:
        return None
    select, question = head
    sql = f"SELECT {select} FROM {table.name} WHERE {column.name} {'>' if up else '<'} {inner}"
    return Draft(sql, question, fewer_than=table.size)


def versus_own_group(c: Composer) -> Draft | None:
    """Rows above the average of the rows that share a value with them: a correlated self-join."""
    choices = [
        (table, column, group)
        for table in c.db.tables
        for column in table.of_kind("number")
        for group in table.of_kind("category", "code")
        if not group.has_nulls and len(group.distinct) < table.size / 3
    ]
    if not choices:
        return None
    table, column, group = c.rng.choice(choices)
    of, by = c.say.phrase(column), c.say.phrase(group)
    operator, than = c.rng.choice(((">", "above"), (">", "higher than"), ("<", "below"), ("<", "lower than")))
    mean = c.rng.choice(AGGREGATES["AVG"])
    rows, one = c.say.noun(table), c.say.noun(table, one=True)
    clause = c.words(
        f"with {of} {than} the {mean} {of} of the same {by}",
        f"with {of} {than} the {mean} of {rows} with the same {by}",
        f"whose {of} is {than} the {mean} for its {by}",
        f"having {of} {than} the {mean} within the {by}",
    )
    head = _head(c, table, rows, one, clause)
    if head is None:
        return None
    select, question = head
    select = select if select == "COUNT(*)" else f"t1.{select}"
    inner = f"SELECT AVG(t2.{column.name}) FROM {table.name} AS t2 WHERE t2.{group.name} = t1.{group.name}"
    sql = f"SELECT {select} FROM {table.name} AS t1 WHERE t1.{column.name} {operator} ({inner})"
    return Draft(sql, question, fewer_than=table.size)
