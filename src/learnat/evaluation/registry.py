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
"""How tables call a metric."""
NOT_SHARES = {metric.name for metric in _ALL if not metric.is_share}


def make_metrics(names: Sequence[str], timing_iterations: int = 100) -> list[Metric]:
    """The metrics called ``names``, in that order; ``ex`` compares as the benchmark says.

    Args:
        timing_iterations: how often ``ves`` and ``r_ves`` time a query.

    Raises:
        LearnatError: a name is unknown or given twice, or ``timing_iterations`` is out of range.
    """
    stopwatch = Stopwatch(timing_iterations)
    known: dict[str, Callable[[], Metric]] = {
        "ex": ExecutionAccuracy,
        "em": ExactMatch,
        "ts": TestSuiteAccuracy,
        "soft_f1": SoftF1,
        "ves": lambda: ValidEfficiencyScore(stopwatch),
        "r_ves": lambda: RewardedEfficiencyScore(stopwatch),
    }
    for name in names:
        if name not in known:
            raise LearnatError(f"There is no metric {name!r} (metrics). {nearest(str(name), known)}")
    if len(set(names)) != len(names):
        raise LearnatError(f"metrics=[{','.join(names)}] names a metric twice.")
    return [known[name]() for name in names]
