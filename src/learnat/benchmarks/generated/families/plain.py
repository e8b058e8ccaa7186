"""Questions without grouping, order or nesting: rows, values, counts, aggregates, arithmetic."""

from __future__ import annotations

from learnat.benchmarks.generated.families.common import AGGREGATES, Composer, Draft, block
from learnat.benchmarks.generated.filters import literal
from learnat.benchmarks.generated.model import GenColumn
from learnat.benchmarks.generated.scope import Scope, joined
from learnat.benchmarks.generated.words import listed, plural

_TIMES: dict[str, tuple[str, ...]] = {"MAX": ("latest", "most recent"), "MIN": ("earliest", "first")}


def select_rows(c: Composer) -> Draft | None:
    """One to three columns of the rows that meet some conditions."""
    scope = c.scope()
    if scope is None:
        return None
    columns = [column for column in (c.shown(scope.root),) if column is not None]
    for table in scope.leaves:
        column = c.shown(table) if c.chance(0.3) else None
        columns += [column] if column is not None else []
    if len(columns) == 1 and c.chance(0.3):
        columns += [column for column in (c.shown(scope.root),) if column is not None and column not in columns]
    if not columns:
        return None
    where = c.where(scope, used=columns, least=1, extra=0.25, by_name=True)
    if where is None:
        return None
    asked = listed([c.say.column(column, scope) for column in columns])
    many = listed([plural(c.say.column(column, scope)) for column in columns])
    question = c.words(
        f"List the {asked} of all {c.say.rows(scope, where)}.",
        f"What are the {many} of {c.say.rows(scope, where)}?",
        f"Show the {asked} for every {c.say.rows(scope, where, one=True)}.",
        f"Give me the {many} of the {c.say.rows(scope, where)}.",
        f"Find the {asked} of each {c.say.rows(scope, where, one=True)}.",
        f"For {c.say.rows(scope, where)}, what is the {asked}?",
    )
    return Draft(
        block(", ".join(scope.reference(column) for column in columns), scope, where), question, joined(where.evidence)
    )


def distinct_values(c: Composer) -> Draft | None:
    """The different values of a column: DISTINCT, where rows would repeat."""
    scope = c.scope()
    if scope is None:
        return None
    candidates = [column for table in scope.tables for column in table.of_kind("category", "code", "year")]
    candidates += [table.label for table in scope.tables[1:] if table.label is not None]
    if not candidates:
        return None
    column = c.rng.choice(candidates)
    where = c.where(scope, used=[column], least=1, extra=0.2)
    if where is None:
        return None
    asked = c.say.column(column, scope)
    if column.has_nulls:
        return None
    question = c.words(
        f"List the different {plural(asked)} of {c.say.rows(scope, where)}.",
        f"What distinct {plural(asked)} occur among {c.say.rows(scope, where)}?",
        f"Show each {asked} of {c.say.rows(scope, where)} only once.",
        f"Which different {plural(asked)} do {c.say.rows(scope, where)} have?",
        f"Give the {plural(asked)} of {c.say.rows(scope, where)} without repetition.",
    )
    return Draft(block(f"DISTINCT {scope.reference(column)}", scope, where), question, joined(where.evidence))


def count_rows(c: Composer) -> Draft | None:
    scope = c.scope()
    where = c.where(scope, least=1, extra=0.25) if scope is not None else None
    if scope is None or where is None:
        return None
    question = c.words(
        f"How many {c.say.rows(scope, where)} are there?",
        f"Count the {c.say.rows(scope, where)}.",
        f"What is the number of {c.say.rows(scope, where)}?",
        f"Give the total count of {c.say.rows(scope, where)}.",
        f"I want to know how many {c.say.rows(scope, where)} exist.",
    )
    return Draft(block("COUNT(*)", scope, where), question, joined(where.evidence))


def count_distinct(c: Composer) -> Draft | None:
    scope = c.scope()
    if scope is None:
        return None
    candidates = [column for table in scope.tables for column in table.of_kind("category", "year", "code")]
    candidates += [table.label for table in scope.tables[1:] if table.label is not None]
    if not candidates:
        return None
    column = c.rng.choice(candidates)
    where = c.where(scope, used=[column], extra=0.5)
    if where is None:
        return None
    asked = plural(c.say.column(column, scope))
    question = c.words(
        f"How many different {asked} are there among {c.say.rows(scope, where)}?",
        f"Count the distinct {asked} of {c.say.rows(scope, where)}.",
        f"What is the number of different {asked} for {c.say.rows(scope, where)}?",
        f"How many distinct {asked} do {c.say.rows(scope, where)} have?",
    )
    return Draft(block(f"COUNT(DISTINCT {scope.reference(column)})", scope, where), question, joined(where.evidence))


def aggregate(c: Composer) -> Draft | None:
    """One or two aggregates of a quantity, or the first and last of a date or year."""
    scope = c.scope()
    if scope is None:
        return None
    times = scope.root.of_kind("date", "year")
    numbers = c.numbers(scope)
    if times and (not numbers or c.chance(0.2)):
        column, table = c.rng.choice(times), _TIMES
    elif numbers:
        column, table = c.rng.choice(numbers), AGGREGATES
    else:
        return None
    where = c.where(scope, used=[column], extra=0.5)
    if where is None:
        return None
    functions = c.rng.sample(list(table), 2 if c.chance(0.15) else 1)
    measure = " and ".join(c.rng.choice(table[function]) for function in functions)
    asked = c.say.phrase(column)
    question = c.words(
        f"What is the {measure} {asked} of {c.say.rows(scope, where)}?",
        f"Find the {measure} {asked} among {c.say.rows(scope, where)}.",
        f"Give the {measure} {asked} for {c.say.rows(scope, where)}.",
        f"For {c.say.rows(scope, where)}, compute the {measure} {asked}.",
        f"Looking at {c.say.rows(scope, where)}, what is the {measure} {asked}?",
    )
    select = ", ".join(f"{function}({scope.reference(column)})" for function in functions)
    return Draft(block(select, scope, where), question, joined(where.evidence))


def arithmetic(c: Composer) -> Draft | None:
    """A quantity computed from two columns, under a name that the evidence explains or spelled out."""
    if not c.db.derived:
        return None
    item = c.rng.choice(c.db.derived)
    scope = c.scope((6, 4), root=item.table) or Scope(item.table)
    left, right = scope.reference(item.left), scope.reference(item.right)
    formula = f"{left} {item.operator} {right}"
    if c.chance(0.6):
        named = item.term
        evidence = f"{item.term} = {item.left.name} {item.operator} {item.right.name}"
    else:
        first, second = c.say.phrase(item.left), c.say.phrase(item.right)
        product = c.words(
            f"product of {first} and {second}", f"{first} multiplied by {second}", f"{first} times {second}"
        )
        gap = c.words(
            f"difference between {first} and {second}", f"{first} minus {second}", f"{first} reduced by {second}"
        )
        named, evidence = (product if item.operator == "*" else gap), ""
    shape = c.rng.choice(("rows", "aggregate", "bound"))
    where = c.where(scope, used=[item.left, item.right], least=1 if shape == "rows" else 0, extra=0.3)
    if where is None:
        return None
    proof = joined([*where.evidence, evidence] if evidence else where.evidence)
    if shape == "aggregate":
        function = c.rng.choice(("AVG", "MAX", "MIN", "SUM"))
        measure = c.rng.choice(AGGREGATES[function])
        question = c.words(
            f"What is the {measure} {named} of {c.say.rows(scope, where)}?",
            f"Find the {measure} {named} among {c.say.rows(scope, where)}.",
            f"Compute the {measure} {named} for {c.say.rows(scope, where)}.",
            f"Over {c.say.rows(scope, where)}, what is the {measure} {named}?",
        )
        return Draft(block(f"{function}({formula})", scope, where), question, proof)
    shown = c.shown(scope.root)
    if shown is None or shown in (item.left, item.right):
        return None
    asked = c.say.phrase(shown)
    if shape == "rows":
        question = c.words(
            f"List the {asked} and the {named} of {c.say.rows(scope, where)}.",
            f"For each {c.say.rows(scope, where, one=True)}, show the {asked} and the {named}.",
            f"What are the {plural(asked)} of {c.say.rows(scope, where)}, and what is the {named}?",
            f"Give the {asked} together with the {named} for {c.say.rows(scope, where)}.",
        )
        return Draft(block(f"{scope.reference(shown)}, {formula}", scope, where), question, proof)
    bound = _bound(item.left, item.right, item.operator, c)
    if bound is None or where.connective == "OR":
        return None
    operator, spoken = c.rng.choice(((">", "greater than"), (">", "above"), ("<", "less than"), ("<", "below")))
    question = c.words(
        f"List the {asked} of the {c.say.rows(scope, where)} for which the {named} is {spoken} {bound}.",
        f"What is the {asked} of each {c.say.rows(scope, where, one=True)} if the {named} is {spoken} {bound}?",
        f"Find the {plural(asked)} of {c.say.rows(scope, where)} such that the {named} is {spoken} {bound}.",
        f"Show the {asked} of {c.say.rows(scope, where)}, but only where the {named} is {spoken} {bound}.",
    )
    condition = f"{formula} {operator} {bound}"
    sql = block(scope.reference(shown), scope, where)
    sql += f" AND {condition}" if where.filters else f" WHERE {condition}"
    return Draft(sql, question, proof, fewer_than=item.table.size)


def _bound(left: GenColumn, right: GenColumn, operator: str, c: Composer) -> str | None:
    found = [
        first - second if operator == "-" else first * second
        for first, second in zip(left.values, right.values, strict=True)
        if isinstance(first, (int, float)) and isinstance(second, (int, float))
    ]
    if not found:
        return None
    middle = sorted(found)[len(found) // 5 : -len(found) // 5] or found
    value = c.rng.choice(middle)
    step = 5 if abs(value) < 50 else 10 if abs(value) < 200 else 100
    return literal(round(value / step) * step)
