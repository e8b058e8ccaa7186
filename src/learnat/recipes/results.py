"""The files of what was scored, for train.py and evaluate.py alike: predictions.jsonl, metrics.json and the tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from learnat.benchmarks.types import Benchmark
from learnat.evaluation.formats import Rows, to_latex, to_markdown, to_terminal
from learnat.evaluation.scores import Verdict
from learnat.inference.answers import Answer
from learnat.recipes.whole_file import write_whole


def prediction_rows(
    benchmark: Benchmark,
    split: str,
    stage: str,
    answers: Sequence[Answer],
    verdicts: Sequence[Verdict],
    values: Mapping[str, Sequence[float | None]] | None = None,
) -> list[dict[str, Any]]:
    """The lines of predictions.jsonl; ``values`` are those of further metrics, one per question."""
    rows: list[dict[str, Any]] = []
    for example, answer, verdict in zip(benchmark.examples(split), answers, verdicts, strict=True):
        rows.append(
            {
                "index": example.index,
                "question": example.question,
                "db_id": example.db_id,
                "split": split,
                "stage": stage,
                "steps": [asdict(step) for step in answer.steps],
                "predicted": answer.sql,
                "executed": verdict.executed,
                "correct": verdict.correct,
                # Where there is no answer, that SQLite cannot run it says nothing.
                "error": answer.failure or verdict.error,
                "failure": answer.failure,
                "guesses": list(answer.guesses),
                "finished": answer.finished,
                "tokens": answer.prompt_tokens + answer.completion_tokens,
                "prompt_tokens": answer.prompt_tokens,
                "cached_tokens": answer.cached_tokens,
                "completion_tokens": answer.completion_tokens,
                "calls": answer.calls,
                "samples": answer.samples,
                "votes": answer.votes,
                **{name: of_metric[len(rows)] for name, of_metric in (values or {}).items()},
            }
        )
    return rows


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` whole or not at all."""
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write one row a line, whole or not at all."""
    write_whole(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_scores(folder: Path, predictions: Sequence[dict[str, Any]], metrics: Mapping[str, Any]) -> None:
    """Write predictions.jsonl (``prediction_rows``) and metrics.json."""
    write_jsonl(folder / "predictions.jsonl", predictions)
    write_json(folder / "metrics.json", metrics)


def show_tables(folder: Path, tables: Sequence[Rows], comparisons: Sequence[str], console: Console) -> None:
    """Print tables and the lines that compare runs, and write them: table.md has both, table.tex the tables."""
    for table in tables:
        console.print(to_terminal(table))
    for line in comparisons:
        console.print(line, soft_wrap=True, markup=False)
    page = [f"## {table.title}\n\n{to_markdown(table)}" for table in tables]
    page += ["## Comparison\n\n" + "".join(f"- {line}\n" for line in comparisons)] if comparisons else []
    (folder / "table.md").write_text("\n".join(page), encoding="utf-8")
    (folder / "table.tex").write_text("\n".join(map(to_latex, tables)), encoding="utf-8")
