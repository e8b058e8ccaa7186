"""The metrics by name, as configs and the command line list them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from learnat.errors import LearnatError, nearest
from learnat.evaluation.efficiency import RewardedEfficiencyScore, Stopwatch, ValidEfficiencyScore
from learnat.evaluation.exact_match.metric import ExactMatch
from learnat.evaluation.execution_accuracy import ExecutionAccuracy
from learnat.evaluation.metric import Metric
from learnat.evaluation.soft_f1 import SoftF1
from learnat.evaluation.test_suite import TestSuiteAccuracy

_ALL = (ExecutionAccuracy, ExactMatch, TestSuiteAccuracy, SoftF1, ValidEfficiencyScore, RewardedEfficiencyScore)
TITLES = {metric.name: metric.title for metric in _ALL}


def make_metrics(names: Sequence[str], ex_mode: str | None = None, timing_iterations: int = 100) -> list[Metric]:
    """The metrics called ``names``, in that order.

    Args:
        ex_mode: how ``ex`` compares results; None leaves it to the benchmark.
        timing_iterations: how often ``ves`` and ``r_ves`` time a query.

    Raises:
        LearnatError: a name is unknown or given twice, or a setting is out of range.
    """
    if not isinstance(timing_iterations, int) or timing_iterations < 1:
        raise LearnatError(f"timing_iterations={timing_iterations!r} must be a whole number above 0.")
    stopwatch = Stopwatch(timing_iterations)
    known: dict[str, Callable[[], Metric]] = {
        "ex": lambda: ExecutionAccuracy(ex_mode),
        "em": ExactMatch,
        "ts": TestSuiteAccuracy,
        "soft_f1": SoftF1,
        "ves": lambda: ValidEfficiencyScore(stopwatch),
        "r_ves": lambda: RewardedEfficiencyScore(stopwatch),
    }
    for name in names:
        if name not in known:
            raise LearnatError(f"There is no metric {name!r} (metrics). {nearest(str(name), known)}")
    if not names or len(set(names)) != len(names):
        raise LearnatError(f"metrics=[{','.join(names)}] must name at least one metric, and each once.")
    return [known[name]() for name in names]
