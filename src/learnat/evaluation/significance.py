"""How sure a score is, and whether two runs on the same questions differ: no figure is compared without this.

Intervals are 95 % percentile bootstraps over questions with a fixed seed, so that a figure always has the same one.
Where all values are the same 0 or 1, a bootstrap has nothing to vary and would claim certainty: Wilson's interval of a
share stands in there; where all are the same otherwise, as an efficiency score's may be, there is no interval. Where
two runs differ on all questions by as much, there is none of their difference; where they differ on none, how many can
differ at most is all that is known. Whether two runs differ is said by one paired test, at the level of 5 %; what it
does not show is called just that, never equal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from learnat.errors import LearnatError
from learnat.evaluation.scores import Interval, Verdict

LEVEL = 0.05
"""Two runs differ where the paired test's p-value is below."""
Z_95 = 1.959963984540054
RESAMPLES = 10_000
_CHUNK = 1_000


@dataclass(frozen=True)
class PairedComparison:
    """Run B against run A on the same questions, by one metric.

    ``difference`` is B's mean minus A's, ``interval`` its 95 % interval by paired bootstrap; None where all questions
    differ by the same, none included, so that a bootstrap has nothing to vary. ``p_value`` is that of
    the exact McNemar test where all values are 0 or 1, else of a sign-flip permutation test, which is the same test on
    means (``test`` names it); ``only_a`` and ``only_b`` count the questions that one run alone does better. Where there
    are none, ``differing_at_most`` is the 95 % upper bound of the share of questions that differ (``no_event_bound``).
    """

    questions: int
    accuracy_a: float
    accuracy_b: float
    difference: float
    interval: Interval | None
    p_value: float
    test: str
    only_a: int
    only_b: int
    differing_at_most: float | None = None

    @property
    def differs(self) -> bool:
        """Whether the test shows, at the level of 5 %, that the runs differ.

        The test alone decides. The interval is shown for the size of a difference: of a few differing questions it is
        too narrow, and that it holds 0 does not show that the runs are equal.
        """
        return self.p_value < LEVEL

    def verdict(self, a: str, b: str) -> str:
        """``differs`` in words, for runs called ``a`` and ``b``; empty where no question differs, as the text says."""
        if self.differing_at_most is not None:
            return ""
        if not self.differs:
            return f"no difference shown (p ≥ {LEVEL})"
        return f"{b} is {'better' if self.difference > 0 else 'worse'} than {a} (p < {LEVEL})"

    def told(self, a: str, b: str) -> str:
        """One line: the runs, what was measured, and the verdict."""
        return "; ".join(filter(None, [f"{a} → {b}: {self}", self.verdict(a, b)]))

    def __str__(self) -> str:
        means = f"{self.accuracy_a:.3f} → {self.accuracy_b:.3f} on {self.questions} questions: "
        if self.differing_at_most is not None:
            return (
                f"{means}no question differs, so nothing is shown but that with 95 % confidence at most "
                f"{100 * self.differing_at_most:.1f} % of such questions do"
            )
        interval = self.interval
        shown = "" if interval is None else f"95 % interval [{interval.low:+.3f}, {interval.high:+.3f}], "
        return (
            f"{means}difference {self.difference:+.3f}, {shown}"
            f"{self.test} p = {self.p_value:.3g} ({self.only_b} gained, {self.only_a} lost)"
        )


def bootstrap_interval(
    values: Sequence[float], resamples: int = RESAMPLES, seed: int = 0, is_share: bool = True
) -> Interval | None:
    """The 95 % percentile interval of the mean: questions are drawn with replacement.

    For a share, where all values are 0 or all are 1, the Wilson interval instead. None where all values are the same
    otherwise: a bootstrap would give an interval of no width.
    """
    if is_share and len(set(values)) == 1 and values[0] in (0.0, 1.0):
        return wilson_interval(int(sum(values)), len(values))
    if not _vary(values):
        return None
    return _quantiles(_resampled_means(values, resamples, seed))


