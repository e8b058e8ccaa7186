"""Questions about order: sorted lists, and the first few rows of an order."""

from __future__ import annotations

from learnat.benchmarks.generated.families.common import Composer, Draft, block
from learnat.benchmarks.generated.model import GenColumn
from learnat.benchmarks.generated.scope import Scope, Where, joined
from learnat.benchmarks.generated.words import listed, number_word


def sorted_rows(c: Composer) -> Draft | None:
    """All rows, in an order."""
    scope = c.scope((12, 7, 1))
    return _ordered(c, scope, None) if scope is not None else None


def top_rows(c: Composer) -> Draft | None:
    """The first few rows of an order: ORDER BY with LIMIT."""
    scope = c.scope((12, 9, 2))
    return _ordered(c, scope, c.rng.choice((1, 1, 2, 3, 3, 4, 5))) if scope is not None else None


def _ordered(c: Composer, scope: Scope, limit: int | None) -> Draft | None:
    keys = [column for column in scope.root.of_kind("number", "date", "year") if not column.has_nulls]
    shown = c.shown(scope.root)
    if not keys or shown is None:
        return None
    key = c.rng.choice(keys)
    if shown is key:
        return None
    columns = [shown, key] if c.chance(0.2) else [shown]
    for table in scope.leaves:
        column = c.shown(table) if c.chance(0.3) else None
        columns += [column] if column is not None else []
    where = c.where(scope, used=[key, *columns], extra=0.3)
    if where is None:
        return None
    down = c.chance(0.55)
    asked = listed([c.say.column(column, scope) for column in columns])
    by = c.say.phrase(key)
    question = _order_words(c, scope, where, asked, by, key, down) if limit is None else ""
    if limit is not None:
        question = _top_words(c, scope, where, asked, by, key, down, limit)
    reference = scope.reference(key)
    tail = f" ORDER BY {reference}{' DESC' if down else ' ASC'}"
    ranking = block(reference, scope, where) + tail
    sql = block(", ".join(scope.reference(column) for column in columns), scope, where) + tail
    return Draft(
        sql + (f" LIMIT {limit}" if limit else ""), question, joined(where.evidence), ranking=ranking, limit=limit or 0
    )


def _order_words(c: Composer, scope: Scope, where: Where, asked: str, by: str, key: GenColumn, down: bool) -> str:
    if key.kind in ("date", "year"):
        way = c.rng.choice(
            ("from latest to earliest", "in descending order", "newest first")
            if down
            else ("from earliest to latest", "in ascending order", "oldest first")
        )
    else:
        way = c.rng.choice(
            ("from highest to lowest", "in descending order", "largest first")
            if down
            else ("from lowest to highest", "in ascending order", "smallest first")
        )
    return c.words(
        f"List the {asked} of {c.say.rows(scope, where)} sorted by {by} {way}.",
        f"Show the {asked} of all {c.say.rows(scope, where)}, ordered by {by} {way}.",
        f"Order {c.say.rows(scope, where)} by {by} {way} and give the {asked}.",
        f"Give the {asked} of {c.say.rows(scope, where)}; sort by {by} {way}.",
    )


def _top_words(
    c: Composer, scope: Scope, where: Where, asked: str, by: str, key: GenColumn, down: bool, limit: int
) -> str:
    if key.kind in ("date", "year"):
        most = c.rng.choice(("latest", "most recent") if down else ("earliest", "oldest"))
    else:
        most = c.rng.choice(("highest", "largest", "greatest") if down else ("lowest", "smallest"))
    if limit == 1:
        return c.words(
            f"What is the {asked} of the {c.say.rows(scope, where, one=True)} with the {most} {by}?"
            if not where.filters
            else f"Among {c.say.rows(scope, where)}, what is the {asked} of the one with the {most} {by}?",
            f"Of all {c.say.rows(scope, where)}, which has the {most} {by}? Give the {asked}.",
            f"Find the single {c.say.noun(scope.root, one=True)} with the {most} {by} among {c.say.rows(scope, where)} "
            f"and show the {asked}.",
            f"Show the {asked} for the {most} {by} among {c.say.rows(scope, where)}.",
        )
    count = number_word(limit, c.rng)
    way = "descending" if down else "ascending"
    return c.words(
        f"Among {c.say.rows(scope, where)}, list the {asked} of the {count} with the {most} {by}.",
        f"Sort {c.say.rows(scope, where)} by {by} in {way} order and give the {asked} of the first {count}.",
        f"Of all {c.say.rows(scope, where)}, show the {asked} of the {count} with the {most} {by}.",
        f"Which {count} of the {c.say.rows(scope, where)} have the {most} {by}? Show the {asked}.",
    )
