"""How tries become optimiser steps: which tries make a step, and how a step is cut into packs that fit."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from learnat.errors import LearnatError, nearest
from learnat.synthesis.checks import check_count
from learnat.training.batches import TokenBatch, make_batch
from learnat.training.tries import TokenTrie, join

LAYOUTS = ("packed", "padded")


@dataclass(frozen=True)
class Packing:
    """How training items are laid out (config node ``packing``).

    ``layout`` is ``packed`` (shared prefixes once) or ``padded``; a trie holds up to ``questions_per_trie`` questions
    of one database; an optimiser step draws tries from ``databases_per_step`` databases, different ones as long as
    they last; a forward pass takes at most ``token_budget`` positions, or one trie, and its length is rounded up to
    a multiple of ``length_bucket``, so that a GPU compiles for few lengths. Raises ``LearnatError`` for an unknown
    layout and for a number below 1.
    """

    layout: str = "packed"
    questions_per_trie: int = 16
    databases_per_step: int = 8
    token_budget: int = 16384
    length_bucket: int = 128

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise LearnatError(f"packing.layout={self.layout!r} is not known. {nearest(str(self.layout), LAYOUTS)}")
        for name in ("questions_per_trie", "databases_per_step", "token_budget", "length_bucket"):
            check_count(f"packing.{name}", getattr(self, name))

    def arranged(self, chunks: Sequence[Sequence[TokenTrie]]) -> list[TokenTrie]:
        """The tries that an optimiser step lays out, from chunks of questions that share a schema.

        Packed, a chunk becomes one trie. Padded rows share nothing: the questions are sorted by length, so that
        rows of similar lengths meet in a pass.
        """
        if self.layout == "packed":
            return [join(chunk) for chunk in chunks]
        return sorted((trie for chunk in chunks for trie in chunk), key=lambda trie: trie.longest_path)

    def positions(self, tries: Sequence[TokenTrie]) -> int:
        """What a pass over ``tries`` takes of the budget, padding included: padded rows are as long as the longest."""
        if self.layout == "packed":
            rows, length = 1, sum(trie.tokens for trie in tries)
        else:
            rows, length = sum(len(trie.leaves) for trie in tries), max(trie.longest_path for trie in tries)
        return rows * -(-length // self.length_bucket) * self.length_bucket

    def batch(self, tries: Sequence[TokenTrie], pad_id: int) -> TokenBatch:
        """One forward pass over ``tries``."""
        return make_batch(tries, self.layout, pad_id, self.length_bucket)


@dataclass(frozen=True)
class Item:
    """One question's trie."""

    db_id: str
    trie: TokenTrie


