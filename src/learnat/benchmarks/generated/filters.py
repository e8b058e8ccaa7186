"""Conditions on one column: what they say in SQL, and the ways to say it in English.

In wordings and conditions ``{c}`` stands for the column; values are filled in already.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from learnat.benchmarks.generated.model import GenColumn, GenTable, Value

_EQUAL = (
    "whose {c} is @a",
    "with {c} @a",
    "where the {c} is @a",
    "having @a as {c}",
    "with @a as the {c}",
)
_EQUAL_NUMBER = ("whose {c} is @a", "with {c} @a", "where the {c} equals @a", "with {c} of exactly @a")
_NOT_EQUAL = (
    "whose {c} is not @a",
    "with {c} other than @a",
    "where the {c} differs from @a",
    "whose {c} is anything but @a",
)
_EITHER = (
    "whose {c} is @a or @b",
    "with {c} @a or @b",
    "where the {c} is either @a or @b",
    "whose {c} is one of @a and @b",
)
_ABOVE = (
    "whose {c} is greater than @a",
    "with {c} above @a",
    "with {c} over @a",
    "where the {c} exceeds @a",
    "whose {c} is higher than @a",
    "with {c} of more than @a",
)
_AT_LEAST = (
    "whose {c} is at least @a",
    "with {c} of @a or more",
    "where the {c} is no less than @a",
    "with a minimum {c} of @a",
    "whose {c} is not below @a",
)
_BELOW = (
    "whose {c} is less than @a",
    "with {c} below @a",
    "with {c} under @a",
    "whose {c} is lower than @a",
    "with {c} of less than @a",
)
_AT_MOST = (
    "whose {c} is at most @a",
    "with {c} of @a or less",
    "where the {c} is no more than @a",
    "with a maximum {c} of @a",
    "whose {c} is not above @a",
)
_BETWEEN = (
    "whose {c} is between @a and @b",
    "with {c} from @a to @b",
    "where the {c} lies between @a and @b",
    "with {c} in the range @a to @b",
)
_AFTER = ("whose {c} is after @a", "with {c} later than @a", "where the {c} falls after @a", "with {c} after @a")
_BEFORE = ("whose {c} is before @a", "with {c} earlier than @a", "where the {c} falls before @a", "with {c} before @a")
_IN_YEAR = ("whose {c} is in @a", "with {c} in the year @a", "where the {c} falls in @a", "with {c} during @a")
_NULL = ("whose {c} is missing", "without a recorded {c}", "where the {c} is unknown", "with no {c} on record")
_NOT_NULL = ("whose {c} is known", "with a recorded {c}", "where the {c} is not missing", "whose {c} is on record")
_STARTS = (
    "whose {c} starts with @a",
    "with {c} beginning with @a",
    "where the {c} begins with @a",
    "whose {c} has @a as its first word",
)
_ENDS = (
    "whose {c} ends with @a",
    "with {c} ending in @a",
    "where the {c} ends in @a",
    "whose {c} has @a as its last word",
)
_CONTAINS = ("whose {c} contains @a", "with @a in the {c}", "where the {c} includes @a", "whose {c} has @a in it")


@dataclass(frozen=True)
class Filter:
    """A condition on ``column``. With an ``adjective``, it is said by it alone and ``evidence`` explains it."""

    column: GenColumn
    condition: str
    wordings: tuple[str, ...]
    adjective: str = ""
    evidence: str = ""
    names_row: str = ""
    """The label's value, when the condition picks one row by its name."""

    def sql(self, reference: str) -> str:
        return self.condition.replace("{c}", reference)


def literal(value: Value) -> str:
    """``value`` as SQL writes it. (No text of the pools holds a quote.)"""
    if isinstance(value, str):
        return f"'{value}'"
    return spoken(value)


