"""Draws the questions of one database and checks each against its rows."""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Iterable
from itertools import pairwise

from learnat.benchmarks.generated.families import FAMILIES
from learnat.benchmarks.generated.families.common import Composer, Draft
from learnat.benchmarks.generated.model import GenDatabase, Question
from learnat.benchmarks.generated.words import words

MAX_WORDS = 36
"""Longest question kept."""
MAX_TOKENS = 64
"""Longest SQL kept, in tokens of ``sql_tokens``."""
EMPTY_KEPT = 0.2
"""Probability of keeping a question whose result is empty: the trap of an answer that is rightly nothing."""
EMPTY_SHARE = 0.01
"""At most this share of a database's questions (or one question) is such a trap."""
_TRIES = 25

_TOKEN = re.compile(r"'[^']*'|[A-Za-z_]\w*|\d+(?:\.\d+)?|!=|<=|>=|\S")
_KEYWORDS = frozenset(
    words(
        "SELECT DISTINCT FROM JOIN ON AS WHERE AND OR NOT IN LIKE BETWEEN IS NULL GROUP BY HAVING ORDER ASC DESC LIMIT "
        "EXISTS UNION INTERSECT EXCEPT COUNT SUM AVG MIN MAX strftime"
    )
)


def sql_tokens(sql: str) -> list[str]:
    """The tokens of SQL in the generator's own style."""
    return _TOKEN.findall(sql)


def token_key(sql: str) -> str:
    """The same for every spelling of one query that differs in the order of operands: its tokens, sorted.

    Coarser than the canonical form (two queries that differ may share it), so what is disjoint by it is disjoint by
    the canonical form too, as long as all SQL is in the generator's style.
    """
    return " ".join(sorted(sql_tokens(sql)))


def masked_template(sql: str) -> str:
    """``sql`` with literals as ``?`` and the names of tables and columns as ``_``."""
    parts = []
    for token in sql_tokens(sql):
        if token[0] == "'" or token[0].isdigit():
            parts.append("?")
        elif token in _KEYWORDS or not (token[0].isalpha() or token[0] == "_"):
            parts.append(token)
        else:
            parts.append("_")
    return " ".join(parts).replace("_ . _", "_")


def difficulty(sql: str) -> str:
    """``simple``, ``moderate`` or ``challenging``, by what the query is made of."""
    tokens = sql_tokens(sql)
    points = tokens.count("JOIN") + 2 * (tokens.count("SELECT") - 1)
    points += tokens.count("GROUP") + tokens.count("HAVING") + tokens.count("LIMIT")
    points += max(0, tokens.count("AND") + tokens.count("OR") - tokens.count("BETWEEN") - 1)
    return "simple" if points <= 1 else "moderate" if points <= 2 else "challenging"


def draw_questions(
    db: GenDatabase,
    connection: sqlite3.Connection,
    rng: random.Random,
    count: int,
    known: Iterable[Question] = (),
) -> list[Question]:
    """Up to ``count`` questions about ``db``, no two with the same wording or the same ``token_key``, and none with
    those of a ``known`` question.

    ``connection`` holds its rows. Fewer come back only from a database too small to be asked so much.
    """
    composer = Composer(db, rng)
    names = list(FAMILIES)
    weights = [weight for _, weight in FAMILIES.values()]
    seen_sql, seen_text = set(), set()
    for question in known:
        seen_sql.add(token_key(question.sql))
        seen_text.add(question.question)
    found: list[Question] = []
    empties = 0
    misses = 0
    while len(found) < count and misses < 40 + count // 4:
        family = rng.choices(names, weights)[0]
        for _ in range(_TRIES):
            draft = FAMILIES[family][0](composer)
            if draft is None:
                continue
            text = _finish(draft.question)
            key = token_key(draft.sql)
            if key in seen_sql or text in seen_text or not _is_short(draft, text):
                continue
            empty = _verdict(draft, connection)
            if empty is None or (empty and rng.random() >= EMPTY_KEPT):
                continue
            if empty and empties >= max(1, EMPTY_SHARE * count):
                continue
            empties += empty
            seen_sql.add(key)
            seen_text.add(text)
            found.append(Question(db.db_id, family, text, draft.evidence, draft.sql, difficulty(draft.sql), empty))
            misses = 0
            break
        else:
            misses += 1
    rng.shuffle(found)
    return found


def _finish(question: str) -> str:
    question = re.sub(r"\ball all\b", "all", " ".join(question.split()))
    question = question.replace(" ,", ",")
    return question[0].upper() + question[1:]


def _is_short(draft: Draft, text: str) -> bool:
    return len(text.split()) <= MAX_WORDS and len(sql_tokens(draft.sql)) <= MAX_TOKENS


def _verdict(draft: Draft, connection: sqlite3.Connection) -> bool | None:
    """None for a draft to refuse; else whether its result is empty."""
    rows = connection.execute(draft.sql).fetchall()
    if draft.fewer_than and len(rows) >= draft.fewer_than:
        return None
    if len(rows) == 1 and all(value is None or value == 0 for value in rows[0]):
        return None
    if draft.fewer_than and draft.sql.startswith("SELECT COUNT(*)") and rows[0][0] >= draft.fewer_than:
        return None
    if draft.ranking and not _is_settled(draft, connection):
        return None
    return not rows


def _is_settled(draft: Draft, connection: sqlite3.Connection) -> bool:
    """Whether no tie leaves the order, or what LIMIT keeps, to chance; and LIMIT keeps some of the rows, not all."""
    keys = [row[0] for row in connection.execute(draft.ranking)]
    if draft.limit and len(keys) <= draft.limit:
        return False
    if not draft.limit and len(keys) < 2:
        return False
    compared = keys[: draft.limit + 1] if draft.limit else keys
    return None not in compared and all(first != second for first, second in pairwise(compared))
