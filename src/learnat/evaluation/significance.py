"""How sure a score is, and whether two runs on the same questions differ: no figure is compared without this."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from learnat.errors import LearnatError
from learnat.evaluation.scores import Interval, Verdict

Z_95 = 1.959963984540054
RESAMPLES = 10_000


@dataclass(frozen=True)
class PairedComparison:
    """Run B against run A on the same questions.

    ``difference`` is B's accuracy minus A's, ``interval`` its 95 % interval by paired bootstrap, ``p_value`` that of
    the exact McNemar test; ``only_a`` and ``only_b`` count the questions that one run alone has right.
    """

    questions: int
    accuracy_a: float
    accuracy_b: float
    difference: float
    interval: Interval
    p_value: float
    only_a: int
    only_b: int

    @property
    def b_no_worse(self) -> bool:
        """B is not significantly below A: the interval of the difference reaches 0 or lies above it."""
        return self.interval.high >= 0.0

    def __str__(self) -> str:
        return (
            f"{self.accuracy_a:.3f} → {self.accuracy_b:.3f} on {self.questions} questions: difference "
            f"{self.difference:+.3f}, 95 % interval [{self.interval.low:+.3f}, {self.interval.high:+.3f}], "
            f"exact McNemar p = {self.p_value:.3g} ({self.only_b} gained, {self.only_a} lost)"
        )


def wilson_interval(right: int, questions: int) -> Interval:
    """The 95 % Wilson score interval of a share (Wilson 1927); [0, 1] for no question."""
    if questions == 0:
        return Interval(0.0, 1.0)
    share, weight = right / questions, Z_95**2 / questions
    centre = (share + weight / 2) / (1 + weight)
    half = math.sqrt(share * (1 - share) * weight + weight**2 / 4) / (1 + weight)
    # Rounding must not push the bound past the share itself at 0 and 1.
    return Interval(min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p-value of the exact McNemar test, from the questions that one run alone has right.

    Under the null hypothesis each of them falls to either run with probability one half.
    """
    total = only_a + only_b
    tail, ways = 0, 1
    for k in range(min(only_a, only_b) + 1):
        tail += ways
        ways = ways * (total - k) // (k + 1)
    # Whole numbers until here: the quotient is exact even where both overflow a float.
    return min(1.0, 2 * tail / 2**total)


def bootstrap_difference(a: Sequence[bool], b: Sequence[bool], resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """95 % percentile interval of mean(b) - mean(a): questions are drawn with replacement, both answers together."""
    only_a = sum(x and not y for x, y in zip(a, b, strict=True))
    only_b = sum(y and not x for x, y in zip(a, b, strict=True))
    n = len(a)
    # The difference depends on three counts only: drawing these is drawing the questions, in less memory.
    shares = np.array([only_a, only_b, n - only_a - only_b]) / n
    draws = np.random.default_rng(seed).multinomial(n, shares, size=resamples)
    low, high = np.quantile((draws[:, 1] - draws[:, 0]) / n, [0.025, 0.975])
    return Interval(float(low), float(high))


def compare(a: Sequence[Verdict], b: Sequence[Verdict], seed: int = 0) -> PairedComparison:
    """Run ``b`` against run ``a``.

    Raises:
        LearnatError: the two do not answer the same questions.
    """
    right_a = {verdict.example_id: verdict.correct for verdict in a}
    right_b = {verdict.example_id: verdict.correct for verdict in b}
    if right_a.keys() != right_b.keys() or not right_a:
        alone = sorted(right_a.keys() ^ right_b.keys())
        raise LearnatError(
            f"Two runs are compared on the same questions only; {len(alone)} were answered by one of them"
            + (f", for example {alone[0]}." if alone else ": there is none.")
        )
    pairs = [(right_a[key], right_b[key]) for key in sorted(right_a)]
    first, second = [x for x, _ in pairs], [y for _, y in pairs]
    only_a = sum(x and not y for x, y in pairs)
    only_b = sum(y and not x for x, y in pairs)
    return PairedComparison(
        questions=len(pairs),
        accuracy_a=sum(first) / len(pairs),
        accuracy_b=sum(second) / len(pairs),
        difference=(only_b - only_a) / len(pairs),
        interval=bootstrap_difference(first, second, seed=seed),
        p_value=mcnemar(only_a, only_b),
        only_a=only_a,
        only_b=only_b,
    )
