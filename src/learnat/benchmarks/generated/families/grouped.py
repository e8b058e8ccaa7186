"""Questions that group: counts and aggregates per value, HAVING, and the value with the most rows."""

from __future__ import annotations

from learnat.benchmarks.generated.families.common import AGGREGATES, Composer, Draft, block
from learnat.benchmarks.generated.filters import literal, round_bounds, spoken
from learnat.benchmarks.generated.model import GenColumn
from learnat.benchmarks.generated.scope import Scope, Where, joined
from learnat.benchmarks.generated.words import number_word, plural


def _setting(c: Composer, extra: float) -> tuple[Scope, GenColumn, Where] | None:
    scope = c.scope((12, 9, 2, 0.4))
    if scope is None:
        return None
    groups = c.groups(scope)
    if not groups:
        return None
    group = c.rng.choice(groups)
    where = c.where(scope, used=[group], extra=extra)
    return None if where is None else (scope, group, where)


def count_per_group(c: Composer) -> Draft | None:
    setting = _setting(c, 0.25)
    if setting is None:
        return None
    scope, group, where = setting
    by = c.say.column(group, scope)
    question = c.words(
        f"How many {c.say.rows(scope, where)} are there for each {by}?",
        f"For each {by}, count the {c.say.rows(scope, where)}.",
        f"Show every {by} with the number of {c.say.rows(scope, where)}.",
        f"Group the {c.say.rows(scope, where)} by {by} and count them.",
        f"Give the number of {c.say.rows(scope, where)} per {by}.",
    )
    sql = block(f"{scope.reference(group)}, COUNT(*)", scope, where) + f" GROUP BY {scope.reference(group)}"
    return Draft(sql, question, joined(where.evidence))


def aggregate_per_group(c: Composer) -> Draft | None:
    setting = _setting(c, 0.25)
    if setting is None or not c.numbers(setting[0]):
        return None
    scope, group, where = setting
    column = c.rng.choice(c.numbers(scope))
    if column in {item.column for item in where.filters}:
        return None
    function = c.rng.choice(tuple(AGGREGATES))
    measure, by, of = c.rng.choice(AGGREGATES[function]), c.say.column(group, scope), c.say.phrase(column)
    question = c.words(
        f"What is the {measure} {of} of {c.say.rows(scope, where)} for each {by}?",
        f"For every {by}, show the {measure} {of} of {c.say.rows(scope, where)}.",
        f"Give each {by} and the {measure} {of} of its {c.say.rows(scope, where)}.",
        f"Group {c.say.rows(scope, where)} by {by} and find the {measure} {of}.",
        f"Show the {measure} {of} of {c.say.rows(scope, where)} per {by}.",
    )
    key = scope.reference(group)
    return Draft(
        block(f"{key}, {function}({scope.reference(column)})", scope, where) + f" GROUP BY {key}",
        question,
        joined(where.evidence),
    )


