"""Soft-F1, BIRD's measure of how much of the gold result a prediction's result holds.

Official definition: ``evaluation_f1.py`` of bird-bench/mini_dev. Rows of both results, duplicates dropped, are matched
by *position*: the order in which the queries return them counts, so nothing is sorted or hashed first.
"""

from __future__ import annotations

from collections.abc import Sequence

from learnat.evaluation.metric import LEARNAT, Measured
from learnat.evaluation.run import ScoringRun
from learnat.sql.execution import Result
from learnat.sql.results import Row


class SoftF1:
    """The mean of ``soft_f1`` over the questions, on the queries as they are written."""

    name = "soft_f1"
    title = "Soft-F1"
    evaluator = f"{LEARNAT}, Soft-F1 of BIRD mini_dev's evaluation_f1.py"
    is_share = True

    def measure(self, run: ScoringRun) -> Measured:
        results = run.results("bird_set")
        return Measured(
            values=tuple(_of_results(gold, predicted) for gold, predicted in results),
            comparison="rows by position",
            database_hash=run.benchmark.fingerprint(run.split),
            timed_out=sum(gold.timed_out or predicted.timed_out for gold, predicted in results),
            truncated=sum(gold.truncated or predicted.truncated for gold, predicted in results),
            gold_failed=sum(gold.error is not None for gold, _ in results),
        )


def _of_results(gold: Result, predicted: Result) -> float:
    return soft_f1(gold.rows, predicted.rows) if gold.ok and predicted.ok else 0.0


def soft_f1(gold: Sequence[Row], predicted: Sequence[Row]) -> float:
    """The F1 of cells over rows at the same position, in [0, 1]; two empty results agree."""
    if not gold and not predicted:
        return 1.0
    gold, predicted = list(dict.fromkeys(gold)), list(dict.fromkeys(predicted))
    matched = 0.0
    only_predicted = float(max(len(predicted) - len(gold), 0))
    only_gold = float(max(len(gold) - len(predicted), 0))
    for gold_row, predicted_row in zip(gold, predicted, strict=False):
        # Shares of the gold row's width on both sides: the official rule.
        width = len(gold_row)
        found = sum(cell in gold_row for cell in predicted_row)
        matched += found / width
        only_predicted += (len(predicted_row) - found) / width
        only_gold += sum(cell not in predicted_row for cell in gold_row) / width
    # 2PR / (P + R), with P = matched / (matched + only_predicted) and R likewise.
    return 2 * matched / (2 * matched + only_predicted + only_gold)