class StepLoader:
    """Yields optimiser steps, each a list of packs; one pass over it is an epoch, in an order of its own.

    The order depends on the seed and the epoch alone. With several ranks, each takes its share of a step's tries, and
    all make the same number of packs of it: they know one another's shares, so that nothing has to be agreed upon.
    While a step is trained on, a thread builds the next one; ``pinned`` puts it into page-locked memory for a GPU.
    """

    def __init__(
        self,
        items: Sequence[Item],
        packing: Packing,
        pad_id: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        pinned: bool = False,
    ) -> None:
        self.items = items
        self.packing = packing
        self.pad_id = pad_id
        self.seed = seed
        self.rank = rank
        self.world = world
        self.pinned = pinned
        self.epoch = 0
        self.position = 0
        self.waited_s = 0.0
        """Seconds that whoever takes the steps has waited for them."""

    def __len__(self) -> int:
        return len(self._plan(0))

    def state_dict(self) -> dict[str, int]:
        """Where the pass stands: Lightning saves it with a checkpoint, so that resuming repeats and skips nothing."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.position = state["epoch"], state["position"]

    def __iter__(self) -> Iterator[list[TokenBatch]]:
        plan = self._plan(self.epoch)
        # A trainer that knows the length never asks past the last step, so the turn of the epoch is made here.
        if self.position >= len(plan):
            self.epoch, self.position = self.epoch + 1, 0
            plan = self._plan(self.epoch)
        with ThreadPoolExecutor(1, "next-step") as builder:
            coming = builder.submit(self._build, plan[self.position])
            while self.position < len(plan):
                started = time.perf_counter()
                packs = coming.result()
                self.waited_s += time.perf_counter() - started
                # Steps handed out are counted, not those built: a resumed pass builds the one in the making again.
                self.position += 1
                if self.position < len(plan):
                    coming = builder.submit(self._build, plan[self.position])
                yield packs

    def _build(self, step: list[list[Item]]) -> list[TokenBatch]:
        """This rank's packs of a step, filled up with idle ones to as many as the rank with the most has."""
        tries = self.packing.arranged([[item.trie for item in items] for items in step])
        sizes = [self.packing.positions([trie]) for trie in tries]
        plans = [self._packs([tries[i] for i in share]) for share in shares(sizes, self.world)]
        packs = [self.packing.batch(pack, self.pad_id) for pack in plans[self.rank]]
        if missing := max(map(len, plans)) - len(packs):
            packs += [self._idle_pack(tries[sizes.index(min(sizes))])] * missing
        return [pack.pin_memory() for pack in packs] if self.pinned else packs

    def _idle_pack(self, trie: TokenTrie) -> TokenBatch:
        """A pack that adds nothing to loss, gradient or figures, for a rank whose collectives must match others'."""
        blank = TokenTrie(tuple(replace(node, weight=0.0) for node in trie.nodes), questions=0)
        return replace(self.packing.batch([blank], self.pad_id), tokens=0, logical_tokens=0)

    def _plan(self, epoch: int) -> list[list[list[Item]]]:
        """Steps of tries of items: within a step different databases, as long as they last."""
        rng = random.Random(f"{self.seed}/{epoch}")
        queues = []
        for items in _by_database(self.items).values():
            rng.shuffle(items)
            queues.append(_chunks(items, self.packing.questions_per_trie))
        rounds = []
        # Databases with more questions appear in more rounds, spread evenly over the epoch.
        for queue in queues:
            rounds += [((i + rng.random()) / len(queue), chunk) for i, chunk in enumerate(queue)]
        rounds.sort(key=lambda pair: pair[0])
        return _steps([chunk for _, chunk in rounds], self.packing.databases_per_step)

    def _packs(self, tries: Sequence[TokenTrie]) -> list[list[TokenTrie]]:
        packs: list[list[TokenTrie]] = []
        for trie in tries:
            if not packs or self.packing.positions([*packs[-1], trie]) > self.packing.token_budget:
                packs.append([])
            packs[-1].append(trie)
        return packs


def shares(sizes: Sequence[int], ranks: int) -> list[list[int]]:
    """Which of ``sizes`` each rank takes (ascending indices): the largest goes first, to the rank with least so far."""
    load = [0] * ranks
    mine: list[list[int]] = [[] for _ in range(ranks)]
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        least = load.index(min(load))
        load[least] += sizes[i]
        mine[least].append(i)
    return [sorted(share) for share in mine]


def _steps(chunks: list[list[Item]], width: int) -> list[list[list[Item]]]:
    """Cut ``chunks`` into steps of ``width``, preferring chunks of databases that are not yet in the step."""
    steps, waiting = [], list(chunks)
    while waiting:
        step: list[list[Item]] = []
        while waiting and len(step) < width:
            present = {items[0].db_id for items in step}
            fresh = next((i for i, items in enumerate(waiting) if items[0].db_id not in present), 0)
            step.append(waiting.pop(fresh))
        steps.append(step)
    return steps


def shared_tries(items: Sequence[Item], size: int) -> list[list[Item]]:
    """All ``items``, in groups of up to ``size`` of one database: each makes one trie."""
    return [chunk for mine in _by_database(items).values() for chunk in _chunks(mine, size)]


def _by_database(items: Sequence[Item]) -> dict[str, list[Item]]:
    grouped: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        grouped[item.db_id].append(item)
    return grouped


def _chunks(items: list[Item], size: int) -> list[list[Item]]:
    return [items[i : i + size] for i in range(0, len(items), size)]
