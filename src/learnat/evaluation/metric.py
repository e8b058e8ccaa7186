"""What a metric is: a name, a definition to cite, and one value for each question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from learnat import __version__
from learnat.evaluation.run import ScoringRun

LEARNAT = f"learnat {__version__}"


@dataclass(frozen=True)
class Measured:
    """A metric's values, one per question in the run's order; None where it does not apply.

    ``comparison`` is how results or queries were compared, ``database_hash`` of the benchmark's files that it is about,
    ``timed_out`` the questions that met the time limit, ``truncated`` those of which a cap hid what the metric needs
    (they count as wrong), ``gold_failed`` those whose gold query could not be used. ``executes`` says what ran: the
    run's queries, wherever they run (``run``); queries on SQLite files always (``sqlite``); or ``nothing``.
    ``control`` is what equal queries earn by a metric of time, over the right predictions.
    """

    values: tuple[float | None, ...]
    comparison: str
    database_hash: str
    timed_out: int = 0
    truncated: int = 0
    gold_failed: int = 0
    executes: Literal["run", "sqlite", "nothing"] = "run"
    control: float | None = None

    @property
    def scored(self) -> int:
        return sum(value is not None for value in self.values)


class Metric(Protocol):
    """One way to score predictions; the figure is the mean of its values."""

    name: str
    """Its key in metrics.json."""
    title: str
    """Its name in tables."""
    evaluator: str
    """Whose definition it follows."""
    is_share: bool
    """Whether its values lie in [0, 1] and 1 means right: tables then show per cent."""

    def measure(self, run: ScoringRun) -> Measured: ...


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are there, or None."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None
