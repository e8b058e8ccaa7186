"""One table for all jobs of a sweep, read from what each left in its folder."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich import get_console
from rich.table import Table

from learnat.reporting.jobs import ERROR_FILE, job_folders, overrides_of

METRICS_FILE = "metrics.json"
SUMMARY_FILE = "summary.json"
TABLE_FILE = "sweep.csv"
SYNTHESIS_COLUMNS = {
    "solved": "solved",
    "calls per solved": "calls_per_solved",
    "nodes per solved": "nodes_per_solved",
    "branching": "branching",
}
"""Columns of a sweep over syntheses, by their key in summary.json."""


@dataclass(frozen=True)
class Job:
    """One job: its overrides by key, the last stage it reached, its score by column, or what went wrong."""

    number: str
    overrides: dict[str, str]
    stage: str
    scores: dict[str, float]
    error: str


class SweepTable(Callback):
    """After a sweep: prints the table, writes it as ``sweep.csv``, and exits with 1 if a job failed."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        jobs = read_jobs(folder)
        if not jobs:
            return
        header, rows = tabulate(jobs)
        table = Table(*header, title=f"{len(jobs)} jobs")
        for row in rows:
            table.add_row(*row)
        get_console().print(table)
        with (folder / TABLE_FILE).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
        print_run_folder(folder)
        if any(job.error for job in jobs):
            raise SystemExit(1)


def print_run_folder(folder: Path) -> None:
    """The last line of every command."""
    print(f"Run folder: {os.path.relpath(folder)}", flush=True)


def read_jobs(folder: Path) -> list[Job]:
    """The jobs below a sweep's folder, by number."""
    return [_read_job(job) for job in job_folders(folder)]


def _read_job(folder: Path) -> Job:
    stage, scores = read_scores(folder)
    error = folder / ERROR_FILE
    text = error.read_text(encoding="utf-8").strip() if error.is_file() else "" if scores else "no result"
    return Job(folder.name, overrides_of(folder), stage, scores, text)


def read_scores(folder: Path) -> tuple[str, dict[str, float]]:
    """The last stage's name and its execution accuracy for each split; for a synthesis run what its trees cost."""
    metrics = _read_json(folder / METRICS_FILE)
    metrics.pop("provenance", None)
    if "ex" in metrics:
        return "", {"EX": float(metrics["ex"]["all"])}
    if metrics:
        stage = list(metrics)[-1]
        return stage, {f"EX {split}": float(scores["ex"]["all"]) for split, scores in metrics[stage].items()}
    summary = _read_json(folder / SUMMARY_FILE)
    return "", {column: float(summary[key]) for column, key in SYNTHESIS_COLUMNS.items() if key in summary}


def objective(folder: Path) -> float | None:
    """What an optimising sweeper maximises: the mean execution accuracy, or the share of questions solved."""
    scores = [score for column, score in read_scores(folder)[1].items() if column.startswith(("EX", "solved"))]
    return sum(scores) / len(scores) if scores else None


def tabulate(jobs: list[Job]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: the overrides that differ between jobs, the stage, the scores, and errors if there are any."""
    keys = list(dict.fromkeys(key for job in jobs for key in job.overrides))
    varied = [key for key in keys if len({job.overrides.get(key) for job in jobs}) > 1]
    columns = list(dict.fromkeys(column for job in jobs for column in job.scores))
    staged, failed = any(job.stage for job in jobs), any(job.error for job in jobs)
    header = ["job", *varied, *(["stage"] if staged else []), *columns, *(["failed"] if failed else [])]
    rows = [
        [
            job.number,
            *(job.overrides.get(key, "") for key in varied),
            *([job.stage] if staged else []),
            *(f"{job.scores[column]:.4f}" if column in job.scores else "" for column in columns),
            *([" ".join(job.error.split())] if failed else []),
        ]
        for job in jobs
    ]
    return header, rows


def _read_json(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    assert isinstance(content, dict)
    return content
