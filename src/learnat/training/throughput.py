"""The callback that measures training and gives the loggers their rows."""

from __future__ import annotations

import math
import resource
import sys
import time
from dataclasses import astuple
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from learnat.errors import LearnatError
from learnat.synthesis.checks import check_positive
from learnat.training.flops import flops_per_token, peak_flops
from learnat.training.metrics import is_logged
from learnat.training.modules import PolicyModule
from learnat.training.packing import StepLoader
from learnat.training.rates import Interval, Work
from learnat.training.resume import newest_step

GIB = 2**30


def peak_memory_gib(device: torch.device) -> dict[str, float]:
    """The most memory held so far, by name, in GiB (2³⁰ bytes).

    On a GPU ``peak_allocated_gib`` (tensors) and ``peak_reserved_gib`` (what the allocator took from the device), both
    of this process and since the stage began; on a CPU ``peak_resident_gib``, since the process began.
    """
    if device.type == "cuda":
        return {
            "peak_allocated_gib": torch.cuda.max_memory_allocated(device) / GIB,
            "peak_reserved_gib": torch.cuda.max_memory_reserved(device) / GIB,
        }
    unit = 1 if sys.platform == "darwin" else 1024
    return {"peak_resident_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB}


class Throughput(Callback):
    """Gives the loggers their rows (see ``metrics``): the module's metrics, the rates since the last row, peak memory.

    The clock starts when the first step that this process takes has finished: compilation and the allocator's growth
    are not measured, nor is anything before a resume. It is read when the metrics are, which waits for the device.

    ``peak_tflops`` is the device's rate in 10¹² FLOP/s that MFU is a share of; None takes it from ``flops``, and MFU
    is not logged for a device that is not in that table.

    A row whose loss or gradient norm is not finite ends the run with ``LearnatError``: no later step would mend it.
    """

    def __init__(self, peak_tflops: float | None = None) -> None:
        if peak_tflops is not None:
            check_positive("callbacks.throughput.peak_tflops", peak_tflops)
        self.peak_tflops = peak_tflops
        self._reset()

    def _reset(self) -> None:
        self.measured = Interval()
        """The steps that were timed, up to the newest row."""
        self._open = Interval()  # the steps since that row, not timed yet
        self._clock: float | None = None  # when that row was read
        self._waited_s = 0.0
        self.steps = 0
        self.seconds = 0.0
        """All steps of this process and the time they took, the first one included; known when the stage has ended."""
        self._started = time.perf_counter()
        self._token_flops = 0
        self._peak_flops: float | None = None
        self._memory: dict[str, float] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, PolicyModule)
        self._reset()
        self._token_flops = flops_per_token(pl_module.model)
        device = pl_module.device
        peak = peak_flops(torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU", self.peak_tflops)
        self._peak_flops = None if peak is None else peak * trainer.world_size
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, PolicyModule)
        self.steps += 1
        if self._clock is not None:
            self._open += Interval(steps=1, work=Work.of(batch))
        if is_logged(trainer.global_step, trainer.log_every_n_steps):
            self._log(trainer, pl_module)
        if self._clock is None:
            if pl_module.device.type == "cuda":
                torch.cuda.synchronize(pl_module.device)
            self._clock, self._waited_s = time.perf_counter(), _waited_s(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, PolicyModule)
        every = trainer.log_every_n_steps
        if self.steps and every > 0 and not is_logged(trainer.global_step, every):
            self._log(trainer, pl_module)
        self.seconds = time.perf_counter() - self._started

    def _log(self, trainer: L.Trainer, module: PolicyModule) -> None:
        """Read the device once, close the open interval, and hand one row to every logger."""
        metrics, work = _read(trainer, module, self._open.work)
        interval = Interval()
        if self._clock is not None:
            now, waited_s = time.perf_counter(), _waited_s(trainer)
            interval = Interval(self._open.steps, now - self._clock, waited_s - self._waited_s, work)
            self._clock, self._waited_s = now, waited_s
        self.measured, self._open = self.measured + interval, Interval()
        self._memory = peak_memory_gib(module.device)
        row = {f"train/{name}": value for name, value in metrics.items()}
        row["train/learning_rate"] = module.learning_rate
        row.update({f"throughput/{name}": value for name, value in self._rates(interval).items()})
        row.update({f"memory/{name}": value for name, value in self._memory.items()})
        module.logged = row
        for logger in trainer.loggers:
            logger.log_metrics(row, step=trainer.global_step)
            logger.save()
        _check_finite(row, trainer)

    def _rates(self, interval: Interval) -> dict[str, float]:
        rates = interval.rates()
        if rates and self._peak_flops is not None:
            rates["mfu"] = interval.mfu(self._token_flops, self._peak_flops)
        return rates

    def summary(self) -> str:
        """The stage in one line: steps and seconds are all of it, the rates are those of ``measured``."""
        parts = [f"{self.steps} steps in {self.seconds:.0f} s"]
        rates, work = self._rates(self.measured), self.measured.work
        if rates:
            parts.append(
                f"{rates['tokens_per_s']:,.0f} tokens/s for {rates['logical_tokens_per_s']:,.0f} logical tokens/s "
                f"({work.logical_tokens / work.tokens:.1f}x fewer tokens than path by path)"
            )
        if "pairs_per_s" in rates:
            parts.append(f"{rates['pairs_per_s']:,.1f} pairs/s")
        if "mfu" in rates:
            parts.append(f"MFU {rates['mfu']:.2f}")
        if self._memory:
            parts.append(f"peak memory {max(self._memory.values()):.1f} GiB")
        return ", ".join(parts)


def _check_finite(row: dict[str, float], trainer: L.Trainer) -> None:
    for name in ("train/loss", "train/gradient_norm"):
        if math.isfinite(row.get(name, 0.0)):
            continue
        saved = newest_step(trainer)
        point = f"The newest resume point is from step {saved}." if saved is not None else "There is no resume point."
        raise LearnatError(
            f"{name} is {row[name]} in the row of step {trainer.global_step}: training has diverged. {point} "
            "Lower the learning rate (lr of the stage's model.optim), or bound the gradient's norm (gradient_clip)."
        )


def _waited_s(trainer: L.Trainer) -> float:
    loader = trainer.train_dataloader
    assert isinstance(loader, StepLoader)
    return loader.waited_s


def _read(trainer: L.Trainer, module: PolicyModule, work: Work) -> tuple[dict[str, float], Work]:
    """The module's metrics and ``work``, summed over ranks; one transfer from the device for all of them."""
    means = module.step_metrics.take()
    counts = torch.tensor(astuple(work), dtype=torch.float64, device=module.device)
    values = torch.cat([torch.stack([value.double() for value in means.values()]), counts])
    total = trainer.strategy.reduce(values, reduce_op="sum")
    assert isinstance(total, torch.Tensor)
    numbers = total.tolist()
    return dict(zip(means, numbers[: len(means)], strict=True)), Work(*map(round, numbers[len(means) :]))
