"""Metrics are found by name, and every one of them fits the protocol."""

from __future__ import annotations

import pytest

from learnat.errors import LearnatError
from learnat.evaluation.registry import NOT_SHARES, TITLES, make_metrics


def test_every_metric_is_made_under_its_own_name() -> None:
    metrics = make_metrics(list(TITLES))
    assert [metric.name for metric in metrics] == ["ex", "em", "ts", "soft_f1", "ves", "r_ves"]
    assert all(metric.evaluator.startswith("learnat ") for metric in metrics)
    assert {"ves", "r_ves"} == NOT_SHARES


@pytest.mark.parametrize(
    ("names", "iterations", "message"),
    [
        (["exx"], 1, "There is no metric 'exx' .*Did you mean 'ex'"),
        (["em", "em"], 1, "names a metric twice"),
        (["ves"], 0, "timing_iterations=0 must be"),
        (["ves"], True, "timing_iterations=True must be"),
    ],
)
def test_mistakes(names: list[str], iterations: int, message: str) -> None:
    with pytest.raises(LearnatError, match=message):
        make_metrics(names, iterations)
