"""The trainer's progress bar, with rate and ETA."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from learnat.synthesis.checks import check_number
from learnat.training.modules import PolicyModule

STATUS = {
    "train/loss": "loss {:.4f}",
    "throughput/tokens_per_s": "{:,.0f} tokens/s",
    "throughput/pairs_per_s": "{:,.1f} pairs/s",
}
"""What a progress bar shows of a loggers' row."""


class StepProgress(Callback):
    """One bar over all optimiser steps of the stage, with the loss and rates of the loggers' newest row, and ETA.

    Where the output is no terminal, a line is printed every ``plain_every_s`` seconds instead. Nothing is read from
    the device for it: between two rows the bar moves on by its step count alone.
    """

    def __init__(self, plain_every_s: float = 30.0) -> None:
        check_number("callbacks.progress.plain_every_s", plain_every_s, least=0.0)
        self.plain_every_s = plain_every_s
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._started = self._said = 0.0
        self._first = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._started = self._said = time.monotonic()
        self._first = trainer.global_step
        console = Console()
        if trainer.is_global_zero and console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[status]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=console,
            )
            self._progress.start()
            self._task = self._progress.add_task(_stage(trainer), total=_total(trainer), status="")

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, PolicyModule)
        if not trainer.is_global_zero:
            return
        now = time.monotonic()
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=trainer.global_step, status=status(pl_module.logged))
        elif now - self._said >= self.plain_every_s:
            self._said = now
            done = trainer.global_step - self._first
            left = f"{(now - self._started) / done * (_total(trainer) - trainer.global_step):.0f} s left"
            step = f"step {trainer.global_step}/{_total(trainer)}"
            print(f"{_stage(trainer)}: {', '.join(filter(None, (step, status(pl_module.logged), left)))}")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def status(row: Mapping[str, float]) -> str:
    """Loss and rates of a loggers' row, as far as it has them."""
    return ", ".join(text.format(row[name]) for name, text in STATUS.items() if name in row)


def _stage(trainer: L.Trainer) -> str:
    return Path(trainer.default_root_dir).name


def _total(trainer: L.Trainer) -> int:
    return int(trainer.estimated_stepping_batches)
