"""A table of text in the form of each medium: terminal, Markdown, LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.markup import escape
from rich.table import Table

_LATEX = str.maketrans(
    {
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        "–": "--",
    }
)


_WIDTH = 80
_LEAST_NAME = 10


@dataclass(frozen=True)
class Rows:
    """A table as text. The first ``labels`` columns are names, the others figures; ``note`` stands below."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str
    labels: int


def to_terminal(content: Rows) -> Table:
    """A line is left empty between rows whose first cell differs, where several columns are names.

    Made for 80 columns: names that are too long are folded, figures stay on one line as long as that leaves each name
    ``_LEAST_NAME`` columns, and the ``(n …)`` of a figure stands below it.
    """
    # A file's name may look like markup: run[v1].sql.
    title, note = escape(content.title), escape(content.note) or None
    table = Table(
        title=title,
        caption=note,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 0),
        pad_edge=False,
    )
    rows = [tuple(cell.replace(" (n ", "\n(n ") for cell in row) for row in content.rows]
    names = content.labels * (_LEAST_NAME + 1)
    whole = names + _figures_width(content.columns, rows, content.labels) < _WIDTH
    for position, column in enumerate(content.columns):
        if position < content.labels:
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, justify="right", no_wrap=whole)
    previous = None
    for row in rows:
        if content.labels > 1 and previous not in (None, row[0]):
            table.add_section()
        table.add_row(*map(escape, row))
        previous = row[0]
    return table


def _figures_width(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], labels: int) -> int:
    """Columns of a terminal that the figures take, each with the gap before it."""
    widths = [
        [len(line) for cell in column for line in cell.split("\n")] for column in zip(columns, *rows, strict=True)
    ]
    return sum(max(width) + 1 for width in widths[labels:])


def to_markdown(content: Rows) -> str:
    """Ends with a newline; the title is left to the page around it."""
    figures = len(content.columns) - content.labels
    lines = [content.columns, (*["---"] * content.labels, *["---:"] * figures), *content.rows]
    text = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return text + (f"\n\n{content.note}\n" if content.note else "\n")


def to_latex(content: Rows) -> str:
    """A floating ``table`` for the package booktabs, its note in the caption; ends with a newline."""

    def line(cells: tuple[str, ...]) -> str:
        return " & ".join(cell.translate(_LATEX) for cell in cells) + r" \\"

    caption = ". ".join(filter(None, (content.title, content.note))).translate(_LATEX)
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\begin{{tabular}}{{{'l' * content.labels}{'r' * (len(content.columns) - content.labels)}}}",
            r"\toprule",
            line(content.columns),
            r"\midrule",
            *(line(row) for row in content.rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )
