"""VES and R-VES: how fast right predictions run, beside the gold query.

Official definitions: ``evaluation_ves.py`` of BIRD (valid efficiency score: the root of gold's time over the
prediction's) and of bird-bench/mini_dev (reward-based: that ratio in brackets). Neither is a share: gold against gold
is about 1 in VES and between 0.9 and 1 in R-VES, whose maximum is √1.25; the official scripts print both times 100.

Gold and prediction take turns, so that a machine that slows down slows both, and each always follows the other: a query
that follows itself finds its pages cached. One statement runs at a time, and each has run once before. A time includes
fetching all rows, as in mini_dev's script: SQLite computes many results only while they are fetched.

The mean of noisy ratios is above 1 even for equal times. How far is said beside every figure: gold's times against
gold's times of the next turn, scored alike. Equal queries are timed once, in however many prediction files they occur:
two runs that are compared differ in their queries and not in the moment at which these were timed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from learnat.errors import LearnatError
from learnat.evaluation.metric import LEARNAT, Measured, mean
from learnat.evaluation.run import Pair, ScoringRun
from learnat.sql.execution import Result
from learnat.sql.results import equal

MODE = "bird_set"
BRACKETS = ((2.0, 1.25), (1.0, 1.0), (0.5, 0.75), (0.25, 0.5), (0.0, 0.25))
"""R-VES: the least ratio that earns a reward, and the reward."""


@dataclass(frozen=True)
class _Ratios:
    """Gold's time over the prediction's, and over gold's own of another turn (None where there was but one turn).

    ``failure`` is the result of the query that failed in one of its turns; the ratio is then 0.
    """

    ratio: float
    control: float | None = None
    failure: Result | None = None


@dataclass(frozen=True)
class _Timing:
    """A question's ratios, 0 for a prediction that is wrong or met the time limit."""

    ratios: _Ratios
    timed_out: bool
    truncated: bool
    gold_failed: bool


class Stopwatch:
    """Times the predictions of several runs, each pair of queries once, for all metrics that look at time.

    Args:
        iterations: how often gold and prediction are timed; the official scripts' number is 100. Of fewer than 11
            times none can lie three standard deviations off their mean: outliers then count.

    Raises:
        LearnatError: ``iterations`` is no whole number above 0.
    """

    def __init__(self, iterations: int = 100) -> None:
        if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
            raise LearnatError(f"timing_iterations={iterations!r} must be a whole number above 0.")
        self.iterations = iterations
        self._known: WeakKeyDictionary[ScoringRun, list[_Timing]] = WeakKeyDictionary()
        self._ratios: dict[Pair, _Ratios] = {}

    def timings(self, run: ScoringRun) -> list[_Timing]:
        if run not in self._known:
            results, pairs = run.results(MODE), run.pairs(MODE)
            timings = []
            with run.progress("timing", len(pairs)) as tick:
                for pair, (gold, predicted) in zip(pairs, results, strict=True):
                    ratios = self._of_pair(run, pair) if equal(gold, predicted, MODE) else _Ratios(0.0)
                    timings.append(
                        _Timing(
                            ratios,
                            timed_out=any(r is not None and r.timed_out for r in (gold, predicted, ratios.failure)),
                            truncated=predicted.unseen or gold.unseen,
                            gold_failed=gold.error is not None,
                        )
                    )
                    tick(1)
            self._known[run] = timings
        return self._known[run]

    def _of_pair(self, run: ScoringRun, pair: Pair) -> _Ratios:
        if pair not in self._ratios:
            self._ratios[pair] = self._timed(run, pair)
        return self._ratios[pair]

    def _timed(self, run: ScoringRun, pair: Pair) -> _Ratios:
        golds: list[float] = []
        others: list[float] = []
        for turn in range(-1, self.iterations):
            for query, times in ((pair.gold, golds), (pair.predicted, others)):
                result = run.pool.run(query.path, query.sql, run.timeout_s)
                # Not ``ok``: of a result that a cap cuts, which is right by its digest, both are timed up to the cap.
                if result.error is not None:
                    return _Ratios(0.0, failure=result)
                if turn >= 0:
                    times.append(result.seconds)
        ratio = mean_without_outliers([gold / other for gold, other in zip(golds, others, strict=True)])
        own = [first / second for first, second in zip(golds[::2], golds[1::2], strict=False)]
        return _Ratios(ratio, mean_without_outliers(own) if own else None)


def mean_without_outliers(ratios: Sequence[float]) -> float:
    """The mean of what lies within three standard deviations of the mean."""
    values = np.asarray(ratios)
    # Equal ratios have no deviation: the official rule would leave none of them.
    kept = values[np.abs(values - values.mean()) < 3 * values.std()] if values.std() > 0 else values
    return float(kept.mean())


def reward(ratio: float) -> float:
    """R-VES's reward for a ratio of times; 0 for a wrong prediction, whose ratio is 0."""
    return next(earned for least, earned in BRACKETS if ratio >= least) if ratio > 0 else 0.0


class _Efficiency:
    def __init__(self, stopwatch: Stopwatch, value: Callable[[float], float]) -> None:
        self._stopwatch = stopwatch
        self._value = value

    def measure(self, run: ScoringRun) -> Measured:
        timings = self._stopwatch.timings(run)
        controls = [self._value(own) for own in (timing.ratios.control for timing in timings) if own is not None]
        return Measured(
            values=tuple(self._value(timing.ratios.ratio) for timing in timings),
            comparison=f"{MODE}, {self._stopwatch.iterations} interleaved timings",
            database_hash=run.benchmark.fingerprint(run.split),
            timed_out=sum(timing.timed_out for timing in timings),
            truncated=sum(timing.truncated for timing in timings),
            gold_failed=sum(timing.gold_failed for timing in timings),
            control=mean(controls),
        )


class ValidEfficiencyScore(_Efficiency):
    """VES: √ratio."""

    name = "ves"
    title = "VES"
    evaluator = f"{LEARNAT}, VES of BIRD's evaluation_ves.py"
    is_share = False

    def __init__(self, stopwatch: Stopwatch) -> None:
        super().__init__(stopwatch, math.sqrt)


class RewardedEfficiencyScore(_Efficiency):
    """R-VES: √reward(ratio)."""

    name = "r_ves"
    title = "R-VES"
    evaluator = f"{LEARNAT}, R-VES of BIRD mini_dev's evaluation_ves.py"
    is_share = False

    def __init__(self, stopwatch: Stopwatch) -> None:
        super().__init__(stopwatch, lambda ratio: math.sqrt(reward(ratio)))
