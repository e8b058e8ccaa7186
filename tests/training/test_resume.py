"""A run killed by the system in the middle of an epoch goes on, in a new process, on the path of an undisturbed one."""

from __future__ import annotations

import multiprocessing
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from learnat.errors import LearnatError
from learnat.training.optimizers import muon_adamw
from learnat.training.resume import ReplacedFile, ResumePoint, resume_file
from tests.training import runs
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


class Unsaveable:
    """Fails in the middle of a save, as a full disk would."""

    def __reduce__(self) -> Any:
        raise OSError("no space left on device")


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "resume.ckpt"
    ReplacedFile().save_checkpoint({"step": 1}, path)
    with pytest.raises(OSError, match="no space"):
        ReplacedFile().save_checkpoint({"step": torch.ones(100), "rest": Unsaveable()}, path)
    assert torch.load(path) == {"step": 1} and resume_file(tmp_path) == path
    ReplacedFile().save_checkpoint({"step": 2}, path)
    assert torch.load(path) == {"step": 2} and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "resume.ckpt"
    ReplacedFile().save_checkpoint({"weight": torch.ones(10_000)}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(LearnatError, match=r"resume\.ckpt cannot be read: .*delete it to start the stage again"):
        resume_file(tmp_path)


def test_slow_saves_are_further_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = ReplacedFile.save_checkpoint

    def slow(self: ReplacedFile, *args: Any, **kwargs: Any) -> None:
        time.sleep(1)
        fast(self, *args, **kwargs)

    monkeypatch.setattr(ReplacedFile, "save_checkpoint", slow)
    point = ResumePoint(minutes=0)
    monkeypatch.setattr(runs, "EveryStep", lambda: point)
    assert len(run(tmp_path, False)) == STEPS
    assert point.step == 1 and point.interval_s >= 10
