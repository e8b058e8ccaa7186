"""What a query uses, by name: joins, subqueries, grouping, …; scores are broken down by it.

Told from the tokens, like ``hardness``, so that any text has an answer and a thousand queries cost little time.
"""

from __future__ import annotations

from collections.abc import Iterator

from learnat.sql.hardness import AGGREGATES, SET_OPERATIONS, Group, Token, group_tokens, joined_tables, split_clauses

FEATURES = (
    "join",
    "subquery",
    "set operation",
    "grouping",
    "having",
    "ordering",
    "limit",
    "aggregate",
    "distinct",
    "or",
    "like",
    "null test",
    "case",
    "cte",
    "window",
    "plain",
)
_CLAUSES = {"group": "grouping", "having": "having", "order": "ordering", "limit": "limit"}
_WORDS = {"distinct": "distinct", "or": "or", "like": "like", "case": "case", "with": "cte", "over": "window"}


def query_features(sql: str) -> tuple[str, ...]:
    """The ``FEATURES`` of a query, wherever in it they occur; one without any is ``plain``."""
    found = set(_of_group(group_tokens(sql)))
    return tuple(feature for feature in FEATURES if feature in found) or ("plain",)


def _of_group(tokens: Group) -> Iterator[str]:
    for branch in _branches(tokens):
        clauses = split_clauses(branch)
        yield from (feature for clause, feature in _CLAUSES.items() if clause in clauses)
        if joined_tables(clauses.get("from", Group()))[0] > 1:
            yield "join"
        for before, token, after in zip([None, *branch], branch, [*branch[1:], None], strict=False):
            if isinstance(token, Group):
                yield from _of_group(token)
                # A branch that is nothing but a query in brackets is that query; one behind AS is a CTE's.
                if token.is_query and len(branch) > 1 and before != "as":
                    yield "subquery"
            else:
                yield from _of_word(token, after)
    if any(token in SET_OPERATIONS for token in tokens if isinstance(token, str)):
        yield "set operation"


def _of_word(word: str, following: Token | None) -> Iterator[str]:
    if word in AGGREGATES and isinstance(following, Group):
        yield "aggregate"
    elif word == "is":
        yield "null test"
    elif word in _WORDS:
        yield _WORDS[word]


def _branches(tokens: Group) -> Iterator[Group]:
    """The SELECTs that set operations combine, or all tokens."""
    branch = Group()
    for token in tokens:
        if isinstance(token, str) and token in SET_OPERATIONS:
            yield branch
            branch = Group()
        elif token != "all" or branch:
            branch.append(token)
    yield branch
