"""The ranks of a run on several devices: which one this is, what only the first does, what all of them add up.

A rank is a process that torchrun started, one to a device; without torchrun there is one rank, and everything here is
trivial. Torch is imported where it is used: a main asks who it is before it knows what it will need.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
R = TypeVar("R")

PATIENCE = timedelta(days=7)
"""How long ranks wait for the first one, which makes trees and scores policies; torchrun ends them if it fails."""

START = "LEARNAT_STARTED"
"""The environment variable from which conf/base.yaml takes the time in a run folder's name."""

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
    """Set the ranks' process group up, which Lightning's strategies then find; calling it again changes nothing."""
    global _talk
    if count() == 1 or _talk is not None:
        return
    import torch
    from torch import distributed

    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        # Tensors travel from GPU to GPU; Python objects, which Lightning broadcasts too, must not wait for a GPU.
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend)
    _talk = distributed.new_group(backend="gloo", timeout=PATIENCE)
    atexit.register(distributed.destroy_process_group)


def share_start() -> None:
    """Let all ranks name their run folder after the moment at which the first one started."""
    if count() > 1:
        os.environ[START] = on_first(lambda: datetime.now().strftime("%Y-%m-%d_%H-%M-%S"))


def on_first(work: Callable[[], T]) -> T:
    """What ``work`` returns on the first rank; the others wait for it. Raises there alone: torchrun ends the others."""
    if count() == 1:
        return work()
    from torch import distributed

    connect()
    result: list[Any] = [work() if is_first() else None]
    distributed.broadcast_object_list(result, src=0, group=_talk)
    return result[0]


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
