"""Set operations: values found in both, in one but not the other, or in either of two sets of rows."""

from __future__ import annotations

from learnat.benchmarks.generated.families.common import Composer, Draft, block
from learnat.benchmarks.generated.filters import Filter, draw_filter, equals
from learnat.benchmarks.generated.scope import Scope, Where, joined
from learnat.benchmarks.generated.words import plural


def one_table(c: Composer) -> Draft | None:
    """Values of one column over two sets of rows of the same table."""
    scope = c.scope((6, 6))
    if scope is None:
        return None
    groups = c.groups(scope)
    if not groups:
        return None
    group = c.rng.choice(groups)
    first = _first(c, scope, group.name if group.table == scope.root.name else "")
    if first is None or first.adjective:
        return None
    second = _contrast(c, scope, first, group.name)
    if second is None or second.condition == first.condition:
        return None
    left, right = Where((first,)), Where((second,))
    by, key = c.say.column(group, scope), scope.reference(group)
    one, two = c.say.rows(scope, left), c.say.rows(scope, right)
    operator = c.rng.choices(("INTERSECT", "EXCEPT", "UNION"), (5, 5, 3))[0]
    if operator == "INTERSECT":
        question = c.words(
            f"Which {plural(by)} have both {one} and {two}?",
            f"List each {by} that occurs among {one} and also among {two}.",
            f"Find every {by} shared by {one} and {two}.",
            f"What {plural(by)} are found for {one} as well as for {two}?",
        )
    elif operator == "EXCEPT":
        question = c.words(
            f"Which {plural(by)} have {one} but no {two}?",
            f"List each {by} that occurs among {one} but not among {two}.",
            f"Find every {by} of {one} that is not one of {two}.",
            f"What {plural(by)} are found for {one}, leaving out those of {two}?",
        )
    else:
        question = c.words(
            f"List every {by} that occurs among {one} or among {two}, each only once.",
            f"Combine the {plural(by)} of {one} with those of {two}, without repetition.",
            f"Which different {plural(by)} do {one} and {two} have, taken together?",
            f"Give one list of the {plural(by)} of {one} and the {plural(by)} of {two}.",
        )
    sql = f"{block(key, scope, left)} {operator} {block(key, scope, right)}"
    return Draft(sql, question, joined([*left.evidence, *right.evidence]))


def _first(c: Composer, scope: Scope, group: str) -> Filter | None:
    """Most often that a column has a certain value, so that the second set can be that it has another."""
    columns = [column for column in scope.root.of_kind("category", "code") if column.name != group]
    if columns and c.chance(0.6):
        column = c.rng.choice(columns)
        return equals(column, c.rng.choice(column.known))
    return draw_filter(scope.root, c.rng, avoid=frozenset((group,)), by_name=False)


def _contrast(c: Composer, scope: Scope, first: Filter, group: str) -> Filter | None:
    column = first.column
    if column.kind in ("category", "code") and " = " in first.condition and c.chance(0.7):
        others = [value for value in column.distinct if equals(column, value).condition != first.condition]
        return equals(column, c.rng.choice(others)) if others else None
    second = draw_filter(scope.root, c.rng, avoid=frozenset((group, column.name)))
    return second if second is None or not second.adjective else None


def two_tables(c: Composer) -> Draft | None:
    """Values of two columns, of different tables, that hold the same kind of thing (cities of members and of shops)."""
    pairs = [
        (a, one, b, two)
        for a in c.db.tables
        for b in c.db.tables
        if a is not b
        for one in a.of_kind("category")
        for two in b.of_kind("category")
        if one.spec.values == two.spec.values and not one.has_nulls and not two.has_nulls
    ]
    if not pairs:
        return None
    table, column, other_table, other_column = c.rng.choice(pairs)
    scope, other = Scope(table), Scope(other_table)
    first = draw_filter(table, c.rng, avoid=frozenset({column.name})) if c.chance(0.5) else None
    second = draw_filter(other_table, c.rng, avoid=frozenset({other_column.name})) if c.chance(0.25) else None
    left, right = (Where((item,)) if item is not None else Where() for item in (first, second))
    if first and second and (first.adjective or second.adjective):
        return None
    of, other_of = c.say.phrase(column), c.say.phrase(other_column)
    one, two = c.say.rows(scope, left), c.say.rows(other, right)
    operator = c.rng.choices(("INTERSECT", "EXCEPT", "UNION"), (5, 5, 3))[0]
    if operator == "INTERSECT":
        question = c.words(
            f"Which {plural(of)} of {one} are also {plural(other_of)} of {two}?",
            f"List each {of} of {one} that is also a {other_of} of {two}.",
            f"Find the {plural(of)} that {one} have in common with the {other_of} of {two}.",
            f"What {plural(of)} of {one} can be found among the {plural(other_of)} of {two} too?",
        )
    elif operator == "EXCEPT":
        question = c.words(
            f"Which {plural(of)} of {one} are not {plural(other_of)} of {two}?",
            f"List each {of} of {one} that is no {other_of} of {two}.",
            f"Find the {plural(of)} of {one}, leaving out each {other_of} of {two}.",
            f"What {plural(of)} of {one} do not occur among the {plural(other_of)} of {two}?",
        )
    else:
        question = c.words(
            f"List the {plural(of)} of {one} together with the {plural(other_of)} of {two}, each only once.",
            f"Give one list of the {plural(of)} of {one} and the {plural(other_of)} of {two}.",
            f"Combine the {plural(of)} of {one} with the {plural(other_of)} of {two}, without repetition.",
            f"What different values are there among the {plural(of)} of {one} and the {plural(other_of)} of {two}?",
        )
    sql = f"{block(column.name, scope, left)} {operator} {block(other_column.name, other, right)}"
    return Draft(sql, question, joined([*left.evidence, *right.evidence]))
