"""Hydra's plugins as this project sets them up."""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from learnat.errors import LearnatError
from learnat.recipes.config_check import check_overrides

ROOT = Path(__file__).parents[2]
SMALL = ["data.num_databases=1", "data.num_unseen_databases=1", "data.train_questions=4", "data.dev_questions=24"]


def synthesize(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python synthesize.py -m`` under Optuna's sweeper, every choice once."""
    sweep = ["hydra/sweeper=optuna", "hydra/sweeper/sampler=grid", "hydra.sweep.dir=out", "workers=1"]
    command = [sys.executable, str(ROOT / "synthesize.py"), "-m", *sweep, *arguments]
    environment = os.environ | {"LEARNAT_CACHE": str(folder / "cache")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


def test_optuna_searches_for_the_settings_that_solve_most(tmp_path: Path) -> None:
    """Optuna itself minimises. One call does not solve questions of several steps; 48 solve all."""
    done = synthesize(tmp_path, "search.budget.max_calls=choice(1,48)", *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "out" / "sweep.csv").open(encoding="utf-8", newline="") as file:
        solved = {row["search.budget.max_calls"]: float(row["solved"]) for row in csv.DictReader(file)}
    assert solved["1"] < solved["48"]
    best = yaml.safe_load((tmp_path / "out" / "optimization_results.yaml").read_text(encoding="utf-8"))
    assert best["best_params"] == {"search.budget.max_calls": 48}
    assert best["best_value"] == pytest.approx(solved["48"], abs=1e-4)


def test_a_failed_job_ends_the_search_with_its_message(tmp_path: Path) -> None:
    done = synthesize(tmp_path, "search.k=choice(2,3)", "data=spider", f"data.root={tmp_path / 'none'}")
    assert done.returncode == 2
    assert f"spider: there is no folder {tmp_path / 'none'} (data.root)." in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "1").exists()


@pytest.mark.parametrize("sampler", ["grid", "tpe"])
def test_a_search_of_which_every_job_fails_ends_with_the_table(tmp_path: Path, sampler: str) -> None:
    """``max_failure_rate`` lets all of them run; there is no best one then."""
    search = [f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.n_trials=2", "hydra.sweeper.max_failure_rate=0.5"]
    done = synthesize(tmp_path, *search, "search.k=choice(2,3)", "data=spider", f"data.root={tmp_path / 'none'}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Optuna found no best settings, for jobs failed." in done.stderr
    with (tmp_path / "out" / "sweep.csv").open(encoding="utf-8", newline="") as file:
        failed = [row["failed"] for row in csv.DictReader(file)]
    assert len(failed) == 2 and all("there is no folder" in text for text in failed)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["hydra/sweeper/sampler=grid", "reward.coverage_weight=interval(0,1)"],
            "reward.coverage_weight=interval(0,1) is an interval, and Optuna's grid sampler tries single values: list "
            "them, reward.coverage_weight=0,1, or give choice(…) or range(…). A search in it is "
            "hydra/sweeper/sampler=tpe.",
        ),
        (
            ["hydra.sweeper.direction=[maximize,minimize]", "search.k=choice(2,3)"],
            "hydra.sweeper.direction=['maximize', 'minimize']: a job gives one number to search by, which takes one "
            "direction, maximize or minimize.",
        ),
    ],
    ids=["grid", "direction"],
)
def test_what_optuna_cannot_search_is_one_message(overrides: list[str], message: str) -> None:
    with pytest.raises(LearnatError) as error:
        check_overrides(ROOT / "conf", "synthesize", ["hydra/sweeper=optuna", *overrides])
    assert str(error.value) == message


@pytest.mark.skipif(importlib.util.find_spec("hydra_plugins.hydra_ray_launcher") is not None, reason="it is installed")
def test_a_plugin_that_is_not_installed_is_named_with_its_extra() -> None:
    with pytest.raises(LearnatError) as error:
        check_overrides(ROOT / "conf", "train", ["hydra/launcher=ray"])
    message = "hydra/launcher=ray needs a package that is not installed: pip install -e '.[ray]'"
    assert str(error.value) == message
