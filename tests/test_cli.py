"""The commands as a user meets them: help, and one clear message for each mistake."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A main of the repository, run elsewhere so that it leaves nothing behind."""
    script, *overrides = arguments
    env = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "COLUMNS": "160",
        "LEARNAT_CACHE": str(tmp_path / "cache"),
        **environment,
    }
    command = [sys.executable, str(ROOT / script), *overrides]
    return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False)


def assert_one_message(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2, done.stderr
    for part in parts:
        assert part in done.stderr


COMMANDS = [
    "train.py",
    "synthesize.py",
    "evaluate.py",
    "ask.py",
    "experiments/calls/curve.py",
    "experiments/calls/recall.py",
]


@pytest.mark.parametrize("script", COMMANDS)
def test_help_says_what_the_command_does_and_lists_its_groups_alone(tmp_path: Path, script: str) -> None:
    done = run(tmp_path, script, "--help")
    assert done.returncode == 0, done.stderr
    header, _, rest = done.stdout.partition("== Groups ==")
    assert ("data: bird, generated, spider\n" in rest) == (script != "ask.py")
    assert header.startswith(f"python {script} ") and len(header.strip().splitlines()) >= 2
    listed = {line.split(":")[0] for line in rest.partition("== Config ==")[0].splitlines() if ": " in line}
    assert ("loss" in listed) == (script == "train.py")
    assert ("pruning" in listed) == (script in ("train.py", "synthesize.py"))
    assert ("inference" in listed) == (script in ("train.py", "evaluate.py", "ask.py"))
    assert ("experiment" in listed) == (script in ("train.py", "synthesize.py"))


@pytest.mark.parametrize("script", ["train.py", "synthesize.py", "evaluate.py", "ask.py"])
def test_help_shows_the_groups_without_importing_torch(tmp_path: Path, script: str) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{script!r}, '--help']\n"
        "try:\n"
        f"    runpy.run_path({str(ROOT / script)!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "== Groups ==" in done.stdout


EXAMPLES = {
    "evaluate.py": [
        "checkpoint=x",
        "data.split=dev_unseen",
        "inference=vote",
        "inference.samples=5",
        "metrics=[em,ts]",
    ],
    "train.py": ["model=qwen1_5b", "data=spider", "trainer=gpu"],
    "synthesize.py": ["data=spider", "data.split=train", "search=beam"],
    "experiments/calls/curve.py": ["checkpoint=x", "label=seed1", "inference.demonstrations.trees=x"],
}


@pytest.mark.parametrize("script", EXAMPLES)
def test_the_examples_of_the_help_compose(tmp_path: Path, script: str) -> None:
    assert run(tmp_path, script, *EXAMPLES[script], "--cfg", "job").returncode == 0


@pytest.mark.parametrize(
    ("script", "override", "message"),
    [
        ("train.py", "model=nope", "No model is called 'nope'. Known: glm9b, llama8b, "),
        ("train.py", "loss=madpoo", "No loss is called 'madpoo'. Did you mean 'madpo'?"),
        ("train.py", "trainer.max_stepz=3", "Unknown key 'trainer.max_stepz'. Did you mean 'trainer.max_steps'?"),
        ("train.py", "traner=gpu", "Unknown key 'traner'. Did you mean 'trainer'?"),
        ("synthesize.py", "prunning=ast", "Unknown key 'prunning'. Did you mean 'pruning'?"),
        (
            "evaluate.py",
            "loss=dpo",
            "evaluate.py has no group 'loss'; its groups: data, engine, experiment, inference.",
        ),
        ("ask.py", "model=tiny", "ask.py has no group 'model'; its groups: engine, experiment, inference."),
        ("ask.py", "+nonsense=3", "Unknown key 'nonsense'. Known: cache_dir, checkpoint, "),
        (
            "experiments/calls/curve.py",
            "inference=vote",
            "curve.py has no group 'inference'; its groups: data, engine.",
        ),
        ("experiments/calls/recall.py", "+nonsense=3", "Unknown key 'nonsense'. Known: cache_dir, columns, "),
        ("evaluate.py", "data.splt=dev", "Unknown key 'data.splt'. Did you mean 'data.split'?"),
    ],
)
@pytest.mark.parametrize("flags", [[], ["-m"]], ids=["run", "sweep"])
def test_an_unknown_name_is_one_message(
    tmp_path: Path, script: str, override: str, message: str, flags: list[str]
) -> None:
    done = run(tmp_path, script, *flags, override)
    assert_one_message(done, message)
    assert not list(tmp_path.iterdir())


def test_the_papers_run_composes(tmp_path: Path) -> None:
    done = run(tmp_path, "train.py", "model=qwen7b", "loss=madpo", "data=bird", "--cfg", "job")
    assert done.returncode == 0, done.stderr
    assert "Qwen/Qwen2.5-Coder-7B-Instruct" in done.stdout


def test_a_model_that_cannot_be_had_names_the_way_out(tmp_path: Path) -> None:
    environment = {"HF_HOME": str(tmp_path / "hub"), "LEARNAT_DATA": str(tmp_path)}
    done = run(tmp_path, "train.py", "model=qwen7b", "loss=madpo", "data=bird", **environment)
    assert_one_message(done, "Qwen/Qwen2.5-Coder-7B-Instruct", "model.path=")
    assert done.stdout.strip().splitlines()[-1].startswith("Run folder: runs/train/")


def test_missing_data_names_the_folder_and_where_to_get_it(tmp_path: Path) -> None:
    done = run(tmp_path, "train.py", "data=spider", LEARNAT_DATA=str(tmp_path / "nowhere"))
    assert_one_message(done, str(tmp_path / "nowhere" / "spider"), "yale-lily.github.io/spider")


@pytest.fixture
def superhero(learnat_data: Path, tmp_path: Path) -> Path:
    """A copy of BIRD's dev folder that a test may spoil."""
    root = tmp_path / "data" / "bird"
    shutil.copytree(learnat_data / "bird" / "dev", root / "dev")
    return root


BIRD_DEV = ["data=bird", "data.split=dev", "data.databases=[superhero]"]


def test_a_corrupt_line_in_dev_json_is_named(superhero: Path, tmp_path: Path) -> None:
    path = superhero / "dev" / "dev.json"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[40] = lines[40] + " }{"
    path.write_text("\n".join(lines), encoding="utf-8")
    done = run(tmp_path, "synthesize.py", *BIRD_DEV, f"data.root={superhero}")
    assert_one_message(done, str(path), "line 41")


def test_a_database_that_is_not_sqlite_is_named(superhero: Path, tmp_path: Path) -> None:
    path = next(superhero.rglob("superhero.sqlite"))
    path.write_bytes(b"This is not a database. " * 100)
    predictions = tmp_path / "predictions.jsonl"
    predictions.write_text(json.dumps({"index": 0, "predicted": "SELECT 1"}) + "\n", encoding="utf-8")
    for command in (["synthesize.py"], ["evaluate.py", f"predictions={predictions}"]):
        done = run(tmp_path, *command, *BIRD_DEV, f"data.root={superhero}")
        assert_one_message(done, str(path), "SQLite")
