"""Expressions as terms: nested tuples that are equal for equal expressions.

``("column", number, name)`` is a column of the table instance with that number (None: nobody knows whose);
the name of a derived table's column is itself a tuple that says what it stands for. ``BLOCK`` stands for a nested
query. Operands of commutative operators are sets, so their order plays no part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Term = tuple[Any, ...]
BLOCK: Term = ("block",)


def substitute(term: Term, new: Callable[[Term], Term]) -> Term:
    """``term`` with each column exchanged for ``new(column)``."""
    if term[0] == "column":
        return new(term)
    return tuple(_part(part, new) for part in term)


def _part(part: Any, new: Callable[[Term], Term]) -> Any:
    if isinstance(part, tuple):
        return substitute(part, new) if part else part
    if isinstance(part, frozenset):
        return frozenset(substitute(inner, new) for inner in part)
    return part


def mapped(term: Term, sigma: Mapping[int, int]) -> Term:
    """``term`` with the instance numbers exchanged by ``sigma``."""

    def new(column: Term) -> Term:
        name = column[2]
        inner = mapped(name, sigma) if isinstance(name, tuple) and name[0] != "place" else name
        return ("column", sigma.get(column[1], column[1]), inner)

    return substitute(term, new)


def columns(term: Term) -> Iterator[Term]:
    """The columns in ``term``, also those that a derived table's column stands for."""
    if term[0] == "column":
        yield term
        if isinstance(term[2], tuple):
            yield from columns(term[2])
        return
    for part in term:
        if isinstance(part, tuple) and part:
            yield from columns(part)
        elif isinstance(part, frozenset):
            for inner in part:
                yield from columns(inner)


def equated(term: Term) -> tuple[Term, Term] | None:
    """The two columns that an equality equates; None for any other condition."""
    if term[0] != "EQ" or len(term) != 2 or len(term[1]) != 2:
        return None
    left, right = term[1]
    if left[0] == right[0] == "column" and None not in (left[1], right[1]):
        return left, right
    return None


def column_classes(terms: list[Term]) -> dict[Term, Term]:
    """The columns that the equalities among ``terms`` make equal, each with the one that stands for its class."""
    parent: dict[Term, Term] = {}

    def find(column: Term) -> Term:
        while parent[column] != column:
            column = parent[column]
        return column

    for term in terms:
        pair = equated(term)
        if pair is not None:
            for column in pair:
                parent.setdefault(column, column)
            parent[find(pair[1])] = find(pair[0])
    return {column: find(column) for column in parent}


def distinct_operands(term: Term) -> tuple[Term, ...]:
    """What a ``COUNT(DISTINCT ...)`` counts; nothing for any other term."""
    if term[0] == "Count" and len(term) == 2 and term[1][1][0] == "Distinct":
        return tuple(term[1][1][1][1:])
    return ()


_NULL_READERS = frozenset({"Is", "NullSafeEQ", "NullSafeNEQ", "Coalesce", "Case", "If"})
"""Operators that can give a value other than NULL for an operand that is NULL."""


def null_readers(term: Term) -> Iterator[Term]:
    """The columns for whose NULL the condition ``term`` may be true: those of IS NULL, COALESCE, CASE within it."""
    if term[0] == "Not" and term[1][1][:2] == ("Is", ("expression", ("Null",))):
        return
    if term[0] in _NULL_READERS:
        yield from columns(term)
        return
    for part in term:
        for inner in part if isinstance(part, frozenset) else (part,):
            if isinstance(inner, tuple) and inner:
                yield from null_readers(inner)


def refuses_null(term: Term) -> tuple[Term, ...]:
    """The columns that cannot be NULL where the condition ``term`` is true."""
    if term[0] in ("EQ", "NEQ") and isinstance(term[-1], frozenset):
        operands = tuple(term[1])
    elif term[0] in ("EQ", "NEQ", "LT", "LTE", "GT", "GTE"):
        operands = term[1:]
    elif term[0] in ("Like", "Glob", "In"):
        operands = tuple(part[1] for part in term[1:] if part[0] == "this")
    elif term[0] == "Not" and term[1][1][:2] == ("Is", ("expression", ("Null",))):
        operands = (term[1][1][2][1],)
    else:
        operands = ()
    return tuple(operand for operand in operands if operand[0] == "column")


def count_rows(term: Term, never_null: frozenset[Term]) -> Term:
    """``term`` with ``COUNT(column)`` exchanged for ``COUNT(*)`` where the column is never NULL."""
    if term[0] == "Count" and len(term) == 2 and term[1][1] in never_null:
        return ("Count", ("this", ("Star",)))
    if term[0] == "column":
        return term
    return tuple(
        count_rows(part, never_null)
        if isinstance(part, tuple) and part
        else frozenset(count_rows(inner, never_null) for inner in part)
        if isinstance(part, frozenset)
        else part
        for part in term
    )
