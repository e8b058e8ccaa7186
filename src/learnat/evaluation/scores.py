"""What scoring yields: a verdict per question, and the figures they make, each with where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """Whether one prediction is right.

    ``executed``: the prediction ran to its end. ``timed_out``: it or gold met the time limit. ``error`` is the
    prediction's, ``gold_error`` the gold query's (the question then counts as wrong, and is counted in the provenance).
    ``truncated``: one of the two results was cut by a cap and has no digest, so that they could not be compared and the
    prediction counts as wrong. ``seconds`` is the prediction's time.
    """

    index: int
    example_id: str
    split: str
    db_id: str
    difficulty: str
    predicted: str
    correct: bool
    executed: bool
    timed_out: bool
    truncated: bool
    error: str | None
    gold_error: str | None
    seconds: float


@dataclass(frozen=True)
class MetricProvenance:
    """What one metric's figures must be read with.

    ``questions`` were scored by it, ``not_scored`` are those that it does not apply to. ``timed_out``, ``truncated``
    (a cap hid what the metric needs) and ``gold_failed`` count questions. ``engine`` (name and version) and
    ``database_hash`` name what it ran on, which differs between metrics; ``engine`` is None where nothing was executed.
    ``control`` is what gold's times against gold's earn by a metric of time.
    """

    evaluator: str
    comparison: str
    engine: str | None
    database_hash: str
    questions: int
    not_scored: int
    timed_out: int
    truncated: int
    gold_failed: int
    control: float | None = None


@dataclass(frozen=True)
class Provenance:
    """What a figure must be read with.

    ``engine``: what ran queries, by name and version. ``database_hash``: ``Benchmark.fingerprint`` of the split, its
    questions and databases, or what ``ExecutedOn`` says. ``questions`` were scored, ``skipped`` left out for want of
    their database. ``failed`` predictions did not run, ``gold_failed`` gold queries; of ``timed_out`` questions one
    of the two met the time limit, and is counted there, too.
    ``schema_given``: what the model saw of the schema (``full``, ``gold``, …), or ``unknown`` for others' predictions.
    ``execute_on``: what was executed on instead of the benchmark's SQLite files; None: on those.
    The counts are those of the plain execution behind EX; ``metrics`` has each metric's own.
    """

    evaluator: str
    benchmark: str
    split: str
    ex_mode: str
    database_hash: str
    engine: str
    timeout_s: float
    questions: int
    skipped: int
    failed: int
    timed_out: int
    truncated: int
    gold_failed: int
    schema_given: str
    execute_on: str | None
    metrics: Mapping[str, MetricProvenance]


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval."""

    low: float
    high: float


def _as_list(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


@dataclass(frozen=True)
class Figure:
    """A mean, its interval, and the number of questions behind it.

    ``interval`` is None where all values are the same and no share of 0 or 1: nothing is then known of how sure it is.
    """

    value: float
    interval: Interval | None
    questions: int


@dataclass(frozen=True)
class Scores:
    """Metrics by difficulty (``all`` first), the number of questions and an interval behind each, and the provenance.

    ``metrics`` is ``{"ex": {"all": 0.83, "easy": …}}``; ``intervals`` has the same keys, and so has ``scored``: of how
    many questions each figure is the mean. ``questions`` are all there are, by difficulty, whether a metric scored them
    or not. ``features`` has a figure for each metric by what the gold query uses (``sql.features``).
    """

    metrics: Mapping[str, Mapping[str, float]]
    intervals: Mapping[str, Mapping[str, Interval | None]]
    scored: Mapping[str, Mapping[str, int]]
    questions: Mapping[str, int]
    features: Mapping[str, Mapping[str, Figure]]
    provenance: Provenance

    def as_dict(self) -> dict[str, Any]:
        """The form of metrics.json: one key a metric, then intervals, scored, questions, features, provenance.

        An interval is ``[low, high]``, or None where there is none (``Figure``).
        """
        return {
            **{metric: dict(by_level) for metric, by_level in self.metrics.items()},
            "intervals": {
                metric: {level: _as_list(interval) for level, interval in by_level.items()}
                for metric, by_level in self.intervals.items()
            },
            "scored": {metric: dict(by_level) for metric, by_level in self.scored.items()},
            "questions": dict(self.questions),
            "features": {
                feature: {
                    metric: {
                        "value": figure.value,
                        "interval": _as_list(figure.interval),
                        "questions": figure.questions,
                    }
                    for metric, figure in by_metric.items()
                }
                for feature, by_metric in self.features.items()
            },
            "provenance": asdict(self.provenance),
        }
