"""Which tables and columns a query reads."""

from __future__ import annotations

import pytest

from learnat.sql.mentions import mentioned_columns
from learnat.sql.parse import SqlParseError
from tests.inference.music import SCHEMA

CASES = [
    ("SELECT count(*) FROM singer", {"singer": set()}),
    ("SELECT NAME FROM Singer WHERE Age > 40", {"singer": {"name", "age"}}),
    ('SELECT name FROM singer WHERE country = "France"', {"singer": {"name", "country"}}),
    ("SELECT * FROM venue", {"venue": {"id", "city", "seats"}}),
    ("SELECT T1.name FROM singer AS T1 JOIN performs AS T2 ON T1.id = T2.singer_id ORDER BY fee",
     {"singer": {"name", "id"}, "performs": {"singer_id", "fee"}}),
    ("SELECT city FROM venue WHERE id IN (SELECT venue_id FROM concert WHERE year = 2014) AND seats > 10",
     {"venue": {"city", "id", "seats"}, "concert": {"venue_id", "year"}}),
    ("WITH old AS (SELECT id AS key FROM singer WHERE age > 40) SELECT count(key) FROM old", {"singer": {"id", "age"}}),
    ("SELECT name FROM singer EXCEPT SELECT city FROM venue", {"singer": {"name"}, "venue": {"city"}}),
    ("SELECT rowid, nothing FROM singer, nowhere", {"singer": set()}),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "columns"), CASES, ids=[sql for sql, _ in CASES])
def test_columns_are_known_by_their_table(sql: str, columns: dict[str, set[str]]) -> None:
    assert mentioned_columns(sql, SCHEMA) == columns


def test_what_is_no_query_is_refused() -> None:
    with pytest.raises(SqlParseError):
        mentioned_columns("SELECT FROM WHERE", SCHEMA)
