"""Hardness equals the official levels, and each rule of the official count holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from learnat.sql.hardness import Counts, count_parts, spider_hardness


@pytest.mark.parametrize(
    ("sql", "clauses", "nested", "others"),
    [
        ("SELECT a FROM t", 0, 0, 0),
        ("SELECT count(*) FROM t WHERE a = 1", 1, 0, 0),
        ("SELECT a, b FROM t", 0, 0, 1),
        ("SELECT max(a), min(b) FROM t", 0, 0, 2),
        ("SELECT a FROM t WHERE b = 1 OR c LIKE '%or%'", 3, 0, 1),
        ("SELECT a FROM t WHERE b BETWEEN 1 AND 2", 1, 0, 0),
        ("SELECT a FROM t AS x JOIN u AS y ON x.i = y.i JOIN v ON v.i = y.i", 2, 0, 0),
        ("SELECT a FROM t, u WHERE t.i = u.i", 2, 0, 0),
        ("SELECT a FROM t GROUP BY a, b HAVING count(*) > 1 ORDER BY count(*) DESC LIMIT 1", 3, 0, 1),
        # In HAVING the official count takes AND for an aggregate; in WHERE it takes NOT for one.
        ("SELECT a FROM t GROUP BY a HAVING count(*) > 1 AND sum(b) < 2 AND sum(c) < 3", 1, 0, 1),
        ("SELECT a FROM t WHERE NOT b = 1 AND c NOT LIKE 'x'", 2, 0, 2),
        ("SELECT a FROM t WHERE b IN (SELECT c FROM u WHERE d IN (SELECT e FROM v))", 1, 1, 0),
        ("SELECT a FROM t WHERE (b = 1 OR c > (SELECT avg(c) FROM t))", 2, 1, 1),
        ("SELECT a FROM (SELECT a FROM t WHERE b = 1) WHERE a > 2", 1, 0, 0),
        # What follows the set operation belongs to its second branch.
        ("SELECT a FROM t UNION SELECT b FROM u WHERE c = 1 ORDER BY b LIMIT 1", 0, 1, 0),
        ("(SELECT a FROM t WHERE b = 1) EXCEPT (SELECT a FROM u)", 1, 1, 0),
        ("SELECT a FROM t WHERE b = 'union select, or (' -- or\n;", 1, 0, 0),
    ],
)
def test_counts(sql: str, clauses: int, nested: int, others: int) -> None:
    assert count_parts(sql) == Counts(clauses, nested, others)


@pytest.mark.parametrize("sql", ["", ")", "((", "SELECT", "hello world", "SELECT 'open", "WITH c AS", "FROM FROM ("])
def test_what_is_no_query_gets_a_level(sql: str) -> None:
    assert spider_hardness(sql) in ("easy", "medium", "hard", "extra")


def test_all_official_levels(learnat_data: Path) -> None:
    questions = json.loads((learnat_data / "spider/dev.json").read_text())
    official = json.loads((learnat_data / "parity/spider_dev_dail_gpt4.json").read_text())
    assert len(official) == 1034
    assert [v["index"] for v in official if spider_hardness(questions[v["index"]]["query"]) != v["hardness"]] == []
