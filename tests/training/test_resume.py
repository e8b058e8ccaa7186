"""A run killed by the system in the middle of an epoch goes on, in a new process, on the path of an undisturbed one."""

from __future__ import annotations

import multiprocessing
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from learnat.training.optimizers import muon_adamw
from tests.training.runs import STEPS, read_path, run


def process(folder: Path, *args: Any, **kwargs: Any) -> int:
    """Exit code of a run in a process of its own; negative: the signal that ended it."""
    context = multiprocessing.get_context("forkserver")
    # One import of torch and transformers serves all processes; each is a clean fork of the server.
    context.set_forkserver_preload(["tests.training.runs"])
    child = context.Process(target=run, args=(folder, *args), kwargs=kwargs)
    child.start()
    child.join(timeout=120)
    assert child.exitcode is not None
    return child.exitcode


CASES = {
    "sft": (False, {}),
    "preference": (True, {}),
    "sft with dropout": (False, {"dropout": 0.3}),
    "sft with Muon": (False, {"optimizer": partial(muon_adamw, muon_lr=5e-3, lr=1e-3)}),
}


@pytest.mark.parametrize(
    ("case", "kill_after"),
    # An epoch has 3 steps: 6 is the end of one.
    [*((case, 4) for case in CASES), ("sft", 6), ("preference", 2)],
)
def test_a_killed_run_goes_on_on_the_same_path(tmp_path: Path, case: str, kill_after: int) -> None:
    preference, settings = CASES[case]
    expected = run(tmp_path / "whole", preference, **settings)
    assert len(expected) == STEPS

    folder = tmp_path / "killed"
    assert process(folder, preference, kill_after=kill_after, **settings) == -signal.SIGKILL
    assert [step for step, _ in read_path(folder / "losses.txt")] == list(range(1, kill_after + 1))
    assert (folder / "resume.ckpt").is_file()

    assert process(folder, preference, **settings) == 0
    path = read_path(folder / "losses.txt")
    # The kill came before the last step was saved, so it is done again: also that must give the same loss.
    assert [step for step, _ in path] == [*range(1, kill_after + 1), *range(kill_after, STEPS + 1)]
    assert [loss for _, loss in path] == pytest.approx([expected[step - 1] for step, _ in path], rel=1e-6)