def spoken(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _say(wordings: tuple[str, ...], *values: Value) -> tuple[str, ...]:
    said = []
    for wording in wordings:
        for mark, value in zip("ab", values, strict=False):
            wording = wording.replace(f"@{mark}", spoken(value))
        said.append(wording)
    return tuple(said)


def draw_filter(
    table: GenTable, rng: random.Random, *, avoid: frozenset[str] = frozenset(), by_name: bool = True
) -> Filter | None:
    """A condition on a readable column of ``table`` that some of its rows meet and some do not.

    ``avoid`` names columns not to use; without ``by_name``, no condition picks a single row by its label.
    """
    columns = [column for column in table.readable if column.name not in avoid and len(column.distinct) > 1]
    if not columns:
        return None
    weight = {"label": 2 if by_name else 1, "category": 5, "code": 4, "number": 4, "year": 3, "date": 3}
    column = rng.choices(columns, [weight[column.kind] for column in columns])[0]
    if column.has_nulls and rng.random() < 0.25:
        return _null(column, rng)
    if column.kind == "label":
        return _on_label(column, rng, by_name)
    if column.kind == "category":
        return _on_category(column, rng)
    if column.kind == "code":
        return _on_code(column, rng)
    if column.kind == "date":
        return _on_date(column, rng)
    return _on_number(column, rng)


def _null(column: GenColumn, rng: random.Random) -> Filter:
    if rng.random() < 0.7:
        return Filter(column, "{c} IS NULL", _NULL)
    return Filter(column, "{c} IS NOT NULL", _NOT_NULL)


def equals(column: GenColumn, value: Value) -> Filter:
    wordings = _EQUAL if isinstance(value, str) else _EQUAL_NUMBER
    return Filter(
        column,
        f"{{c}} = {literal(value)}",
        _say(wordings, value),
        names_row=str(value) if column.kind == "label" else "",
    )


def _on_label(column: GenColumn, rng: random.Random, by_name: bool) -> Filter:
    value = str(rng.choice(column.known))
    if by_name and rng.random() < 0.65:
        return equals(column, value)
    first, last = value.split(" ", 1)
    shape = rng.random()
    if shape < 0.4:
        return Filter(column, f"{{c}} LIKE '{first}%'", _say(_STARTS, first))
    if shape < 0.7:
        return Filter(column, f"{{c}} LIKE '%{last}'", _say(_ENDS, last))
    part = rng.choice((first, last))
    return Filter(column, f"{{c}} LIKE '%{part}%'", _say(_CONTAINS, part))


def _on_category(column: GenColumn, rng: random.Random) -> Filter:
    value = rng.choice(column.known)
    shape = rng.random()
    if shape < 0.12 and not column.has_nulls:
        return Filter(column, f"{{c}} != {literal(value)}", _say(_NOT_EQUAL, value))
    if shape < 0.26 and len(column.distinct) > 2:
        first, second = rng.sample(column.distinct, 2)
        return Filter(column, f"{{c}} IN ({literal(first)}, {literal(second)})", _say(_EITHER, first, second))
    return equals(column, value)


def _on_code(column: GenColumn, rng: random.Random) -> Filter:
    value = rng.choice(column.known)
    term = rng.choice(column.terms)[1:] if column.terms and rng.random() < 0.45 else ""
    if term:
        return Filter(column, f"{{c}} = {literal(value)}", (), term, _evidence(term, f"{column.name} = {value}", rng))
    if rng.random() < 0.25 and column.distinct[0] < value < column.distinct[-1]:  # type: ignore[operator]
        if rng.random() < 0.5:
            return Filter(column, f"{{c}} >= {value}", _say(_AT_LEAST, value))
        return Filter(column, f"{{c}} <= {value}", _say(_AT_MOST, value))
    return equals(column, value)


def _on_date(column: GenColumn, rng: random.Random) -> Filter:
    value = str(rng.choice(_middle(column)))
    shape = rng.random()
    if shape < 0.5:
        year = value[:4]
        return Filter(column, f"strftime('%Y', {{c}}) = '{year}'", _say(_IN_YEAR, year))
    half = f"{value[:4]}-{'01' if value[5:7] < '07' else '07'}-01"
    if shape < 0.75:
        return Filter(column, f"{{c}} > '{half}'", _say(_AFTER, half))
    return Filter(column, f"{{c}} < '{half}'", _say(_BEFORE, half))


def _on_number(column: GenColumn, rng: random.Random) -> Filter:
    bounds = round_bounds(column)
    value = rng.choice(bounds)
    if column.terms and rng.random() < 0.45:
        term = rng.choice(column.terms)
        return Filter(
            column,
            f"{{c}} {term[0]} {literal(value)}",
            (),
            term[1:],
            _evidence(term[1:], f"{column.name} {term[0]} {spoken(value)}", rng),
        )
    shape = rng.random()
    if shape < 0.08:
        return equals(column, rng.choice(column.known))
    if shape < 0.2 and len(bounds) > 1:
        low, high = sorted(rng.sample(bounds, 2))
        return Filter(column, f"{{c}} BETWEEN {literal(low)} AND {literal(high)}", _say(_BETWEEN, low, high))
    year = column.kind == "year"
    operator, wordings = rng.choices(
        [
            (">", _AFTER if year else _ABOVE),
            ("<", _BEFORE if year else _BELOW),
            (">=", _AT_LEAST),
            ("<=", _AT_MOST),
        ],
        [4, 4, 0 if year else 2, 0 if year else 2],
    )[0]
    return Filter(column, f"{{c}} {operator} {literal(value)}", _say(wordings, value))


def round_bounds(column: GenColumn) -> list[int | float]:
    """Round numbers (or, for a small range, whole ones) that leave a good share of the rows on either side."""
    middle = [value for value in _middle(column) if not isinstance(value, str)]
    low, high = middle[0], middle[-1]
    step = next(
        (step for power in (0.1, 1, 10, 100) for step in (power, 2 * power, 5 * power) if (high - low) / step <= 8),
        1000,
    )
    if column.type == "INTEGER":
        step = max(1, round(step))
    first, last = math.ceil(low / step), math.floor(high / step)
    bounds = [index * step for index in range(first, last + 1)]
    return [int(bound) if bound == int(bound) else round(bound, 2) for bound in bounds] or [low]


def _middle(column: GenColumn) -> list[str | int | float]:
    """The values that leave a good share of rows on either side."""
    known = column.known
    cut = len(known) // 8
    return list(known[cut : len(known) - cut] or known)


def _evidence(term: str, condition: str, rng: random.Random) -> str:
    return rng.choice((f"{term} means {condition}", f"{term} refers to {condition}"))
