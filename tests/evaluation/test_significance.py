"""Intervals and tests against closed forms, scipy and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from learnat.errors import LearnatError
from learnat.evaluation.scores import Verdict
from learnat.evaluation.significance import (
    PairedComparison,
    bootstrap_difference,
    bootstrap_interval,
    compare,
    compare_values,
    mcnemar,
    permutation_test,
    wilson_interval,
)


def verdicts(correct: list[bool], first: int = 0) -> list[Verdict]:
    return [
        Verdict(i, f"dev/{i}", "dev", "shop", "", "", right, True, False, False, None, None, 0.0)
        for i, right in enumerate(correct, start=first)
    ]


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(counts: tuple[int, int]) -> None:
    expected = stats.binomtest(*counts).proportion_ci(method="wilson")
    found = wilson_interval(*counts)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= found.low <= counts[0] / counts[1] <= found.high <= 1


def test_wilson_of_nothing_is_everything() -> None:
    assert (wilson_interval(0, 0).low, wilson_interval(0, 0).high) == (0.0, 1.0)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_binomial_test(only_a: int, only_b: int) -> None:
    expected = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(only_a, only_b) == pytest.approx(expected)
    assert mcnemar(only_a, only_b) == mcnemar(only_b, only_a)


def test_mcnemar_of_thousands_is_exact() -> None:
    assert mcnemar(2000, 2000) == 1.0
    assert 0 <= mcnemar(0, 5000) < 1e-300


def test_bootstrap_is_that_of_drawn_questions() -> None:
    rng = np.random.default_rng(3)
    a = rng.random(200) < 0.6
    b = np.where(rng.random(200) < 0.3, rng.random(200) < 0.8, a)
    drawn = rng.integers(0, 200, size=(20_000, 200))
    low, high = np.quantile(b[drawn].mean(axis=1) - a[drawn].mean(axis=1), [0.025, 0.975])
    found = bootstrap_difference(list(a), list(b), resamples=20_000)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.011)
    assert found == bootstrap_difference(list(a), list(b), resamples=20_000)


def test_compare_counts_questions_by_their_id() -> None:
    a = verdicts([True, True, False, False, True])
    b = verdicts([True, False, True, True, True])
    result = compare(a, list(reversed(b)))
    assert (result.accuracy_a, result.accuracy_b, result.only_a, result.only_b) == (0.6, 0.8, 1, 2)
    assert result.difference == pytest.approx(0.2)
    assert result.interval is not None
    assert result.interval.low <= result.difference <= result.interval.high
    assert result.p_value == 1.0
    assert not result.differs
    assert "2 gained, 1 lost" in str(result)


def test_compare_tells_a_loss_from_noise() -> None:
    better, worse = verdicts([True] * 90 + [False] * 10), verdicts([True] * 60 + [False] * 40)
    assert compare(better, worse).p_value < 1e-6
    assert compare(better, worse).verdict("a", "b") == "b is worse than a (p < 0.05)"
    assert compare(worse, better).verdict("a", "b") == "b is better than a (p < 0.05)"


def of_counts(questions: int, only_a: int, only_b: int) -> PairedComparison:
    a = [True] * only_a + [False] * only_b + [True] * (questions - only_a - only_b)
    b = [False] * only_a + [True] * only_b + [True] * (questions - only_a - only_b)
    return compare(verdicts(a), verdicts(b))


def test_a_verdict_is_that_of_the_test() -> None:
    # A bootstrap of so few differing questions is too narrow: it leaves out 0, where the test sees no more than chance.
    lost = of_counts(100, only_a=4, only_b=0)
    assert lost.interval is not None and lost.interval.high < 0
    assert lost.p_value == 0.125
    assert lost.verdict("a", "b") == "no difference shown (p ≥ 0.05)"
    assert of_counts(100, only_a=6, only_b=0).verdict("a", "b") == "b is worse than a (p < 0.05)"


def test_a_drop_that_was_not_shown_is_not_denied() -> None:
    """A true drop of 5 points, with one question in five that differs, is missed by about half of all runs."""
    rng = np.random.default_rng(0)
    said = []
    for _ in range(60):
        only_a, only_b, _ = rng.multinomial(320, [0.125, 0.075, 0.8])
        said.append(of_counts(320, int(only_a), int(only_b)).verdict("a", "b"))
    assert set(said) == {"no difference shown (p ≥ 0.05)", "b is worse than a (p < 0.05)"}
    assert 15 < said.count("no difference shown (p ≥ 0.05)") < 45


def test_equal_runs_are_told_apart_at_most_once_in_twenty() -> None:
    share = sum(
        stats.binom.pmf(only_b, 40, 0.5)
        for only_b in range(41)
        if "no difference" not in of_counts(320, 40 - only_b, only_b).verdict("a", "b")
    )
    assert 0 < share <= 0.05


def test_where_no_question_differs_nothing_is_claimed() -> None:
    same = compare(verdicts([True, False] * 12), verdicts([True, False] * 12))
    assert (same.difference, same.p_value, same.interval, same.differs) == (0, 1, None, False)
    # The largest share of differing questions that leaves a chance of 5 % to meet none among 24.
    assert (1 - same.differing_at_most) ** 24 == pytest.approx(0.05)
    assert stats.binomtest(0, 24).proportion_ci(0.90, method="exact").high == pytest.approx(same.differing_at_most)
    assert str(same) == (
        "0.500 → 0.500 on 24 questions: no question differs, so nothing is shown but that with 95 % confidence at most "
        "11.7 % of such questions do"
    )
    assert same.verdict("sft", "madpo") == "", "the line itself says that nothing is shown"
    assert compare(verdicts([False]), verdicts([False])).differing_at_most == pytest.approx(0.95)


def test_where_all_questions_differ_alike_there_is_no_interval() -> None:
    lost = compare(verdicts([True] * 3), verdicts([False] * 3))
    assert (lost.difference, lost.interval, lost.p_value, lost.differs) == (-1, None, 0.25, False)
    assert str(lost) == "1.000 → 0.000 on 3 questions: difference -1.000, exact McNemar p = 0.25 (0 gained, 3 lost)"
    assert lost.differing_at_most is None
    assert lost.verdict("a", "b") == "no difference shown (p ≥ 0.05)", "three questions show nothing"
    for worse in (True, False):
        all_of_them = compare(verdicts([worse] * 20), verdicts([not worse] * 20))
        assert all_of_them.verdict("a", "b") == f"b is {'worse' if worse else 'better'} than a (p < 0.05)"


def test_compare_refuses_different_questions() -> None:
    with pytest.raises(LearnatError, match="same questions"):
        compare(verdicts([True]), verdicts([True], first=1))
    with pytest.raises(LearnatError, match="there is none"):
        compare([], [])


def test_bootstrap_of_a_share_is_scipys() -> None:
    values = [1.0] * 70 + [0.0] * 30
    found = bootstrap_interval(values)
    assert found is not None
    expected = stats.bootstrap((values,), np.mean, method="percentile", rng=5).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.011)
    assert found == bootstrap_interval(list(reversed(values)))


@given(st.lists(st.floats(0, 1.2), min_size=1, max_size=40))
def test_an_interval_lies_between_the_extremes(values: list[float]) -> None:
    found = bootstrap_interval(values, resamples=2_000, is_share=False)
    if found is None:
        assert max(values) - min(values) < 1e-9
        return
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9


def test_no_error_seen_is_not_certainty() -> None:
    assert bootstrap_interval([1.0] * 20) == wilson_interval(20, 20)
    assert bootstrap_interval([0.0] * 20) == wilson_interval(0, 20)


def test_where_nothing_varies_there_is_no_interval() -> None:
    # An efficiency score is no share: Wilson's interval is not its.
    assert bootstrap_interval([1.0] * 20, is_share=False) is None
    assert bootstrap_interval([0.0] * 20, is_share=False) is None
    assert bootstrap_interval([0.5] * 3) is None
    assert bootstrap_interval([0.7], is_share=False) is None
    assert bootstrap_interval([0.1 + 0.2, 0.3, 0.3]) is None, "the same but for rounding"
    # One question of many that differs is enough.
    found = bootstrap_interval([0.5] * 400 + [0.7], is_share=False)
    assert found is not None and found.low < found.high
    # So it is for differences: these are all 0.1, but for rounding.
    a = {f"dev/{i}": i / 10 for i in range(9)}
    assert compare_values(a, {key: value + 0.1 for key, value in a.items()}).interval is None


def test_the_permutation_test_is_scipys() -> None:
    rng = np.random.default_rng(1)
    differences = rng.normal(0.1, 0.5, size=60)
    expected = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=9_999, rng=2
    ).pvalue
    assert permutation_test(list(differences)) == pytest.approx(expected, abs=0.02)
    assert permutation_test([0.0] * 5) == 1.0
    assert permutation_test([1.0] * 30) == pytest.approx(1 / 10_001)


def test_values_that_are_no_verdicts_are_compared_by_permutation() -> None:
    a = {f"dev/{i}": i / 100 for i in range(100)}
    b = {key: value + (0.1 if value < 0.9 else -0.1) for key, value in a.items()}
    result = compare_values(a, b)
    assert result.test == "sign-flip permutation"
    assert result.difference == pytest.approx(0.08)
    assert (result.only_a, result.only_b) == (10, 90)
    assert result.p_value < 0.01 and result.interval is not None and result.interval.low > 0
