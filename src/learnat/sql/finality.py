"""Is a proposed step the answer itself: gold's own query, or one that cannot be told from it?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from learnat.sql.block_builder import view
from learnat.sql.parse import SqlParseError
from learnat.sql.schema import Schema

if TYPE_CHECKING:
    from learnat.sql.execution import Executor, Result


FINALITIES = ("canonical", "execution")
"""How finality is decided, see ``is_final``."""


def is_final(
    gold: str,
    step: str,
    schema: Schema | None = None,
    dialect: str = "sqlite",
    final: str = "canonical",
    executors: Sequence[Executor] = (),
) -> bool:
    """Whether ``step`` is the answer itself.

    ``final="canonical"``: equal to gold by canonical form. ``final="execution"``: that, or equal results on every one
    of ``executors``. Empty results and a single row of zeros and NULLs prove nothing, so that at least one must be
    more than that. (Not all of them: on some of its test-suite variants 44 % of Spider dev's gold returns nothing.)

    Raises:
        SqlParseError: gold is not one query.
        ValueError: an unknown way to decide.
    """
    return bool(finality(gold, step, schema, dialect, final, executors))


def finality(
    gold: str,
    step: str,
    schema: Schema | None = None,
    dialect: str = "sqlite",
    final: str = "canonical",
    executors: Sequence[Executor] = (),
) -> bool | None:
    """``is_final``, or None where an execution reached its time limit, so that nobody knows."""
    if final not in FINALITIES:
        raise ValueError(f"unknown way to decide finality {final!r}: use canonical or execution")
    whole = view(gold, schema, dialect)
    try:
        if whole.form.sql == view(step, schema, dialect).form.sql:
            return True
    except SqlParseError:
        return False
    return _same_results(executors, gold, step) if final == "execution" else False


_EXPECTED: WeakKeyDictionary[Executor, tuple[str, Result]] = WeakKeyDictionary()
"""Gold's result on each executor, for the gold asked for last: many steps are compared with one gold in a row."""


def _same_results(executors: Sequence[Executor], gold: str, step: str) -> bool | None:
    """The same rows equally often on every database, in the same order where gold orders them."""
    telling = False
    for executor in executors:
        expected = _expected(executor, gold)
        if expected.timed_out:
            return None
        if not expected.ok or expected.truncated:
            return False
        answer = executor.run(step)
        if answer.timed_out:
            return None
        if not answer.ok or answer.truncated:
            return False
        same = (
            expected.rows == answer.rows
            if "order by" in gold.lower()
            else Counter(expected.rows) == Counter(answer.rows)
        )
        if not same:
            return False
        telling = telling or _telling(expected.rows)
    return telling


def _expected(executor: Executor, gold: str) -> Result:
    known = _EXPECTED.get(executor)
    if known is None or known[0] != gold:
        known = _EXPECTED[executor] = (gold, executor.run(gold))
    return known[1]


def _telling(rows: Sequence[Sequence[object]]) -> bool:
    """Neither empty nor a single row of zeros and NULLs: many wrong queries return those too."""
    return len(rows) > 1 or any(value not in (None, 0) for row in rows for value in row)
