"""The rows of calls.csv: written as they come, read again, and summarised over checkpoints."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from filelock import FileLock

from learnat.errors import LearnatError

FILE_NAME = "calls.csv"
COLUMNS = "label,method,n,questions,ex,ex_sd,any_right,failed,calls,prompt_tokens,completion_tokens,tokens".split(",")


@dataclass(frozen=True)
class Point:
    """What votes over ``n`` samples a question gave by one method, as means a question: see ``subsets.Outcome``.

    ``label`` names the checkpoint. ``any_right`` and ``failed`` are None in rows that do not record them.
    """

    label: str
    method: str
    n: int
    questions: int
    ex: float
    ex_sd: float
    any_right: float | None
    failed: float | None
    calls: float
    prompt_tokens: float
    completion_tokens: float

    @property
    def tokens(self) -> float:
        return self.prompt_tokens + self.completion_tokens

    def row(self) -> list[str]:
        shares = (self.ex, self.ex_sd, self.any_right, self.failed)
        # The sum of the figures as they are written, so that rows which are read and written again stay the same.
        tokens = round(self.prompt_tokens, 1) + round(self.completion_tokens, 1)
        costs = (self.calls, self.prompt_tokens, self.completion_tokens, tokens)
        return [
            *(self.label, self.method, str(self.n), str(self.questions)),
            *("" if share is None else f"{share:.4f}" for share in shares),
            *(f"{cost:.1f}" for cost in costs),
        ]


@dataclass(frozen=True)
class Summary:
    """One method at one ``n``, as means over checkpoints; ``low`` and ``high`` are the least and greatest EX."""

    method: str
    n: int
    ex: float
    low: float
    high: float
    any_right: float | None
    failed: float | None
    calls: float
    tokens: float


def read(path: Path) -> list[Point]:
    """The points in ``path``, none where there is no such file; a file without labels is of one unnamed checkpoint.

    Raises ``LearnatError`` for a file that is something else.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [_point(row) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LearnatError(
            f"{path} is no {FILE_NAME} of curve.py ({type(error).__name__}: {error}): move it away, or name another "
            "folder."
        ) from error


def _point(row: dict[str, str]) -> Point:
    def share(name: str) -> float | None:
        return float(row[name]) if row.get(name) else None

    costs = (float(row[name]) for name in ("calls", "prompt_tokens", "completion_tokens"))
    ex, ex_sd = float(row["ex"]), float(row["ex_sd"])
    counts = int(row["n"]), int(row["questions"])
    return Point(row.get("label", ""), row["method"], *counts, ex, ex_sd, share("any_right"), share("failed"), *costs)


def merge(path: Path, points: Sequence[Point]) -> None:
    """Put ``points`` into ``path``; they take the place of all rows of the same checkpoint and method.

    The file is replaced whole, so that a stopped run leaves the old rows or the new ones; runs over several checkpoints
    may write at once.
    """
    with FileLock(f"{path}.lock"):
        _merge(path, points)


def _merge(path: Path, points: Sequence[Point]) -> None:
    new = {(point.label, point.method, point.n): point for point in points}
    measured = {(point.label, point.method) for point in points}
    rows = {
        key: point
        for point in read(path)
        if (key := (point.label, point.method, point.n)) in new or key[:2] not in measured
    }
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *(point.row() for point in (rows | new).values())])
    os.replace(partial, path)


def check_questions(path: Path, label: str, questions: int) -> None:
    """Raise ``LearnatError`` where ``path`` has another checkpoint's rows about another number of questions."""
    for point in read(path):
        if point.label != label and point.questions != questions:
            raise LearnatError(
                f"{path} has rows about {point.questions} questions (label {point.label!r}), and {questions} are asked "
                "now: give another out=FOLDER, or move the file away."
            )


def summarise(points: Sequence[Point]) -> list[Summary]:
    """Every method and n over all checkpoints, in the points' order.

    Raises ``LearnatError`` where the checkpoints cannot be compared: they were asked different numbers of questions, or
    one of them lacks a row that another has.
    """
    by_label: dict[str, dict[tuple[str, int], Point]] = {}
    for point in points:
        by_label.setdefault(point.label, {})[point.method, point.n] = point
    if len(asked := {point.questions for point in points}) > 1:
        raise LearnatError(f"{FILE_NAME} has rows about {' and '.join(map(str, sorted(asked)))} questions: split it.")
    wanted = dict.fromkeys((point.method, point.n) for point in points)
    for label, of_label in by_label.items():
        if missing := [key for key in wanted if key not in of_label]:
            method, n = missing[0]
            raise LearnatError(
                f"{FILE_NAME} has no row of label {label!r} for {method!r} at n={n}, which another label has: run "
                f"curve.py with label={label or 'NAME'} to its end, with the same sizes."
            )
    return [_summary([of_label[key] for of_label in by_label.values()]) for key in wanted]


def _summary(points: Sequence[Point]) -> Summary:
    scores = [point.ex for point in points]
    return Summary(
        points[0].method,
        points[0].n,
        fmean(scores),
        min(scores),
        max(scores),
        _mean(point.any_right for point in points),
        _mean(point.failed for point in points),
        fmean(point.calls for point in points),
        fmean(point.tokens for point in points),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    """None where one is not known."""
    known = list(values)
    return None if None in known else fmean(value for value in known if value is not None)
