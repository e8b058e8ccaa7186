"""Results of queries in a terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from learnat.sql.execution import Result

BLOB_BYTES = 16
"""Bytes shown of a blob."""


def result_table(result: Result, shown: int) -> Table:
    """The first ``shown`` rows of ``result``, and below them how many there are beyond."""
    rows = result.rows[:shown]
    table = Table(caption=_caption(result, len(rows)), caption_justify="left")
    for position, column in enumerate(result.columns):
        numeric = all(isinstance(row[position], (int, float, type(None))) for row in rows)
        table.add_column(visible(column), justify="right" if numeric and rows else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(cell_text, row))
    return table


def cell_text(value: Any) -> Text:
    """A cell: NULL told from text, a blob in hexadecimal digits."""
    if value is None:
        return Text("NULL", style="dim italic")
    if isinstance(value, bytes):
        more = "…" if len(value) > BLOB_BYTES else ""
        return Text(f"x'{value[:BLOB_BYTES].hex()}{more}' ({len(value)} bytes)")
    return visible(str(value))


def visible(text: str) -> Text:
    """``text`` with what a terminal would obey, escape sequences and line breaks above all, spelt out."""
    return Text("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))


def size_text(result: Result) -> str:
    """How many rows a result has, or why there is none."""
    if result.error is not None:
        return result.error
    count = len(result.rows)
    return f"{'at least ' if result.truncated else ''}{count} row{'' if count == 1 else 's'}"


def _caption(result: Result, shown: int) -> str:
    more = len(result.rows) - shown
    if more or result.truncated:
        return f"… and {'at least ' if result.truncated else ''}{more} more"
    return "" if result.rows else "no rows"
