"""Spider's hardness levels (easy, medium, hard, extra), from the text of a query.

The official evaluator (``evaluation.py`` of taoyds/spider and test-suite-sql-eval, ``eval_hardness``) counts parts of a
parsed query. The training files carry no parse, and its parser needs the schema and fails on much valid SQL, so the
counts are taken from the tokens here. They follow the official ones in what they leave out, too: only the first branch
of a set operation and only its own clauses are looked at, and a subquery counts when it stands in a condition, not in
FROM.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Union

LEVELS = ("easy", "medium", "hard", "extra")

Token = Union[str, "Group"]

_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|--[^\n]*|/\*.*?\*/|[\w.]+|[<>!]=|[^\s]""", re.DOTALL)
SET_OPERATIONS = {"union", "intersect", "except"}
_CLAUSES = {"select", "from", "where", "group", "having", "order", "limit"}
AGGREGATES = {"max", "min", "count", "sum", "avg"}


class Group(list[Token]):
    """What stands between a pair of parentheses."""

    @property
    def is_query(self) -> bool:
        head: Token | None = self[0] if self else None
        return head.is_query if isinstance(head, Group) else head in ("select", "with")


@dataclass(frozen=True)
class Counts:
    """The three figures that decide the level.

    ``clauses``: WHERE, GROUP BY, ORDER BY, LIMIT, joins, ORs and LIKEs (official: component 1).
    ``nested``: subqueries in conditions, and a set operation (component 2).
    ``others``: more than one aggregate, selected column, condition, group key: one point each.
    """

    clauses: int
    nested: int
    others: int


def spider_hardness(sql: str) -> str:
    """The official level of a query: ``easy``, ``medium``, ``hard`` or ``extra``; text that is no query is easy."""
    counts = count_parts(sql)
    if counts.nested == 0:
        if counts.clauses <= 1 and counts.others == 0:
            return "easy"
        if (counts.clauses <= 1 and counts.others <= 2) or (counts.clauses <= 2 and counts.others < 2):
            return "medium"
        if (counts.clauses <= 2 and counts.others > 2) or (counts.clauses == 3 and counts.others <= 2):
            return "hard"
    elif counts.nested == 1 and counts.clauses <= 1 and counts.others == 0:
        return "hard"
    return "extra"


def count_parts(sql: str) -> Counts:
    """The figures of the query's first branch."""
    block, set_operation = _first_branch(group_tokens(sql))
    clauses = split_clauses(block)
    selected = _split(clauses.get("select", Group()), ",")
    group_keys = _split(clauses.get("group", Group()), ",")
    tables, joined_on = joined_tables(clauses.get("from", Group()))
    where = _Conditions(clauses.get("where", Group()))
    having = _Conditions(clauses.get("having", Group()))
    on = _Conditions(joined_on)

    parts = sum(name in clauses for name in ("where", "group", "order", "limit"))
    parts += max(tables - 1, 0)
    parts += sum(condition.ors + condition.likes for condition in (on, where, having))

    # The official count takes a NOT for an aggregate (it reads the wrong field), and in HAVING every AND and OR.
    aggregates = sum(_first_word(item) in AGGREGATES for item in selected)
    aggregates += where.nots + having.nots + having.connectives
    aggregates += sum(word in AGGREGATES for word in _words(clauses.get("order", Group())))
    return Counts(
        clauses=parts,
        nested=on.subqueries + where.subqueries + having.subqueries + int(set_operation),
        others=sum((aggregates > 1, len(selected) > 1, where.connectives > 0, len(group_keys) > 1)),
    )


class _Conditions:
    """Counts over one list of conditions; parentheses around conditions are looked into, subqueries are not."""

    def __init__(self, tokens: Group) -> None:
        self.ors = self.likes = self.nots = self.connectives = self.subqueries = 0
        self._count(tokens)

    def _count(self, tokens: Group) -> None:
        in_between = False
        for token in tokens:
            if isinstance(token, Group):
                if token.is_query:
                    self.subqueries += 1
                else:
                    self._count(token)
            elif token == "between":
                in_between = True
            elif token == "and" and in_between:
                in_between = False
            elif token in ("and", "or"):
                self.connectives += 1
                self.ors += token == "or"
            elif token == "like":
                self.likes += 1
            elif token == "not":
                self.nots += 1


def group_tokens(sql: str) -> Group:
    """Tokens in lower case, parentheses as nested groups; unbalanced ones are tolerated."""
    root = Group()
    stack = [root]
    for token in _TOKEN.findall(sql.lower()):
        if token == "(":
            inner = Group()
            stack[-1].append(inner)
            stack.append(inner)
        elif token == ")":
            if len(stack) > 1:
                stack.pop()
        elif not token.startswith(("--", "/*")) and token != ";":
            stack[-1].append(token)
    return root


def _first_branch(tokens: Group) -> tuple[Group, bool]:
    """The tokens of the first SELECT, and whether a set operation follows it."""
    if tokens and tokens[0] == "with":
        # The official parser knows no CTE: judge the query that follows them.
        start = next((i for i, token in enumerate(tokens) if token == "select"), len(tokens))
        tokens = Group(tokens[start:])
    end = next((i for i, token in enumerate(tokens) if isinstance(token, str) and token in SET_OPERATIONS), None)
    branch = tokens if end is None else Group(tokens[:end])
    if len(branch) == 1 and isinstance(branch[0], Group):
        inner, inner_set_operation = _first_branch(branch[0])
        return inner, inner_set_operation or end is not None
    return branch, end is not None


def split_clauses(tokens: Group) -> dict[str, Group]:
    clauses: dict[str, Group] = {}
    current = Group()
    for token in tokens:
        if isinstance(token, str) and token in _CLAUSES:
            current = clauses.setdefault(token, Group())
        elif token not in ("by", "distinct"):
            current.append(token)
    return clauses


def joined_tables(tokens: Group) -> tuple[int, Group]:
    """How many tables or subqueries FROM joins, and the join conditions, chained by AND."""
    tables = 0
    conditions = Group()
    for source in _split(tokens, "join", ","):
        on = next((i for i, token in enumerate(source) if token == "on"), len(source))
        if conditions and source[on + 1 :]:
            conditions.append("and")
        # What stands before the next JOIN of a source (LEFT, INNER, ...) is no condition and counts as nothing.
        conditions += source[on + 1 :]
        first = source[0] if source else None
        if isinstance(first, Group) and not first.is_query:
            inner_tables, inner_conditions = joined_tables(first)
            tables += inner_tables
            conditions += inner_conditions
        else:
            tables += 1
    return tables, conditions


def _split(tokens: Group, *separators: str) -> list[Group]:
    """The runs between separators; none for no tokens."""
    if not tokens:
        return []
    runs = [Group()]
    for token in tokens:
        if isinstance(token, str) and token in separators:
            runs.append(Group())
        else:
            runs[-1].append(token)
    return runs


def _first_word(tokens: Group) -> str:
    return next(iter(_words(tokens)), "")


def _words(tokens: Group) -> Iterator[str]:
    for token in tokens:
        if not isinstance(token, Group):
            yield token
        elif not token.is_query:
            yield from _words(token)
