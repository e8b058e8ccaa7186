"""When two results count as the same, by the rules of the official evaluators.

* ``bird_set`` is BIRD's (``evaluation.py``): the sets of rows are equal, columns in order; duplicates and row order are
  ignored.
* ``spider_bag`` is Spider's (test-suite-sql-eval's ``exec_eval.py``, without plugged values): the bags of rows are
  equal up to one permutation of the columns, and in row order when ``order by`` occurs anywhere in the gold query. That
  evaluator rewrites both queries before it runs them: ``spider_gold_text`` and ``spider_predicted_text`` do.
* ``ordered``: the same rows in the same order, columns in order.

Cells are compared as Python does, so 1 equals 1.0. Results too large to be kept are compared by digest, with the same
verdict (``execution_worker.digests``).

Two verdicts of the official evaluators are not followed, since they call a wrong prediction right or a right one wrong:
a statement without a query (empty, a comment, BEGIN) is an error here, where they take it for an empty result, which
equals gold's where that is empty too; and see ``plug_placeholder``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any, Literal, get_args

from learnat.errors import LearnatError, nearest
from learnat.sql.execution import Result
from learnat.sql.execution_worker.digests import DigestKind, digest, sorted_cells

Mode = Literal["bird_set", "spider_bag", "ordered"]
Row = tuple[Any, ...]

# A literal, quoted name, bracketed name or comment is one token, so that a word inside it is never taken for a keyword.
_TOKEN = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]\n]*\]|--[^\n]*|/\*.*?(?:\*/|\Z)|\w+|.""", re.DOTALL
)
_WHITE_SPACE = " \t\n\f\r"
_COMMENT_BEHIND = re.compile(r"(?:[ \t]|--[^\n]*\n)*# ")
_CURRENT_YEAR = re.compile(r"YEAR\s*\(\s*CURDATE\s*\(\s*\)\s*\)\s*", re.IGNORECASE)


def check_mode(mode: str) -> None:
    """Raises ``LearnatError`` when ``mode`` names no comparison."""
    if mode not in get_args(Mode):
        raise LearnatError(f"Unknown comparison mode {mode!r}. {nearest(str(mode), get_args(Mode))}")


def strip_distinct(sql: str) -> str:
    """``sql`` without the keyword DISTINCT, wherever it stands: SELECT DISTINCT and COUNT(DISTINCT …) alike."""
    if "distinct" not in sql.lower():
        return sql
    return "".join(token for token in _TOKEN.findall(sql) if token.lower() != "distinct")


def same_text(sql: str) -> str:
    """A form that statements share which differ in letter case and in the width of white space only.

    What stands in quotes is kept, and so is a text with comments, whose line breaks matter. White space and letters
    are SQLite's: it refuses a no-break space, and tells É from é.
    """
    parts: list[str] = []
    for token in _TOKEN.findall(sql.strip(_WHITE_SPACE)):
        if token.startswith(("--", "/*")):
            return sql
        if token not in _WHITE_SPACE:
            parts.append(token.lower() if token.isascii() and token[0] not in "'\"`[" else token)
        elif parts[-1] != " ":
            parts.append(" ")
    return "".join(parts)


def first_statement(sql: str) -> str:
    """``sql`` up to its first semicolon that is not part of a literal or comment.

    The official splitter (sqlparse) knows MySQL's comments, and takes one behind the semicolon to the statement, which
    SQLite cannot run then: such a text is kept whole.
    """
    length = 0
    for token in _TOKEN.findall(sql):
        if token == ";":
            return sql if _COMMENT_BEHIND.match(sql, length + 1) else sql[:length]
        length += len(token)
    return sql


def spider_gold_text(sql: str) -> str:
    """A query as the official Spider evaluator executes it.

    It joins split operators (``> =``), drops DISTINCT, keeps the first statement and puts a year for MySQL's
    ``YEAR(CURDATE())``.
    """
    sql = sql.replace("> =", ">=").replace("< =", "<=").replace("! =", "!=")
    return _CURRENT_YEAR.sub("2020", strip_distinct(first_statement(sql)))


def plug_placeholder(sql: str, gold: str = "") -> str:
    """A prediction with its placeholder ``value`` read as 1, as the official Spider evaluator does before all else.

    It replaces these letters wherever they stand, in names and strings too, so that gold would fail against itself
    where its columns are called so (no question of Spider's dev split, 20 of its train split). There nothing is
    replaced: the one deviation from the official verdicts that is meant.
    """
    return sql if "value" in gold else sql.replace("value", "1")


def spider_predicted_text(sql: str, gold: str = "") -> str:
    """``spider_gold_text`` for a prediction, its placeholders plugged."""
    return spider_gold_text(plug_placeholder(sql, gold))


