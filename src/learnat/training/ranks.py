"""The ranks of a run on several devices: which one this is, what only the first does, what all of them add up.

A rank is a process that torchrun started, one to a device; without torchrun there is one rank, and everything here is
trivial. Torch is imported where it is used: a main asks who it is before it knows what it will need.
"""

from __future__ import annotations

import atexit
import gc
import os
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from learnat.errors import LearnatError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
R = TypeVar("R")

PATIENCE = timedelta(days=7)
"""How long ranks wait for the first one, which makes trees and scores policies; torchrun ends them if it fails."""

START = "LEARNAT_STARTED"
"""The environment variable from which conf/base.yaml takes the time in a run folder's name."""

GRACE_S = 15.0
"""How long a rank that failed waits for the first one to report, in seconds; torchrun ends it when that one ends."""

_talk: Any = None
"""The process group in which ranks wait and exchange Python objects, over the network and not over the devices."""


def count() -> int:
    """How many ranks there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def index() -> int:
    """Which rank this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Whether this rank speaks for all: it prints, writes files, makes trees and scores."""
    return index() == 0


def connect() -> None:
    """Set the ranks' process group up, which Lightning's strategies then find; calling it again changes nothing.

    No GPU is touched: NCCL connects with the first tensor on one, so ``bind_gpu`` must come before that.
    """
    global _talk
    if count() == 1 or _talk is not None:
        return
    import torch
    from torch import distributed

    # Tensors travel from GPU to GPU; Python objects, which Lightning broadcasts too, must not wait for a GPU.
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    _talk = distributed.new_group(backend="gloo", timeout=PATIENCE)
    atexit.register(distributed.destroy_process_group)


def disconnect() -> None:
    """Leave the process group at the end of a run that went well; without one nothing happens.

    Gloo's threads drop the tensors of a collective some time after it is done, and need Python's lock for that. If the
    interpreter is ending by then, the process aborts, and a finished run counts as failed. A group that nothing refers
    to any more joins its threads. After an error this is left undone: a collective that others never entered would
    keep its thread for as long as ``PATIENCE``.
    """
    global _talk
    if _talk is None:
        return
    from torch import distributed

    atexit.unregister(distributed.destroy_process_group)
    _talk = None
    distributed.destroy_process_group()
    gc.collect()


def bind_gpu() -> None:
    """Make the GPU that has this rank's number on its node the current one."""
    if count() > 1:
        import torch

        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))


def yield_to_first() -> None:
    """Let the first rank report a failure that it shares, before this one does.

    torchrun ends all ranks when one ends. If this rank ended first, the message might never be written; if the first
    one does, this one is ended while it waits here. It comes back only if the failure is this rank's own.
    """
    if not is_first():
        time.sleep(GRACE_S)


def share_start() -> None:
    """Let all ranks name their run folder after the moment at which the first one started."""
    if count() > 1:
        os.environ[START] = on_first(lambda: datetime.now().strftime("%Y-%m-%d_%H-%M-%S"))


def on_first(work: Callable[[], T]) -> T:
    """What ``work`` returns on the first rank; the others wait for it.

    A ``LearnatError`` there is raised on all ranks; any other error there alone, and torchrun ends the others.
    """
    if count() == 1:
        return work()
    from torch import distributed

    connect()
    answer: list[Any] = [None, None]
    if is_first():
        try:
            answer[0] = work()
        except LearnatError as error:
            answer[1] = error
    distributed.broadcast_object_list(answer, src=0, group=_talk)
    result, mistake = answer
    if mistake is not None:
        raise mistake
    return result


def spread(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """``work`` on every item, the items shared out over the ranks; all ranks get all results, in the items' order.

    Every rank works equally often, on the last item again where its own are fewer: a sharded model runs on all ranks
    at once or not at all.
    """
    if count() == 1:
        return [work(item) for item in items]
    from torch import distributed

    connect()
    rounds = -(-len(items) // count())
    mine = [work(items[min(turn * count() + index(), len(items) - 1)]) for turn in range(rounds)]
    gathered: list[list[R]] = [[] for _ in range(count())]
    distributed.all_gather_object(gathered, mine, group=_talk)
    return [gathered[i % count()][i // count()] for i in range(len(items))]


def total(tensor: Tensor) -> Tensor:
    """The sum of ``tensor`` over all ranks."""
    if count() == 1:
        return tensor
    from torch import distributed

    connect()
    summed = tensor.detach().clone()
    distributed.all_reduce(summed)
    return summed
