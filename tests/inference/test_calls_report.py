"""What is made of the rows of the study of calls, its table and figure, and the recall of retrieved schemas."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from learnat.errors import LearnatError
from tests.inference.calls_scripts import FOLDER, ROOT, SIZES, imported, said, table
from tests.inference.music import Music


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    with imported() as modules:
        yield modules


def point(
    scripts: dict[str, ModuleType], label: str, method: str, n: int, ex: float, calls: float, questions: int = 20
) -> Any:
    tokens = {"prompt_tokens": 1000.0 * n, "completion_tokens": 100.0 * n}
    return scripts["points"].Point(label, method, n, questions, ex, 0.0, 0.9, 0.25, calls, **tokens)


@pytest.fixture
def study(scripts: dict[str, ModuleType]) -> list[Any]:
    """Three checkpoints: greedy 0.5, 0.6, 0.7, votes of one and two ten points and more above."""
    return [
        point(scripts, label, method, n, round(greedy + gain, 4), calls)
        for label, greedy in (("1", 0.5), ("2", 0.7), ("3", 0.6))
        for method, n, gain, calls in (
            ("greedy", 1, 0.0, 1.0), ("vote", 1, 0.1, 1.0), ("vote", 2, 0.2, 2.0),
            ("vote, early stop", 1, 0.1, 1.0), ("vote, early stop", 2, 0.2, 1.5),
        )
    ]  # fmt: skip


def test_the_table_is_means_with_the_range_over_checkpoints(scripts: dict[str, ModuleType], study: list[Any]) -> None:
    lines = scripts["report"].markdown(study).splitlines()
    assert lines[0].endswith("20 questions, mean (lowest–highest) of the checkpoints 1, 2, 3:")
    assert lines[2:7] == [
        "| method | n = 1 | 2 |",
        "|---|---|---|",
        "| greedy | 60.0 (50.0–70.0) · 1.1 K | – |",
        "| vote | 70.0 (60.0–80.0) · 1.1 K | 80.0 (70.0–90.0) · 2.2 K |",
        "| vote, early stop | 70.0 (60.0–80.0) · 1.1 K | 80.0 (70.0–90.0) · 2.2 K |",
    ]
    assert lines[8:] == [
        "- Calls that early stop saves: 25 % at n = 2.",
        "- Of 2 samples one or more is right for 90.0 % of the questions; 25.0 % of the samples fail or find nothing.",
    ]


def test_rows_read_are_the_rows_written(scripts: dict[str, ModuleType], study: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    scripts["points"].merge(path, study)
    assert scripts["points"].read(path) == study
    before = path.read_bytes()
    scripts["points"].merge(path, study[:1])
    assert path.read_bytes() == before


def test_checkpoints_that_cannot_be_compared_are_named(scripts: dict[str, ModuleType], study: list[Any]) -> None:
    with pytest.raises(LearnatError, match="no row of label '3' for 'vote, early stop' at n=2"):
        scripts["report"].markdown(study[:-1])
    other = point(scripts, "4", "greedy", 1, 0.5, 1.0, questions=30)
    with pytest.raises(LearnatError, match="20 and 30 questions"):
        scripts["report"].markdown([*study, other])


def test_a_file_of_something_else_is_one_message(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    (tmp_path / "calls.csv").write_text("a,b\n1,2\n")
    with pytest.raises(LearnatError, match=r"calls\.csv is no calls\.csv of curve\.py"):
        scripts["points"].read(tmp_path / "calls.csv")


def test_the_recorded_rows_make_the_recorded_table(tmp_path: Path) -> None:
    """Rows of one checkpoint without label, and the table that the study's README shows of them."""
    done = said(tmp_path, "report.py")
    assert done.returncode == 0, done.stderr
    written = (FOLDER / "README.md").read_text(encoding="utf-8")
    cells = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(cells) > 10 and "\n".join(cells) in written


def test_the_curves_are_drawn_from_the_rows_alone(
    scripts: dict[str, ModuleType], study: list[Any], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    scripts["points"].merge(tmp_path / "calls.csv", study)
    drawn = []
    for _ in range(2):
        done = said(tmp_path, "report.py", str(tmp_path), "--plot")
        assert done.returncode == 0 and "| greedy | 60.0" in done.stdout, done.stderr
        drawn.append((tmp_path / "calls.svg").read_text())
    assert "<svg" in drawn[0] and drawn[0] == drawn[1]


def test_without_matplotlib_there_is_a_table_and_no_figure(
    scripts: dict[str, ModuleType], study: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    scripts["points"].merge(tmp_path / "calls.csv", study)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    scripts["report"].main([str(tmp_path)])
    assert "| greedy | 60.0" in capsys.readouterr().out
    with pytest.raises(LearnatError, match=r"Drawing needs matplotlib: pip install -e '\.\[plots\]'"):
        scripts["report"].main([str(tmp_path), "--plot"])


def test_recall_replaces_the_rows_of_its_benchmark_and_split(
    scripts: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recall = scripts["recall"]

    def rows(split: str, columns: str) -> list[dict[str, str]]:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            places = [f"out={tmp_path}", f"run_dir={tmp_path}", f"cache_dir={tmp_path}"]
            cfg = compose("recall", ["data=generated", *SIZES, *places, f"data.split={split}", f"columns={columns}"])
        OmegaConf.resolve(cfg)
        recall.recall(cfg)
        return table(tmp_path / "recall.csv")

    first = rows("dev_seen", "[1,40]")
    assert [row["columns"] for row in first] == ["1", "40"]
    for row in first:
        assert int(row["questions"]) + int(row["left out"]) == 2
    one, forty = ([float(row[name]) for name in recall.FIGURES] for row in first)
    assert all(a < b for a, b in zip(one, forty, strict=True)) and forty[0] == 1.0
    assert rows("dev_seen", "[1,40]") == first
    both = rows("dev_unseen", "[3]")
    assert both[:2] == first and both[2]["split"] == "dev_unseen" and len(both) == 3
    assert [row["columns"] for row in rows("dev_seen", "[2]")] == ["3", "2"]


def test_questions_whose_gold_names_no_column_are_counted(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    class Counting(Music):
        def examples(self, split: str) -> list[Any]:
            first, *others = super().examples(split)
            return [type(first)(**{**vars(first), "gold_sql": "SELECT count(*) FROM singer"}), *others]

    asked, left_out = scripts["recall"].questions(Counting(tmp_path, 3), "dev")
    assert len(asked) == 2 and left_out == 1
    assert asked[0].gold == {("singer", "name"), ("singer", "age")}
