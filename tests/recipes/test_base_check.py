"""What all commands share is checked before any of them begins, also where the command does not look at it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from learnat.errors import LearnatError
from learnat.recipes.base_check import check_base

CONF = Path(__file__).parents[2] / "conf"
WHOLE = "must be a whole number above 0."
SEED = "must be a whole number from 0 to 4294967295."


def check(command: str, *overrides: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        check_base(compose(command, list(overrides)))


@pytest.mark.parametrize("command", ["train", "synthesize", "evaluate", "ask", "calls", "recall"])
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=abc", f"seed=abc {SEED}"),
        ("seed=1.5", f"seed=1.5 {SEED}"),
        ("seed=-1", f"seed=-1 {SEED}"),
        ("seed=4294967296", f"seed=4294967296 {SEED}"),
        ("workers=x", f"workers='x' {WHOLE}"),
        ("workers=0", f"workers=0 {WHOLE}"),
        ("workers=-1", f"workers=-1 {WHOLE}"),
        ("workers=1.5", f"workers=1.5 {WHOLE}"),
        ("executor.timeout_s=abc", "executor.timeout_s='abc' must be a number of seconds above 0."),
        ("executor.timeout_s=0", "executor.timeout_s=0 must be a number of seconds above 0."),
        ("executor.max_rows=0", f"executor.max_rows=0 {WHOLE}"),
        ("unanswered=skipp", "unanswered='skipp' is unknown. Did you mean 'skip'?"),
        ("cache_dir=null", "cache_dir=None must be a folder."),
    ],
)
def test_refused(command: str, override: str, message: str) -> None:
    with pytest.raises(LearnatError) as caught:
        check(command, override)
    assert str(caught.value) == message


@pytest.mark.parametrize("command", ["train", "synthesize", "evaluate", "ask", "calls", "recall"])
def test_accepted(command: str) -> None:
    check(command)
    check(command, "seed=0", "workers=2", "executor.timeout_s=0.5", "executor.max_rows=1", "unanswered=skip")


def test_a_command_that_ignores_the_key_refuses_it_too_and_records_nothing(
    app: Callable[..., subprocess.CompletedProcess[str]], folder: Path
) -> None:
    done = app("executor.timeout_s=0", "run_dir=run")
    assert done.returncode == 2
    assert done.stderr.strip() == "executor.timeout_s=0 must be a number of seconds above 0."
    assert not (folder / "run" / "provenance.json").exists()
