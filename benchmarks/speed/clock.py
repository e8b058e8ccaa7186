"""Seconds, memory and failures of one setting, measured the same way on both sides."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from learnat.training.flops import flops_per_token, peak_flops

Result = TypeVar("Result")


class StepClock:
    """Seconds from the end of one optimiser step to the end of the next, so that loading data counts.

    On a GPU the marks are events of its own timeline: nothing waits for the device inside the loop.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._marks: list[torch.cuda.Event] = []
        self._times: list[float] = []
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()

    def mark(self) -> None:
        if self._cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append(event)
        else:
            self._times.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """One value for each step after the first mark."""
        if not self._cuda:
            return [b - a for a, b in zip(self._times, self._times[1:], strict=False)]
        torch.cuda.synchronize()
        return [a.elapsed_time(b) / 1e3 for a, b in zip(self._marks, self._marks[1:], strict=False)]

    def peak_gib(self) -> float:
        """Allocated at most since the clock was made; 0 on a CPU."""
        return torch.cuda.max_memory_allocated() / 2**30 if self._cuda else 0.0


def free(compiled: bool) -> None:
    """Give back what a setting held.

    After a ``compiled`` one the compiler forgets its code: the next setting's new adapters would count as further
    versions of it, and beyond eight versions PyTorch stops compiling without a word.
    """
    if compiled:
        torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def attempt(run: Callable[[], Result]) -> Result | str:
    """What ``run`` returns, or its error in one line: a setting that does not fit must not end the benchmark."""
    try:
        return run()
    except torch.OutOfMemoryError:
        error = "out of memory"
    except Exception as caught:
        error = f"{type(caught).__name__}: {' '.join(str(caught).split())}"[:200]
    # The traceback, and with it the setting's tensors, is gone only here.
    free(compiled=False)
    return error


def full_rate_seconds(model: Any, device: torch.device) -> float:
    """Seconds that a token's FLOPs take at the device's full rate; 0 where that is not known.

    Times tokens a second it is the MFU. The adapters' base is frozen on both sides: 4·N FLOPs a token.
    """
    peak = peak_flops(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    return flops_per_token(model) / peak if peak else 0.0
