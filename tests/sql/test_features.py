"""Each feature is found where it is used, and only there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnat.sql.features import FEATURES, query_features
from learnat.sql.results import same_text


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT a FROM t WHERE b = 'or like join'", {"plain"}),
        ("SELECT a FROM t JOIN u ON t.i = u.i", {"join"}),
        ("SELECT a FROM t, u", {"join"}),
        ("SELECT a FROM t WHERE b IN (SELECT c FROM u)", {"subquery"}),
        ("SELECT a FROM t WHERE b IN (1, 2)", {"plain"}),
        ("SELECT a FROM (SELECT a FROM t JOIN u)", {"subquery", "join"}),
        ("SELECT (SELECT 1)", {"subquery"}),
        ("SELECT a FROM t UNION ALL SELECT b FROM u", {"set operation"}),
        ("(SELECT a FROM t) EXCEPT (SELECT b FROM u)", {"set operation"}),
        ("SELECT a, count(*) FROM t GROUP BY a HAVING count(*) > 1", {"aggregate", "grouping", "having"}),
        ("SELECT count FROM t", {"plain"}),
        ("SELECT DISTINCT a FROM t ORDER BY a LIMIT 3", {"distinct", "ordering", "limit"}),
        ("SELECT a FROM t WHERE a LIKE 'x' OR b IS NULL", {"like", "or", "null test"}),
        ("SELECT CASE WHEN a THEN 1 END FROM t", {"case"}),
        ("WITH c AS (SELECT a AS b FROM t) SELECT b FROM c", {"cte"}),
        ("WITH c AS (SELECT 1) SELECT * FROM c WHERE x IN (SELECT 2)", {"cte", "subquery"}),
        ("SELECT row_number() OVER (ORDER BY a) FROM t", {"window", "ordering"}),
        ("", {"plain"}),
    ],
)
def test_features(sql: str, expected: set[str]) -> None:
    assert set(query_features(sql)) == expected


@given(st.text(max_size=80))
def test_any_text_has_features(sql: str) -> None:
    found = query_features(sql)
    assert found and set(found) <= set(FEATURES)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("SELECT a  FROM t", " select A\nfrom T ", True),
        ("SELECT 'a  b'", "SELECT 'a b'", False),
        ("SELECT 'A'", "SELECT 'a'", False),
        ('SELECT "A"', 'SELECT "a"', False),
        ("SELECT a < > b", "SELECT a <> b", False),
        ("SELECT 1 -- x\n+ 1", "SELECT 1 -- x + 1", False),
        ("SELECT a FROM t", "SELECT a\u00a0FROM t", False),
        ("SELECT a FROM t", "SELECT a\x0bFROM t", False),
        ("SELECT É FROM t", "SELECT é FROM t", False),
    ],
)
def test_same_text(one: str, other: str, same: bool) -> None:
    assert (same_text(one) == same_text(other)) is same