def wilson_interval(right: int, questions: int) -> Interval:
    """The 95 % Wilson score interval of a share (Wilson 1927); [0, 1] for no question."""
    if questions == 0:
        return Interval(0.0, 1.0)
    share, weight = right / questions, Z_95**2 / questions
    centre = (share + weight / 2) / (1 + weight)
    half = math.sqrt(share * (1 - share) * weight + weight**2 / 4) / (1 + weight)
    # Rounding must not push the bound past the share itself at 0 and 1.
    return Interval(min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def no_event_bound(questions: int) -> float:
    """The one-sided 95 % upper bound (Clopper and Pearson, 1934) of a share of which ``questions`` showed no case.

    About 3 / ``questions``, the rule of three.
    """
    return float(1.0 - 0.05 ** (1.0 / questions))


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


def bootstrap_difference(a: Sequence[float], b: Sequence[float], resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """95 % percentile interval of mean(b) - mean(a): questions are drawn with replacement, both answers together."""
    return _quantiles(_resampled_means([float(y) - float(x) for x, y in zip(a, b, strict=True)], resamples, seed))


def _vary(values: Sequence[float]) -> bool:
    """Whether a bootstrap has anything to vary; rounding is nothing."""
    return max(values) - min(values) > 1e-12


def _resampled_means(values: Sequence[float], resamples: int, seed: int) -> np.ndarray:
    # A mean depends on how often each value occurs only: drawing these counts is drawing the questions.
    distinct, counts = np.unique(np.asarray(values, dtype=float), return_counts=True)
    generator = np.random.default_rng(seed)
    means = []
    for start in range(0, resamples, _CHUNK):  # bounds the memory where every value is another
        draws = generator.multinomial(len(values), counts / len(values), size=min(_CHUNK, resamples - start))
        means.append(draws @ distinct / len(values))
    return np.concatenate(means)


def _quantiles(means: np.ndarray) -> Interval:
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(low), float(high))


def permutation_test(differences: Sequence[float], resamples: int = RESAMPLES, seed: int = 0) -> float:
    """Two-sided p-value of the mean of paired differences: under the null hypothesis each sign is a coin's.

    The observed signs count as one of the drawn ones, so the value is never 0.
    """
    observed = np.asarray(differences, dtype=float)
    generator = np.random.default_rng(seed)
    as_far = 1
    for start in range(0, resamples, _CHUNK):
        signs = generator.integers(0, 2, size=(min(_CHUNK, resamples - start), len(observed)), dtype=np.int8) * 2 - 1
        # Rounding must not make a tie with the observed mean a miss.
        as_far += int(np.sum(np.abs(signs @ observed) >= abs(observed.sum()) - 1e-9))
    return as_far / (resamples + 1)


def compare(a: Sequence[Verdict], b: Sequence[Verdict], seed: int = 0) -> PairedComparison:
    """Run ``b`` against run ``a`` by execution accuracy.

    Raises:
        LearnatError: the two do not answer the same questions.
    """
    return compare_values(
        {verdict.example_id: float(verdict.correct) for verdict in a},
        {verdict.example_id: float(verdict.correct) for verdict in b},
        seed,
    )


def compare_values(a: Mapping[str, float], b: Mapping[str, float], seed: int = 0) -> PairedComparison:
    """Run ``b`` against run ``a`` by any metric's values, given by question.

    Raises:
        LearnatError: the two do not answer the same questions.
    """
    if a.keys() != b.keys() or not a:
        alone = sorted(a.keys() ^ b.keys())
        raise LearnatError(
            f"Two runs are compared on the same questions only; {len(alone)} were answered by one of them"
            + (f", for example {alone[0]}." if alone else ": there is none.")
        )
    first, second = [a[key] for key in sorted(a)], [b[key] for key in sorted(a)]
    only_a = sum(x > y for x, y in zip(first, second, strict=True))
    only_b = sum(y > x for x, y in zip(first, second, strict=True))
    verdicts = {0.0, 1.0}.issuperset([*first, *second])
    differences = [y - x for x, y in zip(first, second, strict=True)]
    return PairedComparison(
        questions=len(first),
        accuracy_a=sum(first) / len(first),
        accuracy_b=sum(second) / len(first),
        difference=sum(differences) / len(first),
        interval=bootstrap_difference(first, second, seed=seed) if _vary(differences) else None,
        p_value=mcnemar(only_a, only_b) if verdicts else permutation_test(differences, seed=seed),
        test="exact McNemar" if verdicts else "sign-flip permutation",
        only_a=only_a,
        only_b=only_b,
        differing_at_most=None if only_a or only_b else no_event_bound(len(first)),
    )
