"""Results of queries in a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from learnat.sql.execution import Result

BLOB_BYTES = 16
"""Bytes shown of a blob."""


def print_result(console: Console, result: Result, shown: int, indent: int = 0) -> None:
    """Print the first ``shown`` rows and how many there are beyond, or the error."""
    if result.error is not None:
        console.print(" " * indent, visible(result.error), sep="", soft_wrap=True)
        return
    console.print(Padding(result_table(result, shown), (0, 0, 0, indent)))
    if (note := beyond(result, shown)) is not None:
        console.print(" " * indent, note, sep="")


def result_table(result: Result, shown: int) -> Table:
    """The first ``shown`` rows of a result."""
    rows = result.rows[:shown]
    table = Table()
    for position, column in enumerate(result.columns):
        numeric = bool(rows) and all(isinstance(row[position], (int, float, type(None))) for row in rows)
        table.add_column(visible(column), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(cell_text, row))
    return table


def beyond(result: Result, shown: int) -> str | None:
    """What the first ``shown`` rows do not say of a result."""
    more = max(0, len(result.rows) - shown)
    if result.truncated:
        return f"… and more: the result has over {_rows(len(result.rows))}"
    if more:
        return f"… and {_rows(more)} more"
    return None if result.rows else "no rows"


def size_text(result: Result) -> str:
    """How many rows a result has, or why there is none."""
    return result.error or f"{'over ' if result.truncated else ''}{_rows(len(result.rows))}"


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


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"
