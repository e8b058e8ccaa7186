"""A schema as the text a model reads, in three styles."""

from __future__ import annotations

import re
from collections.abc import Callable

from learnat.errors import LearnatError, nearest
from learnat.sql.schema import Column, ForeignKey, Schema, Table

_PLAIN = re.compile(r"[^\W\d]\w*")
# Words that SQLite (3.40) does not take as a bare table or column name everywhere, and the words around JOIN and
# ORDER BY: SQLite takes these, other parsers stumble.
_WORDS = """
    add all alter and as asc autoincrement between by case cast check collate commit constraint create cross
    current_date current_time current_timestamp default deferrable delete desc distinct drop else end escape except
    exists foreign from full group having if in index inner insert intersect into is isnull join left like limit natural
    not nothing notnull null offset on or order outer over primary raise references returning right select set table
    then to transaction union unique update using values when where window with
"""
_RESERVED = frozenset(_WORDS.split())
# SQLite's affinity rules: a declared type with one of these is numeric (sqlite.org/datatype3.html).
_NUMERIC = ("INT", "REAL", "FLOA", "DOUB", "NUM", "DEC", "BOOL")


def serialize(schema: Schema, style: str, samples: int, db_id: str = "") -> str:
    """``schema`` as text, without a newline at the end.

    Args:
        style: ``compact`` (a line a table, a line a foreign key: the fewest tokens), ``ddl`` (CREATE TABLE statements
            that SQLite accepts, descriptions and samples as comments) or ``m_schema`` (the form of XiYan-SQL,
            arXiv 2411.08599).
        samples: how many of the sample values that a column carries are shown, 0 for none.
        db_id: the database's name, which ``m_schema`` begins with; left out when empty.

    Raises:
        LearnatError: the style is not known.
    """
    if style not in STYLES:
        raise LearnatError(f"the schema style {style!r} is not known (data.schema_style). {nearest(style, STYLES)}")
    return STYLES[style](schema, samples, db_id)


def quote_name(name: str) -> str:
    """``name`` as it stands in SQL: in backticks where SQLite needs quotes (a typing mistake in double quotes would
    silently become a string)."""
    if _PLAIN.fullmatch(name) and name.casefold() not in _RESERVED:
        return name
    return "`" + name.replace("`", "``") + "`"


def _compact(schema: Schema, samples: int, db_id: str) -> str:
    lines = []
    for table in schema.tables:
        columns = []
        for column in table.columns:
            values = ", ".join(_literal(column, value) for value in column.samples[:samples])
            columns.append(quote_name(column.name) + (f" ({values})" if values else ""))
        lines.append(f"{quote_name(table.name)}: {', '.join(columns)}")
    lines += [_equation(key, " = ") for key in schema.foreign_keys]
    return "\n".join(lines)


def _ddl(schema: Schema, samples: int, db_id: str) -> str:
    return "\n\n".join(_create_table(table, schema, samples) for table in schema.tables)


def _create_table(table: Table, schema: Schema, samples: int) -> str:
    keys = table.primary_key
    # Each item: the SQL of a column or constraint, and the comment behind it.
    items: list[tuple[str, str]] = []
    for column in table.columns:
        inline = " PRIMARY KEY" if column.primary_key and len(keys) == 1 else ""
        values = ", ".join(_literal(column, value) for value in column.samples[:samples])
        notes = [note for note in (_one_line(column.description), f"examples: {values}" if values else "") if note]
        items.append((f"{quote_name(column.name)} {column.type}".rstrip() + inline, "; ".join(notes)))
    if len(keys) > 1:
        items.append((f"PRIMARY KEY ({', '.join(quote_name(column.name) for column in keys)})", ""))
    for key in schema.foreign_keys:
        if key.table.casefold() == table.name.casefold():
            target = f"{quote_name(key.ref_table)} ({quote_name(key.ref_column)})"
            items.append((f"FOREIGN KEY ({quote_name(key.column)}) REFERENCES {target}", ""))
    lines = [
        f"  {sql}{',' if index < len(items) - 1 else ''}{f' -- {note}' if note else ''}"
        for index, (sql, note) in enumerate(items)
    ]
    head = f"CREATE TABLE {quote_name(table.name)} ("
    if table.description:
        head += f" -- {_one_line(table.description)}"
    return "\n".join([head, *lines, ");"])


def _m_schema(schema: Schema, samples: int, db_id: str) -> str:
    lines = ([f"【DB_ID】 {db_id}"] if db_id else []) + ["【Schema】"]
    for table in schema.tables:
        about = f", {_one_line(table.description)}" if table.description else ""
        lines += [f"# Table: {quote_name(table.name)}{about}", "["]
        lines.append(",\n".join(_m_column(column, samples) for column in table.columns))
        lines.append("]")
    if schema.foreign_keys:
        lines += ["【Foreign keys】", *(_equation(key, "=") for key in schema.foreign_keys)]
    return "\n".join(lines)


def _m_column(column: Column, samples: int) -> str:
    kind = column.type.partition("(")[0].strip().upper() or "TEXT"
    parts = [f"{quote_name(column.name)}:{kind}"]
    if column.description:
        parts.append(_one_line(column.description))
    if column.primary_key:
        parts.append("Primary Key")
    if values := column.samples[:samples]:
        parts.append(f"Examples: [{', '.join(values)}]")
    return f"({', '.join(parts)})"


def _equation(key: ForeignKey, equals: str) -> str:
    left = f"{quote_name(key.table)}.{quote_name(key.column)}"
    return f"{left}{equals}{quote_name(key.ref_table)}.{quote_name(key.ref_column)}"


def _literal(column: Column, value: str) -> str:
    """A sample as SQL writes it: bare where the column is numeric and the value is a number, quoted otherwise."""
    if any(word in column.type.upper() for word in _NUMERIC) and _is_number(value):
        return value
    return "'" + value.replace("'", "''") + "'"


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?\d+(\.\d*)?(e[-+]?\d+)?", text, re.IGNORECASE) is not None


def _one_line(text: str) -> str:
    return " ".join(text.split())


STYLES: dict[str, Callable[[Schema, int, str], str]] = {"compact": _compact, "ddl": _ddl, "m_schema": _m_schema}
"""The styles by name: each takes schema, samples and db_id."""
