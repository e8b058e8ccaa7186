"""Tables of scores: one row per stage and split, one column per difficulty; for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

Metrics = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""``{stage: {split: scores}}``, as train.py writes it to metrics.json; ``scores`` is ``Scores.as_dict()``."""

NOT_METRICS = {"intervals", "questions", "provenance"}


@dataclass(frozen=True)
class Rows:
    """A table as text, before it takes the form of a medium."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


def rows(metrics: Metrics, metric: str = "ex") -> Rows:
    """The cells: shares in per cent, ``all`` with its 95 % interval; below, what the figures must be read with."""
    scores = [
        (stage, split, of_split)
        for stage, splits in metrics.items()
        for split, of_split in splits.items()
        if metric in of_split
    ]
    levels = list(dict.fromkeys(level for _, _, of_split in scores for level in of_split[metric]))
    cells = tuple(
        (
            stage,
            split,
            str(of_split.get("questions", {}).get("all", "")),
            *(_cell(of_split, metric, level) for level in levels),
        )
        for stage, split, of_split in scores
    )
    return Rows(("stage", "split", "questions", *levels), cells, _note([of_split for _, _, of_split in scores]))


def score_table(metrics: Metrics, metric: str = "ex", title: str | None = None) -> Table:
    """The table for a terminal."""
    content = rows(metrics, metric)
    table = Table(title=title or f"{metric.upper()}, %", caption=content.note or None, title_justify="left")
    for position, column in enumerate(content.columns):
        table.add_column(column, justify="left" if position < 2 else "right", no_wrap=position < 2)
    previous = None
    for row in content.rows:
        if previous not in (None, row[0]):
            table.add_section()
        table.add_row(*row)
        previous = row[0]
    return table


def score_markdown(metrics: Metrics, metric: str = "ex") -> str:
    """The table as Markdown text, ending with a newline."""
    content = rows(metrics, metric)
    lines = [content.columns, ("---", "---", *["---:"] * (len(content.columns) - 2)), *content.rows]
    text = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return text + (f"\n\n{content.note}\n" if content.note else "\n")


def metric_names(metrics: Metrics) -> list[str]:
    """The metrics that occur, in order of appearance: each makes a table of its own."""
    return list(
        dict.fromkeys(
            name
            for splits in metrics.values()
            for of_split in splits.values()
            for name in of_split
            if name not in NOT_METRICS
        )
    )


def _cell(of_split: Mapping[str, Any], metric: str, level: str) -> str:
    share = of_split[metric].get(level)
    if share is None:
        return "–"
    interval = of_split.get("intervals", {}).get(metric, {}).get(level) if level == "all" else None
    return f"{100 * share:.1f}" + (f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]" if interval else "")


def _note(scores: Sequence[Mapping[str, Any]]) -> str:
    """Comparison mode, databases, SQLite, skipped questions and time-outs; each said once."""
    found = [of_split["provenance"] for of_split in scores if "provenance" in of_split]
    if not found:
        return ""
    parts = [
        f"{label} {', '.join(dict.fromkeys(str(provenance[key]) for provenance in found))}"
        for key, label in (
            ("ex_mode", "comparison"),
            ("database_hash", "databases"),
            ("sqlite_version", "SQLite"),
            ("schema_given", "schema given:"),
        )
    ]
    # Counts follow the rows of the table where they differ.
    for key, label in (
        ("skipped", "skipped"),
        ("timed_out", "timed out"),
        ("truncated", "cut by a cap"),
        ("gold_failed", "gold failed"),
    ):
        counts = [provenance[key] for provenance in found]
        if any(counts) or key in ("skipped", "timed_out"):
            parts.append(f"{label} {counts[0] if len(set(counts)) == 1 else '/'.join(map(str, counts))}")
    return "; ".join(parts)