def having_count(c: Composer) -> Draft | None:
    setting = _setting(c, 0.25)
    if setting is None:
        return None
    scope, group, where = setting
    typical = max(1, scope.root.size // max(1, len(group.distinct) if group.kind != "label" else 12))
    bound = max(1, round(typical * c.rng.uniform(0.3, 1.1) / (2 if where.filters else 1)))
    bound = bound if bound < 10 else round(bound / 5) * 5
    operator, measure = c.rng.choice(
        (
            (">", f"more than {bound}"),
            (">=", f"at least {bound}"),
            (">=", f"{bound} or more"),
            ("<", f"fewer than {bound}"),
            ("<=", f"at most {bound}"),
        )
    )
    if operator != ">" and bound < 2:
        return None
    if operator in ("<", "<=") and (scope.edges or where.filters):
        return None  # would those with none at all be meant too?
    by, key = c.say.column(group, scope), scope.reference(group)
    with_count = c.chance(0.2)
    also = f" Also give {c.words('the count', 'how many there are')}." if with_count else ""
    question = c.words(
        f"Which {plural(by)} have {measure} {c.say.rows(scope, where)}?",
        f"List every {by} that occurs in {measure} {c.say.rows(scope, where)}.",
        f"Find each {by} with {measure} {c.say.rows(scope, where)}.",
        f"Group {c.say.rows(scope, where)} by {by} and keep each {by} with {measure} of them.",
    )
    select = f"{key}, COUNT(*)" if with_count else key
    sql = block(select, scope, where) + f" GROUP BY {key} HAVING COUNT(*) {operator} {bound}"
    return Draft(sql, question + also, joined(where.evidence))


def having_aggregate(c: Composer) -> Draft | None:
    setting = _setting(c, 0.15)
    if setting is None or not c.numbers(setting[0]):
        return None
    scope, group, where = setting
    column = c.rng.choice(c.numbers(scope))
    if column in {item.column for item in where.filters}:
        return None
    function = c.rng.choice(("AVG", "AVG", "MAX", "MIN"))
    low, high = {"AVG": (0.35, 0.65), "MAX": (0.75, 0.98), "MIN": (0.02, 0.25)}[function]
    near = column.known[min(len(column.known) - 1, int(len(column.known) * c.rng.uniform(low, high)))]
    bound = min(round_bounds(column), key=lambda value: abs(value - float(near)))
    operator, than = c.rng.choice(((">", "above"), (">", "greater than"), ("<", "below"), ("<", "less than")))
    measure, by, of = c.rng.choice(AGGREGATES[function]), c.say.column(group, scope), c.say.phrase(column)
    said = f"{than} {spoken(bound)}"
    question = c.words(
        f"Which {plural(by)} have {c.say.rows(scope, where)} whose {measure} {of} is {said}?",
        f"Find every {by} where the {measure} {of} of {c.say.rows(scope, where)} is {said}.",
        f"Group {c.say.rows(scope, where)} by {by} and keep each {by} with the {measure} {of} {said}.",
        f"For which {plural(by)} is the {measure} {of} of {c.say.rows(scope, where)} {said}?",
    )
    key = scope.reference(group)
    tail = f" GROUP BY {key} HAVING {function}({scope.reference(column)}) {operator} {literal(bound)}"
    return Draft(block(key, scope, where) + tail, question, joined(where.evidence))


def top_group(c: Composer) -> Draft | None:
    """The value with the most rows or the highest aggregate, or a few of them."""
    setting = _setting(c, 0.25)
    if setting is None:
        return None
    scope, group, where = setting
    by, key = c.say.column(group, scope), scope.reference(group)
    limit = c.rng.choice((1, 1, 1, 2, 3))
    numbers = [column for column in c.numbers(scope) if column not in {item.column for item in where.filters}]
    if numbers and c.chance(0.4):
        column, function = c.rng.choice(numbers), c.rng.choice(("AVG", "SUM"))
        measure, of = c.rng.choice(AGGREGATES[function]), c.say.phrase(column)
        down = c.chance(0.7)
        most = c.rng.choice(("highest", "largest", "greatest") if down else ("lowest", "smallest"))
        ranked = f"{most} {measure} {of} of {c.say.rows(scope, where)}"
        expression = f"{function}({scope.reference(column)})"
    else:
        # "fewest" would raise the question of those with none at all.
        down, expression = True, "COUNT(*)"
        most = c.rng.choice(("most", "largest number of", "highest number of"))
        ranked = f"{most} {c.say.rows(scope, where)}"
    count = number_word(limit, c.rng)
    question = (
        c.words(
            f"Which {by} has the {ranked}?",
            f"Find the {by} with the {ranked}.",
            f"What is the {by} that has the {ranked}?",
            f"Name the one {by} with the {ranked}.",
        )
        if limit == 1
        else c.words(
            f"Which {count} {plural(by)} have the {ranked}?",
            f"Find the {count} {plural(by)} with the {ranked}.",
            f"List the top {count} {plural(by)}: those with the {ranked}.",
            f"Name the {count} {plural(by)} that have the {ranked}.",
        )
    )
    tail = f" GROUP BY {key} ORDER BY {expression}{' DESC' if down else ' ASC'}"
    ranking = block(expression, scope, where) + tail
    return Draft(
        block(key, scope, where) + tail + f" LIMIT {limit}",
        question,
        joined(where.evidence),
        ranking=ranking,
        limit=limit,
    )
