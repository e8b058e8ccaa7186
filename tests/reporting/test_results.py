"""Results in a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from learnat.reporting.results import beyond, cell_text, print_result, size_text, visible
from learnat.sql.execution import Result


def result(count: int, truncated: bool = False, error: str | None = None) -> Result:
    return Result(("n",), [(i,) for i in range(count)], error, 0.0, False, truncated)


@given(st.text())
def test_nothing_that_a_terminal_would_obey_is_left(text: str) -> None:
    shown = visible(text).plain
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "NULL"), ("NULL", "NULL"), ("", ""), (0, "0"), (1.5, "1.5"), ("[red]a[/red]\n", "[red]a[/red]\\n"),
        (b"", "x'' (0 bytes)"), (b"\x00" * 40, f"x'{'00' * 16}…' (40 bytes)"),
    ],
)  # fmt: skip
def test_cells(value: object, shown: str) -> None:
    assert cell_text(value).plain == shown


def test_null_is_told_from_the_text() -> None:
    assert cell_text(None).style != cell_text("NULL").style


@pytest.mark.parametrize(
    ("given", "note", "size"),
    [
        (result(0), "no rows", "0 rows"),
        (result(1), None, "1 row"),
        (result(3), None, "3 rows"),
        (result(4), "… and 1 row more", "4 rows"),
        (result(4, truncated=True), "… and more: the result has over 4 rows", "over 4 rows"),
        (result(0, error="no such table: a"), "no rows", "no such table: a"),
    ],
)
def test_what_is_not_shown(given: Result, note: str | None, size: str) -> None:
    assert (beyond(given, 3), size_text(given)) == (note, size)


def test_an_error_is_one_line() -> None:
    console = Console(width=20)
    with console.capture() as capture:
        print_result(console, result(0, error="no such column: a_rather_long_name"), 3, indent=2)
    assert capture.get() == "  no such column: a_rather_long_name\n"