def digest_kind(mode: str, gold_sql: str = "") -> DigestKind:
    """The digest that decides ``equal`` with the same arguments; to be asked for by ``Query.digest``."""
    if mode == "bird_set":
        return "set"
    if mode == "ordered":
        return "sequence"
    return "spider_sequence" if _orders(gold_sql) else "spider_bag"


def equal(gold: Result, predicted: Result, mode: str, gold_sql: str = "") -> bool:
    """Whether a prediction's result is the gold one.

    Args:
        mode: ``bird_set``, ``spider_bag`` or ``ordered``.
        gold_sql: the gold query; ``spider_bag`` looks for ``order by`` in it.

    Returns:
        False whenever either query failed, or its rows were cut by a cap and have no digest: what was not seen is
        not equal.

    Raises:
        LearnatError: ``mode`` names no comparison.
    """
    check_mode(mode)
    if not (gold.ok and predicted.ok):
        kind = digest_kind(mode, gold_sql)
        known = _digest(gold, kind)
        return known is not None and known == _digest(predicted, kind)
    if mode == "bird_set":
        return set(gold.rows) == set(predicted.rows)
    if mode == "ordered":
        return gold.rows == predicted.rows
    return _equal_bags(gold.rows, predicted.rows, ordered=_orders(gold_sql))


def _orders(gold_sql: str) -> bool:
    return "order by" in gold_sql.lower()


def _digest(result: Result, kind: DigestKind) -> str | None:
    """The digest of all rows, None where they were not seen."""
    if result.ok:
        return digest(kind, lambda: [result.rows] if result.rows else [])
    return result.digest if result.digest is not None and result.digest.startswith(f"{kind}:") else None


def _equal_bags(gold: list[Row], predicted: list[Row], ordered: bool) -> bool:
    if len(gold) != len(predicted):
        return False
    if not gold:
        return True
    if len(gold[0]) != len(predicted[0]):
        return False
    # Most right predictions return gold's own rows: what is the same in value and type passes every test below.
    if gold == predicted and _types(gold) == _types(predicted):
        return True
    if not _same_cells(gold, predicted, ordered):
        return False
    gold_columns, predicted_columns = list(zip(*gold, strict=True)), list(zip(*predicted, strict=True))
    if ordered:
        # With rows in place a permutation exists exactly when the columns form the same bag.
        return Counter(gold_columns) == Counter(predicted_columns)
    return _some_permutation(gold_columns, predicted_columns)


def _types(rows: list[Row]) -> list[tuple[type, ...]]:
    return [tuple(map(type, row)) for row in rows]


def _same_cells(gold: list[Row], predicted: list[Row], ordered: bool) -> bool:
    """The official evaluator's first test: rows with their cells sorted *as text*.

    It is kept for its verdicts: it tells (1, 10) from (1.0, 10), since "1.0" sorts before "10" and "1" after it.
    """
    gold_sorted, predicted_sorted = ([sorted_cells(row) for row in rows] for rows in (gold, predicted))
    return gold_sorted == predicted_sorted if ordered else set(gold_sorted) == set(predicted_sorted)


def _some_permutation(gold: Sequence[Row], predicted: Sequence[Row]) -> bool:
    """Whether the predicted columns can be reordered so that the bags of rows agree.

    Columns are placed one by one; a placement survives while the rows cut off behind it agree as bags. The official
    evaluator tries all permutations, which twelve similar columns make endless.
    """
    bags = [Counter(column) for column in predicted]
    fitting = [[j for j, bag in enumerate(bags) if bag == wanted] for wanted in map(Counter, gold)]
    if not all(fitting):
        return False
    # The columns with the fewest partners first: they decide most.
    order = sorted(range(len(gold)), key=lambda i: len(fitting[i]))

    def place(depth: int, gold_rows: list[int], predicted_rows: list[int], free: frozenset[int]) -> bool:
        if depth == len(order):
            return True
        i = order[depth]
        tried: set[Row] = set()
        for j in fitting[i]:
            if j not in free or predicted[j] in tried:
                continue
            tried.add(predicted[j])
            names: dict[Hashable, int] = {}
            longer_gold = _prolong(gold_rows, gold[i], names)
            longer_predicted = _prolong(predicted_rows, predicted[j], names)
            if Counter(longer_gold) == Counter(longer_predicted) and place(
                depth + 1, longer_gold, longer_predicted, free - {j}
            ):
                return True
        return False

    start = [0] * len(gold[0])
    return place(0, start, start, frozenset(range(len(predicted))))


def _prolong(rows: list[int], column: Row, names: dict[Hashable, int]) -> list[int]:
    """Rows, known by number, each prolonged by a cell: equal rows get equal new numbers, on both sides."""
    return [names.setdefault(pair, len(names)) for pair in zip(rows, column, strict=True)]
