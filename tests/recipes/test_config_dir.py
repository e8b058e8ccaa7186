"""A folder of configs of one's own, --config-dir or --config-path: the command line is checked against it too."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def own(folder: Path) -> Path:
    """A folder beside conf/ with a member of a group of the command, a group of its own and a primary config."""
    files = {
        "loss/mine.yaml": "name: mine\nweight: 1\n",
        "extra/some.yaml": "depth: 1\n",
        "experiment/own.yaml": "# @package _global_\nloss: {beta: 0.5}\n",
        "experiment/wrong.yaml": "# @package _global_\nloss: {betta: 0.5}\n",
        "main.yaml": "defaults: [app, _self_]\nheight: 1\n",
    }
    for name, text in files.items():
        path = folder / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "own"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["loss=mien"], "No loss is called 'mien'. Did you mean 'mine'?"),
        (["loss=mine", "loss.wight=2"], "Unknown key 'loss.wight'. Did you mean 'loss.weight'?"),
        (["-m", "loss=mine,sft", "loss.weight=2"], "Unknown key 'loss.weight'. Known: "),
        (["+extra=smoe"], "No extra is called 'smoe'. Did you mean 'some'?"),
        (["+extra=some", "extra.dept=2"], "Unknown key 'extra.dept'. Did you mean 'extra.depth'?"),
        (["+flavour=mild"], "app.py has no group 'flavour'; its groups: experiment, loss, trainer."),
        (["experiment=wrong"], "Experiment wrong: Unknown key 'loss.betta'. Did you mean 'loss.beta'?"),
        (["--config-name", "main", "hight=2"], "Unknown key 'hight'. Did you mean 'height'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_named(app: Command, own: Path, arguments: list[str], message: str) -> None:
    done = app("--config-dir", "own", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message.removesuffix("Known: "))
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config-dir=own", "loss=mine", "loss.weight=2", "+extra=some", "extra.depth=3"],
        ["hydra.searchpath=[own]", "loss=mine", "loss.weight=2", "+extra=some", "extra.depth=3"],
        ["--config-dir", "own", "experiment=own", "seed=2"],
        ["--config-dir", "own", "--config-name", "main", "height=2", "loss=mine"],
        ["--config-dir", "own", "--config-name", "main", "experiment=good"],
    ],
    ids=" ".join,
)
def test_what_is_there_is_used(app: Command, own: Path, arguments: list[str]) -> None:
    done = app(*arguments, "run_dir=out")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_another_config_path_is_what_is_checked(app: Command, folder: Path, own: Path) -> None:
    (folder / "conf").rename(folder / "elsewhere")
    for path in ("elsewhere", str(folder / "elsewhere")):
        done = app("--config-path", path, "loss=mien")
        assert (done.returncode, done.stderr) == (2, "No loss is called 'mien'. Known: madpo, sft.\n")
        done = app("--config-path", path, "loss=sft", "run_dir=out")
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("flag", ["--config-dir", "--config-path"])
def test_a_folder_that_is_not_there_is_one_message(app: Command, flag: str) -> None:
    for overrides in ([], ["seed=2"]):
        done = app(flag, "nowhere", *overrides)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"{flag} nowhere: there is no such folder")
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("overrides", [["loss=sft,broken", "trainer=cpu,gpu"], ["loss=sft,broken"]], ids=" ".join)
def test_a_file_that_is_no_yaml_is_named(app: Command, own: Path, overrides: list[str]) -> None:
    (own / "loss" / "broken.yaml").write_text("name: {\nbeta: 1\n")
    done = app("--config-dir", "own", "-m", *overrides)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Hydra cannot apply ") and str(own / "loss" / "broken.yaml") in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "- name: mine\n", "mine\n", "# @package _global_\n"])
def test_a_member_that_has_no_keys_is_named(app: Command, own: Path, text: str) -> None:
    (own / "loss" / "empty.yaml").write_text(text)
    done = app("--config-dir", "own", "loss=empty", "run_dir=out")
    assert done.returncode == 2
    assert done.stderr.startswith("loss")
    assert done.stderr.endswith(" is needed here, and was deleted or never set (loss=empty is chosen).\n")
