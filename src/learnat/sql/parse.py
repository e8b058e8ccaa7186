"""SQL text to a sqlglot tree, with SQLite's own reading of quotes, functions and casts."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.dialects.sqlite import SQLite
from sqlglot.errors import ParseError, SqlglotError, TokenError

from learnat.sql.walk import select_nodes

DOUBLE_QUOTED = "double_quoted"
"""Key in an identifier's ``meta``: it was written ``"so"``, which SQLite may read as a string."""

_SAFE_NAME = re.compile(r"[a-z_][a-z0-9_]*\Z")
_UPPER = re.compile(r"[A-Z]+")
_FUNCTIONS_KEPT = frozenset(
    "ABS AVG COALESCE COUNT IF IFNULL IIF LENGTH LOWER MAX MIN NULLIF ROUND SUM UPPER "
    "RANK DENSE_RANK ROW_NUMBER NTILE LAG LEAD FIRST_VALUE LAST_VALUE".split()
)
_FUNCTION_PARSERS_KEPT = frozenset({"CAST"})


class SqlParseError(ValueError):
    """The text is not one SQL query. ``line`` and ``column`` are 1-based and point at the offending token."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(f"{message} (line {line}, column {column})")
        self.line = line
        self.column = column

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_error, (str(self), self.line, self.column)


def _rebuild_error(text: str, line: int, column: int) -> SqlParseError:
    error = SqlParseError.__new__(SqlParseError)
    ValueError.__init__(error, text)
    error.line, error.column = line, column
    return error


_SqliteParser: Any = SQLite.Parser
_SqliteGenerator: Any = SQLite.Generator
_SqliteTokenizer: Any = SQLite.Tokenizer
_OTHER_AFFINITY = frozenset({"BLOB", "BYTE", "SHORT", "LONG", "STR", "STRING"})
"""Type names that sqlglot replaces by ones of another affinity (VARBINARY, INT and TEXT)."""


class _Parser(_SqliteParser):
    # sqlglot turns many functions into dialect-neutral nodes and back (STRFTIME, DATE, INSTR, ...), which
    # rewrites their text. Only functions whose meaning we use get a node; the others keep name and arguments.
    FUNCTIONS: ClassVar[dict[str, Any]] = {
        **{name: build for name, build in _SqliteParser.FUNCTIONS.items() if name in _FUNCTIONS_KEPT},
    }
    FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
        name: parser for name, parser in _SqliteParser.FUNCTION_PARSERS.items() if name in _FUNCTION_PARSERS_KEPT
    }


class _Generator(_SqliteGenerator):
    TYPE_MAPPING: ClassVar[dict[Any, str]] = {
        **_SqliteGenerator.TYPE_MAPPING,
        exp.DataType.Type.DECIMAL: "NUMERIC",
    }
    # The rewrites that sqlglot makes for SELECT (DISTINCT ON, QUALIFY, semi joins) concern other dialects.
    TRANSFORMS: ClassVar[dict[Any, Any]] = {
        kind: make for kind, make in _SqliteGenerator.TRANSFORMS.items() if kind is not exp.Select
    }


class LearnatSqlite(SQLite):
    """SQLite for gold queries: names are written in backticks, because a double-quoted name may be a string."""

    class Tokenizer(SQLite.Tokenizer):
        IDENTIFIERS: ClassVar[list[str | tuple[str, str]]] = ["`", '"', ("[", "]")]
        # As names that sqlglot does not know they keep their spelling, from which SQLite takes a cast's affinity.
        KEYWORDS: ClassVar[dict[str, Any]] = {
            word: token for word, token in _SqliteTokenizer.KEYWORDS.items() if word not in _OTHER_AFFINITY
        }

    Parser = _Parser
    Generator = _Generator


def dialect_of(name: str) -> Dialect:
    """The sqlglot dialect used for ``name``; ours for SQLite. Raises ValueError for an unknown name."""
    return _SQLITE if name == "sqlite" else Dialect.get_or_raise(name)


_SQLITE = LearnatSqlite()


def parse(sql: str, dialect: str = "sqlite") -> exp.Query:
    """Parse one query (SELECT, WITH, VALUES or a set operation).

    Raises:
        SqlParseError: not parsable, several statements, or not a query.
    """
    engine = dialect_of(dialect)
    try:
        trees = [tree for tree in engine.parse(sql) if tree is not None]
    except ParseError as error:
        first = error.errors[0] if error.errors else {}
        line, column = first.get("line") or 1, first.get("col") or 1
        raise SqlParseError(str(first.get("description") or error), line, column) from None
    except TokenError as error:
        line, column = _position(sql, len(sql) if error.end is None else error.end)
        raise SqlParseError("unfinished quote or bad character", line, column) from None
    except (SqlglotError, RecursionError, ValueError, IndexError, AttributeError, TypeError) as error:
        # sqlglot's parser is not total: odd text may escape as a plain Python error.
        raise SqlParseError(f"not parsable: {error}", 1, 1) from None
    trees = [tree for tree in trees if not isinstance(tree, exp.Semicolon)]
    if len(trees) != 1 or isinstance(trees[0], exp.Block):
        what = "no statement" if not trees else "more than one statement"
        raise SqlParseError(what, 1, 1)
    tree = trees[0]
    if not isinstance(tree, exp.Query):
        raise SqlParseError(f"not a query but {type(tree).__name__.upper()}", 1, 1)
    if dialect == "sqlite" and '"' in sql:
        for identifier in select_nodes(tree, exp.Identifier):
            start = identifier.meta.get("start") if identifier.args.get("quoted") else None
            if start is not None and sql[start] == '"':
                identifier.meta[DOUBLE_QUOTED] = True
    return tree


def _position(sql: str, offset: int) -> tuple[int, int]:
    before = sql[:offset]
    return before.count("\n") + 1, max(1, len(before) - (before.rfind("\n") + 1))


def fold(name: str) -> str:
    """Lower case as SQLite compares names: ASCII letters only, so that É and é stay two names."""
    return name.lower() if name.isascii() else _UPPER.sub(lambda match: match.group().lower(), name)


def identifier(name: str) -> exp.Identifier:
    """An identifier quoted only where SQLite needs it."""
    return exp.Identifier(this=name, quoted=not _SAFE_NAME.match(name) or name.upper() in _KEYWORDS)


_KEYWORDS = frozenset(
    """ABORT ACTION ADD AFTER ALL ALTER ALWAYS ANALYZE AND AS ASC ATTACH AUTOINCREMENT BEFORE BEGIN BETWEEN BY
    CASCADE CASE CAST CHECK COLLATE COLUMN COMMIT CONFLICT CONSTRAINT CREATE CROSS CURRENT CURRENT_DATE CURRENT_TIME
    CURRENT_TIMESTAMP DATABASE DEFAULT DEFERRABLE DEFERRED DELETE DESC DETACH DISTINCT DO DROP EACH ELSE END ESCAPE
    EXCEPT EXCLUDE EXCLUSIVE EXISTS EXPLAIN FAIL FALSE FILTER FIRST FOLLOWING FOR FOREIGN FROM FULL GENERATED GLOB
    GROUP GROUPS HAVING IF IGNORE IMMEDIATE IN INDEX INDEXED INITIALLY INNER INSERT INSTEAD INTERSECT INTO IS ISNULL
    JOIN KEY LAST LEFT LIKE LIMIT MATCH MATERIALIZED NATURAL NO NOT NOTHING NOTNULL NULL NULLS OF OFFSET ON OR ORDER
    OTHERS OUTER OVER PARTITION PLAN PRAGMA PRECEDING PRIMARY QUERY RAISE RANGE RECURSIVE REFERENCES REGEXP REINDEX
    RELEASE RENAME REPLACE RESTRICT RETURNING RIGHT ROLLBACK ROW ROWS SAVEPOINT SELECT SET TABLE TEMP TEMPORARY THEN
    TIES TO TRANSACTION TRIGGER TRUE UNBOUNDED UNION UNIQUE UPDATE USING VACUUM VALUES VIEW VIRTUAL WHEN WHERE WINDOW
    WITH WITHOUT
    DATE DATETIME TIME TIMESTAMP INTERVAL ANTI SEMI APPLY ASOF ARRAY STRUCT MAP TOP FETCH QUALIFY PIVOT UNPIVOT
    LATERAL UNNEST SOME ANY DIV SHOW DESCRIBE COMMENT COPY MERGE KILL LOAD USE CACHE UNCACHE TRUNCATE PERCENT
    OVERLAPS XOR SIMILAR ILIKE RLIKE CONNECT START PRIOR CLUSTER DISTRIBUTE SORT SAMPLE TABLESAMPLE STRAIGHT_JOIN
    PREWHERE SETTINGS FORMAT FINAL GRANT REVOKE LOCK ONLY OPTION VARYING COLLATION CHAR INT INTEGER REAL TEXT BLOB
    NUMERIC DOUBLE FLOAT DECIMAL VARCHAR BOOLEAN JSON UUID YEAR OBJECT VARIANT POSITION EXTRACT TRIM SUBSTRING
    CURRENT_USER SESSION_USER LOCALTIME LOCALTIMESTAMP MODEL PROCEDURE FUNCTION SEQUENCE DICTIONARY""".split()
)
"""SQLite's keywords, and words that sqlglot's tokenizer or parser may treat as more than a name."""
