"""Which answers agree."""

from __future__ import annotations

from typing import Any

from learnat.evaluation.agreement import agreeing
from learnat.sql.execution import Result


def answer(*rows: tuple[Any, ...], sql: str = "SELECT a", error: str | None = None, cut: bool = False) -> Any:
    return sql, Result(("a",), list(rows), error, 0.0, False, cut)


def test_answers_agree_with_the_first_one_of_the_same_result() -> None:
    answers = [answer((1,), (2,)), answer((3,)), answer((2,), (1,)), answer((1,), (2,), (2,)), answer((3.0,))]
    assert agreeing(answers) == [0, 1, 0, 3, 1]


def test_order_counts_where_both_ask_for_one() -> None:
    up = answer((1,), (2,), sql="SELECT a FROM t ORDER BY a")
    down = answer((2,), (1,), sql="SELECT a FROM t ORDER BY a DESC")
    any_order = answer((2,), (1,))
    assert agreeing([up, down, any_order]) == [0, 1, 0]


def test_what_was_not_seen_agrees_with_nothing() -> None:
    failed, cut = answer(error="no such table: t"), answer((1,), cut=True)
    assert agreeing([failed, failed, cut, cut, answer((1,))]) == [None, None, None, None, 4]
    assert agreeing([]) == []
