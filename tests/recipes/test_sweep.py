"""The table of a sweep reads what every command leaves in its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from learnat.recipes.sweep import Job, objective, read_scores, tabulate


@pytest.mark.parametrize(
    ("file", "content", "stage", "scores"),
    [
        (
            "metrics.json",
            {"sft": {"dev": {"ex": {"all": 0.2}}}, "madpo": {"dev": {"ex": {"all": 0.5, "easy": 1.0}}}},
            "madpo",
            {"EX dev": 0.5},
        ),
        ("metrics.json", {"ex": {"all": 0.83}, "provenance": {}}, "", {"EX": 0.83}),
        ("summary.json", {"solved": 0.97, "trees": 100}, "", {"solved": 0.97}),
    ],
    ids=["train", "evaluate", "synthesize"],
)
def test_scores_of_every_command(
    tmp_path: Path, file: str, content: dict[str, Any], stage: str, scores: dict[str, float]
) -> None:
    (tmp_path / file).write_text(json.dumps(content))
    assert read_scores(tmp_path) == (stage, scores)
    assert objective(tmp_path) == pytest.approx(next(iter(scores.values())))


def test_a_folder_without_results_has_no_scores(tmp_path: Path) -> None:
    assert read_scores(tmp_path) == ("", {})
    assert objective(tmp_path) is None


def test_the_table_shows_what_varies_and_what_failed() -> None:
    jobs = [
        Job("0", {"loss": "sft", "seed": "1", "data.limit": "5"}, "sft", {"EX dev": 0.25}, ""),
        Job("1", {"loss": "dpo", "seed": "1", "data.limit": "5"}, "", {}, "no\nmemory"),
    ]
    header, rows = tabulate(jobs)
    assert header == ["job", "loss", "stage", "EX dev", "failed"]
    assert rows == [["0", "sft", "sft", "0.2500", ""], ["1", "dpo", "", "", "no memory"]]
