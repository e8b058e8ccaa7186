"""The resume point: a stage's newest state on disk, from which a rerun goes on."""

from __future__ import annotations

import math
import os
import pickle
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from learnat.errors import LearnatError
from learnat.synthesis.checks import check_number
from learnat.training.modules import PolicyModule

RESUME_FILE = "resume.ckpt"
SAVES_APART = 10
"""Time between two saves, in durations of a save: saving takes at most a tenth of the run, however slow the disk."""


class ReplacedFile(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there: a kill at any instant leaves the old one or the new.

    Lightning's own writer goes by the system's temporary folder, often another file system: its move is then a copy.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        partial = Path(f"{path}.partial")
        with partial.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)


class ResumePoint(Checkpoint):
    """Keeps the stage's newest state on disk, written every ``minutes``: a rerun in the same folder goes on there.

    Where saves are slow they are further apart (``SAVES_APART``). A state whose metrics are not finite is not saved.
    (Lightning's own ``ModelCheckpoint(train_time_interval=…)`` never saves under manual optimisation.)
    """

    def __init__(self, minutes: float = 2.0) -> None:
        check_number("callbacks.resume.minutes", minutes, least=0.0)
        self.seconds = 60 * minutes
        self.step: int | None = None
        """Optimiser steps that the newest state has behind it; None: there is none."""
        self._saved = self._save_s = 0.0

    @property
    def interval_s(self) -> float:
        """Seconds from the end of a save to the next one."""
        return max(self.seconds, SAVES_APART * self._save_s)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        trainer.strategy.checkpoint_io = ReplacedFile()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.step = trainer.global_step or None
        self._saved = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, PolicyModule)
        due = time.monotonic() - self._saved >= self.interval_s
        if trainer.world_size > 1:
            # All ranks take part in a save, and their clocks differ.
            due = trainer.strategy.broadcast(due)
        if due and trainer.strategy.reduce_boolean_decision(_is_finite(pl_module)):
            started = time.monotonic()
            path = Path(trainer.default_root_dir) / RESUME_FILE
            trainer.save_checkpoint(path, weights_only=False)  # the optimiser and the loader go with them
            self.step, self._saved = trainer.global_step, time.monotonic()
            self._save_s = self._saved - started


def _is_finite(module: PolicyModule) -> bool:
    """Whether the newest row and the steps since then are; reads the device, as the save that follows does anyway."""
    return all(map(math.isfinite, module.logged.values())) and module.step_metrics.are_finite()


def newest_step(trainer: L.Trainer) -> int | None:
    """The step that the trainer's resume point is from; None where there is none."""
    return next((point.step for point in trainer.checkpoint_callbacks if isinstance(point, ResumePoint)), None)


def resume_file(folder: Path) -> Path | None:
    """The resume point in a stage's folder, if there is one; raises ``LearnatError`` for one that cannot be read."""
    path = folder / RESUME_FILE
    if not path.is_file():
        return None
    try:
        # Mapped, its tensors are not read here: a file that was cut off lacks its table of contents.
        torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise LearnatError(
            f"The resume point {path} cannot be read: {_first_line(error)}. "
            "If it is damaged, delete it to start the stage again."
        ) from error
    return path


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
