"""Which of several answers to one question agree: those whose results are equal."""

from __future__ import annotations

from collections.abc import Sequence

from learnat.sql.execution import Result
from learnat.sql.results import equal


def agreeing(answers: Sequence[tuple[str, Result]]) -> list[int | None]:
    """For each answer, a statement and its result, the number of the first one whose result is the same.

    Results are compared as bags of rows, in any order of columns; the order of rows counts where both statements ask
    for one. A result that failed or was cut agrees with none: None.
    """
    firsts: list[int] = []
    numbers: list[int | None] = []
    for position, (sql, result) in enumerate(answers):
        same = (first for first in firsts if _same(answers[first], (sql, result)))
        number = next(same, position) if result.ok else None
        if number == position:
            firsts.append(position)
        numbers.append(number)
    return numbers


def _same(first: tuple[str, Result], second: tuple[str, Result]) -> bool:
    both_order = "order by" in second[0].lower()
    return equal(first[1], second[1], "spider_bag", gold_sql=first[0] if both_order else "")
