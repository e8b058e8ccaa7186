"""The calls-against-accuracy script, shrunk: a row for every method and size, from samples that are drawn once."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "calls" / "curve.py"


@pytest.fixture
def curve(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("curve", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "curve", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "SIZES", (1, 3))
    monkeypatch.setattr(module, "SUBSETS", 2)
    return module


def test_every_method_has_its_points(tmp_path: Path, checkpoint: Path, curve: ModuleType) -> None:
    steps = [{"sub_question": "All?", "sql": "SELECT 1"}]
    demonstration = {"question": "Which singers are older than 3?", "steps": steps}
    (tmp_path / "shown.jsonl").write_text(json.dumps(demonstration) + "\n")
    arguments = [
        f"checkpoint={checkpoint}", f"cache_dir={tmp_path}", f"run_dir={tmp_path}", f"out={tmp_path / 'out'}",
        f"inference.demonstrations.trees={tmp_path / 'shown.jsonl'}", "inference.max_new_tokens=12", "workers=1",
        "data.num_databases=1", "data.num_unseen_databases=1", "data.train_questions=2", "data.dev_questions=2",
    ]  # fmt: skip
    curve.main(arguments)
    kept = (tmp_path / "samples.jsonl").read_text()
    curve.main(arguments)
    assert (tmp_path / "samples.jsonl").read_text() == kept
    assert (tmp_path / "out" / "calls.svg").is_file()
    with (tmp_path / "out" / "calls.csv").open(newline="") as file:
        rows = {(row["method"], int(row["n"])): row for row in csv.DictReader(file)}
    sizes = {(method, 1) for method in curve.GREEDY}
    sizes |= {(method, n) for method in [*curve.METHODS, "vote, early stop"] for n in (1, 3)}
    assert set(rows) == sizes
    for n in (1, 3):
        plain, stopped = rows["vote", n], rows["vote, early stop", n]
        assert float(plain["calls"]) == n and float(stopped["calls"]) <= n and stopped["ex"] == plain["ex"]
    # What the checkpoint writes runs nowhere: each sample is repaired once.
    assert rows["vote, repaired once", 3]["calls"] == "6.0"
