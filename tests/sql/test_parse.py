"""What is one query and what is not; where an error is said to be."""

from __future__ import annotations

import pickle

import pytest
from sqlglot import exp

from learnat.sql import SqlParseError
from learnat.sql.parse import DOUBLE_QUOTED, dialect_of, fold, parse


@pytest.mark.parametrize(
    ("sql", "line", "column"),
    [
        ("SELECT a\nFROM t WHERE a = ", 2, 16),
        ("SELECT a frm t WHERE", 1, 14),
        ("SELECT a FROM t\nWHERE b = 'open", 2, 15),
        ("", 1, 1),
        ("-- nothing", 1, 1),
        ("DELETE FROM t", 1, 1),
        ("SELECT 1; SELECT 2", 1, 1),
        ("((", 1, 2),
        ("SELECT * FROM", 1, 13),
        ("why not ask politely?", 1, 5),
    ],
)
def test_an_error_has_a_line_and_a_column(sql: str, line: int, column: int) -> None:
    with pytest.raises(SqlParseError) as caught:
        parse(sql)
    assert caught.value.line == line
    assert abs(caught.value.column - column) <= 4
    assert f"line {line}" in str(caught.value)


def test_an_error_survives_pickling() -> None:
    with pytest.raises(SqlParseError) as caught:
        parse("SELECT (")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.line, again.column) == (str(caught.value), caught.value.line, caught.value.column)


def test_a_semicolon_and_comments_are_no_second_statement() -> None:
    assert isinstance(parse("SELECT 1; -- done\n"), exp.Select)


def test_double_quotes_are_told_from_backticks_and_brackets() -> None:
    names = {n.name: bool(n.meta.get(DOUBLE_QUOTED)) for n in parse('SELECT "a", `b`, [c], d').find_all(exp.Identifier)}
    assert names == {"a": True, "b": False, "c": False, "d": False}


@pytest.mark.parametrize(
    "expression",
    [
        "STRFTIME('%Y', a, 'start of month')",
        "DATE('now', '-1 day')",
        "INSTR(a, 'b')",
        "CAST(a AS NUMERIC)",
        "GROUP_CONCAT(DISTINCT a)",
        "MAX(a, 1)",
        "REPLACE(a, 'x', 'y')",
        "SUBSTR(a, -3)",
        "JULIANDAY('now') - JULIANDAY(a)",
        "SUM(a) OVER (PARTITION BY b ORDER BY c ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
    ],
)
def test_functions_are_written_as_they_were_read(expression: str) -> None:
    sql = f"SELECT {expression} FROM t"
    assert parse(sql).sql(dialect_of("sqlite")) == sql


def test_folding_is_ascii_only_as_in_sqlite() -> None:
    assert fold("ÉcoLE") == "École"
    assert fold("Größe (X)") == "größe (x)"
