"""Shards run at once under each of Hydra's launchers, and the sweep ends with what one machine would have made."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from learnat.recipes.launchers import cpus_of_a_job
from learnat.sql.execution import usable_cpus
from learnat.synthesis.tree import SearchTree, read_trees

ROOT = Path(__file__).parents[2]


def needs(name: str) -> None:
    """Skip where the launcher's extra is not installed: Ray's refuses the cloudpickle that joblib's needs."""
    if importlib.util.find_spec(f"hydra_plugins.hydra_{name.partition('_')[0]}_launcher") is None:
        pytest.skip(f"hydra/launcher={name} needs pip install -e '.[{name.partition('_')[0]}]'")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("launchers")


def synthesize(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python synthesize.py`` on 128 questions, the fewest for which two shards start two processes each."""
    small = ["data.num_databases=3", "data.num_unseen_databases=1", "data.train_questions=36", "data.dev_questions=128"]
    command = [sys.executable, str(ROOT / "synthesize.py"), *arguments, *small]
    env = {**os.environ, "COLUMNS": "160", "LEARNAT_CACHE": str(place / "cache")}
    return subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, timeout=300, check=False)


def without_seconds(folder: Path) -> list[SearchTree]:
    return [replace(tree, stats=replace(tree.stats, seconds=0.0)) for tree in read_trees(folder / "trees.jsonl")]


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    """One machine's run."""
    done = synthesize(place, "run_dir=whole")
    assert done.returncode == 0, done.stderr
    return place / "whole"


@pytest.mark.parametrize(
    ("launcher", "overrides"),
    [
        ("basic", []),
        ("joblib", ["workers=2"]),
        ("submitit_local", ["workers=2"]),
        ("ray", ["+hydra.launcher.ray.remote.num_cpus=2", "+hydra.launcher.ray.init.num_cpus=2"]),
    ],
)
def test_a_sweep_over_shards_ends_with_the_trees_of_one_machine(
    whole: Path, place: Path, launcher: str, overrides: list[str]
) -> None:
    if launcher != "basic":
        needs(launcher)
    sweep = [f"hydra/launcher={launcher}", f"hydra.sweep.dir={launcher}", *overrides]
    done = synthesize(place, "-m", "shard=1/2,2/2", *sweep)
    assert done.returncode == 0, done.stdout + done.stderr
    assert without_seconds(place / launcher) == without_seconds(whole)
    settings = "trees.settings.json"
    assert (place / launcher / settings).read_bytes() == (whole / settings).read_bytes()
    assert json.loads((place / launcher / "1" / "summary.json").read_text())["questions"] == 64


def test_a_sweep_without_all_shards_says_how_to_merge(place: Path) -> None:
    done = synthesize(place, "-m", "shard=1/40,3/40", "data.limit=40", "hydra.sweep.dir=some")
    assert done.returncode == 0, done.stderr
    assert "python -m learnat.synthesis.shards OUT some FOLDER…" in done.stdout
    assert not (place / "some" / "trees.jsonl").exists()


def test_a_sweep_over_more_than_shards_or_with_a_failed_shard_merges_nothing(place: Path) -> None:
    both = synthesize(place, "-m", "shard=1/2,2/2", "seed=1,2", "data.limit=2", "hydra.sweep.dir=both")
    assert both.returncode == 0, both.stderr
    failed = synthesize(place, "-m", "shard=1/2,3/2", "data.limit=2", "hydra.sweep.dir=failed")
    assert failed.returncode == 1
    assert "shard=3/2 is no shard: write i/n" in failed.stderr
    assert not (place / "both" / "trees.jsonl").exists() and not (place / "failed" / "trees.jsonl").exists()


def test_shards_that_cannot_be_merged_end_the_sweep_with_one_message(place: Path) -> None:
    arguments = ["-m", "shard=1/2,2/2", "data.limit=4", "hydra.sweep.dir=again"]
    assert synthesize(place, *arguments).returncode == 0
    assert synthesize(place, *arguments).returncode == 0
    (place / "again" / "trees.settings.json").write_text("{}")
    done = synthesize(place, *arguments)
    assert done.returncode == 2
    assert "again already holds trees made with other settings" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("overrides", "jobs", "cpus"),
    [
        (["hydra.mode=MULTIRUN"], None, 8),
        (["hydra.mode=MULTIRUN", "hydra/launcher=joblib"], None, 1),
        (["hydra.mode=MULTIRUN", "hydra/launcher=joblib", "hydra.launcher.n_jobs=3"], None, 2),
        (["hydra.mode=MULTIRUN", "hydra/launcher=submitit_local"], None, 1),
        (["hydra.mode=MULTIRUN", "hydra/launcher=submitit_slurm"], None, 8),
        (["hydra.mode=MULTIRUN", "hydra/launcher=ray", "+hydra.launcher.ray.remote.num_cpus=3"], None, 3),
        (["hydra.mode=RUN"], 4, 8),
        (["hydra.mode=MULTIRUN"], 4, 8),
        (["hydra.mode=MULTIRUN", "hydra/launcher=joblib"], 4, 2),
        (["hydra.mode=MULTIRUN", "hydra/launcher=joblib"], 40, 1),
        (["hydra.mode=MULTIRUN", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], 4, 4),
        (["hydra.mode=MULTIRUN", "hydra/launcher=submitit_local"], 3, 2),
        (["hydra.mode=MULTIRUN", "hydra/launcher=submitit_slurm"], 4, 8),
        (["hydra.mode=MULTIRUN", "hydra/launcher=ray"], 4, 1),
        (["hydra.mode=MULTIRUN", "hydra/launcher=ray", "+hydra.launcher.ray.remote.num_cpus=3"], 4, 3),
    ],
)
def test_jobs_on_one_machine_share_its_cpus(
    monkeypatch: pytest.MonkeyPatch, overrides: list[str], jobs: int | None, cpus: int
) -> None:
    chosen = [text.partition("=")[2] for text in overrides if text.startswith("hydra/launcher=")]
    for name in chosen:
        needs(name)
    monkeypatch.setattr("learnat.sql.execution.usable_cpus", lambda: 8)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("synthesize", overrides, return_hydra_config=True)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    HydraConfig.instance().set_config(cfg)
    assert cpus_of_a_job(jobs) == cpus


def test_outside_of_hydra_a_job_has_every_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    assert cpus_of_a_job(4) == usable_cpus()
