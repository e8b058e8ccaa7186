"""The training benchmarks run from end to end on a CPU, on made-up tries and on the file of real ones."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl")

ROOT = Path(__file__).parents[2]


def run(script: str, *arguments: str) -> str:
    """What a script of benchmarks/ prints."""
    # With more threads than free cores OpenMP's waiting costs many times the tiny model's work.
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "benchmarks" / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def rows(path: Path) -> list[dict[str, str]]:
    found = lines(path)
    assert all(not row["error"] and float(row["rate"]) > 0 for row in found), found
    return found


def positions_a_pair(row: dict[str, str]) -> float:
    return float(row["fed_tokens"]) / float(row["items"])


def test_preference_beside_trl(tmp_path: Path) -> None:
    said = run("preference.py", "--shape", "tiny", "--cases", "b", "--trl", "2", "--out", str(tmp_path))
    sides = {row["side"]: row for row in rows(tmp_path / "preference.csv")}
    assert sides.keys() == {"ours", "TRL"}
    assert positions_a_pair(sides["ours"]) < positions_a_pair(sides["TRL"])
    errors = [float(error) for error in re.findall(r"relative error (\S+)", said)]
    assert len(errors) == 2 and max(errors) < 1e-5  # packed against padded, ours against TRL's


def test_sft_on_tokenised_tries(tmp_path: Path) -> None:
    tries = tmp_path / "tries.jsonl"
    run("speed/tokenised.py", str(tries), "data.limit=16", f"cache_dir={tmp_path}", "workers=1")
    run("sft.py", "--shape", "tiny", "--data", str(tries), "--out", str(tmp_path))
    assert {row["side"] for row in rows(tmp_path / "sft.csv")} == {"packed", "padded"}


def test_the_prefix_cache_beside_generate(tmp_path: Path) -> None:
    said = run("prefix_cache.py", "--shape", "tiny", "--databases", "1", "--tokens", "4", "--out", str(tmp_path))
    assert "20/20" in said  # equal texts
    (errors,) = lines(tmp_path / "logprobs.csv")
    assert errors.pop("compared") == "float32: cached against whole"
    assert 0 < max(map(float, errors.values())) < 1e-5
    sides = {row["side"]: row for row in lines(tmp_path / "throughput.csv")}
    assert list(sides) == ["cached", "whole"]
    assert all(float(row["questions_rate"]) > 0 and not row["error"] for row in sides.values())
