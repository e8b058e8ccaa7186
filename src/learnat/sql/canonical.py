"""One spelling for every way to write a query.

The order of the stages matters. Names first: a double-quoted name that matches no column, table or alias
is a string literal in SQLite, and only after that is known can columns be qualified and ``*`` expanded.
Then expressions, then instances (aliases), then the places of the parts, which are sorted by the names
that the stage before gave.

The canonical SQL can be executed: it returns what the original returns, in its column order, and in its row
order where the query orders.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from sqlglot import exp
from sqlglot.errors import SqlglotError

from learnat.sql.arrange import add_parentheses, arrange_clauses, arrange_from, arrange_set_operation
from learnat.sql.counting import count_rows
from learnat.sql.instances import inline_ctes, name_instances, unwrap
from learnat.sql.names import resolve
from learnat.sql.parse import SqlParseError, dialect_of, parse
from learnat.sql.rewrite import resort, rewrite
from learnat.sql.schema import Schema
from learnat.sql.walk import nodes


@dataclass(frozen=True, eq=False)
class Canonical:
    """A canonical query. ``unresolved`` lists the names that no table explains; they stay unqualified."""

    ast: exp.Expr
    unresolved: tuple[str, ...]
    dialect: str

    @cached_property
    def sql(self) -> str:
        return dialect_of(self.dialect).generate(self.ast, copy=False, comments=False)

    @property
    def qualified(self) -> bool:
        return not self.unresolved


def canonicalize(sql: str, schema: Schema | None = None, dialect: str = "sqlite") -> str:
    """The canonical text of ``sql``; equal for queries that differ in style only, and idempotent.

    Raises:
        SqlParseError: the text is not one query.
    """
    return canonical(sql, schema, dialect).sql


def canonical_ast(sql: str, schema: Schema | None = None, dialect: str = "sqlite") -> exp.Expr:
    """The canonical tree. It is shared by all callers: copy it before changing it.

    Raises:
        SqlParseError: the text is not one query.
    """
    return canonical(sql, schema, dialect).ast


def canonical(sql: str, schema: Schema | None = None, dialect: str = "sqlite") -> Canonical:
    """The canonical form with what could not be resolved. Cached; failures are cached too.

    Raises:
        SqlParseError: the text is not one query.
    """
    result = _canonical(sql, schema, dialect)
    if isinstance(result, SqlParseError):
        raise result
    return result


@lru_cache(maxsize=2_000)
def _canonical(sql: str, schema: Schema | None, dialect: str) -> Canonical | SqlParseError:
    try:
        form = _build(parse(sql, dialect), schema, dialect)
        # Made here so that text too deep to be written fails here, where it is caught, and not in a property.
        assert form.sql
    except SqlParseError as error:
        return error
    except NONSENSE as error:
        return SqlParseError(f"read but not understood: {error!r}"[:200], 1, 1)
    return form


NONSENSE = (RecursionError, AttributeError, KeyError, IndexError, TypeError, ValueError, SqlglotError)
"""What sqlglot reads is not always a query: parts may be missing, or nested too deeply. No gold query is like that."""


def _build(root: exp.Expr, schema: Schema | None, dialect: str) -> Canonical:
    names = resolve(root, schema)
    while isinstance(root, exp.Subquery) and not any(root.args.get(key) for key in ("order", "limit", "offset")):
        root = root.this
    root.parent = None
    tables = {uid: source.table for uid, source in names.sources.items()}
    root = rewrite(root, tables)
    found = nodes(root)
    kinds = {type(node) for node in found}
    if exp.Count in kinds:
        for node in found:
            if isinstance(node, exp.Select):
                count_rows(node, tables)
    if exp.With in kinds:
        inline_ctes(root)
    if exp.With in kinds or exp.Subquery in kinds:
        root = unwrap(root)
    name_instances(root)
    root = resort(root)
    queries = nodes(root)
    for query in queries:
        if isinstance(query, exp.Select):
            arrange_from(query)
            arrange_clauses(query)
    for query in queries:
        if isinstance(query, exp.SetOperation):
            arrange_set_operation(query)
    add_parentheses(root)
    return Canonical(root, tuple(names.unresolved), dialect)
