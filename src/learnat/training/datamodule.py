"""The decomposition datamodule: trees in, optimiser steps out."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import torch
from torch import nn

from learnat.benchmarks.types import Benchmark
from learnat.errors import LearnatError, nearest
from learnat.synthesis.tree import Step, read_trees, solved_paths
from learnat.training.batches import TokenBatch, make_batch
from learnat.training.encoding import PromptEncoder
from learnat.training.reference import reference_logprobs, with_reference
from learnat.training.selection import PairSelection, TrieBuilder
from learnat.training.tries import TokenTrie, join

LAYOUTS = ("packed", "padded")


@dataclass(frozen=True)
class Packing:
    """How training items are laid out (config node ``packing``).

    ``layout`` is ``packed`` (shared prefixes once) or ``padded``; a trie holds up to ``questions_per_trie`` questions
    of one database; an optimiser step draws tries from ``databases_per_step`` databases, different ones as long as
    they last; a forward pass takes at most ``token_budget`` positions, or one trie.
    """

    layout: str = "packed"
    questions_per_trie: int = 16
    databases_per_step: int = 8
    token_budget: int = 16384

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise LearnatError(f"packing.layout={self.layout!r} is not known. {nearest(self.layout, LAYOUTS)}")

    def positions(self, trie: TokenTrie) -> int:
        """What ``trie`` takes of the budget, padding included."""
        return trie.tokens if self.layout == "packed" else len(trie.leaves) * trie.longest_path


@dataclass(frozen=True)
class Item:
    """One question's trie."""

    db_id: str
    trie: TokenTrie


class DecompositionDataModule(L.LightningDataModule):
    """SFT paths (``selection=None``) or step pairs of the trees that ``make_trees`` names.

    ``make_trees`` returns the path of trees.jsonl and runs synthesis when it is not there yet. Items longer than
    ``context_length`` are dropped, never truncated, and counted in ``dropped``. Raises ``LearnatError`` when nothing
    is left to train on.
    """

    def __init__(
        self,
        make_trees: Callable[[], Path],
        benchmark: Benchmark,
        split: str,
        encoder: PromptEncoder,
        packing: Packing,
        context_length: int,
        seed: int,
        paths: int = 1,
        selection: PairSelection | None = None,
    ) -> None:
        super().__init__()
        self.make_trees = make_trees
        self.benchmark = benchmark
        self.split = split
        self.encoder = encoder
        self.packing = packing
        self.context_length = context_length
        self.seed = seed
        self.paths = paths
        self.selection = selection
        self.items: list[Item] = []
        self.dropped = 0
        self.unsolved = 0
        self._trees: Path | None = None

    def prepare_data(self) -> None:
        self._trees = self.make_trees()

    def setup(self, stage: str | None = None) -> None:
        if self.items:
            return
        path = self._trees or self.make_trees()
        examples = {example.example_id: example for example in self.benchmark.examples(self.split)}
        builder = TrieBuilder(self.encoder)
        for tree in read_trees(path):
            example = examples.get(tree.example_id)
            if example is None:
                continue
            if not tree.stats.solved:
                self.unsolved += 1
                continue
            database = self.benchmark.database(tree.db_id)
            if not self.items:
                steps = [Step(node.sub_question, node.sql) for node in solved_paths(tree)[0]]
                self.encoder.check(database, example, steps)
            if self.selection is None:
                trie = builder.sft(tree, example, database, self.paths)
            else:
                pairs = self.selection.pairs(tree)
                trie = builder.preference(tree, example, database, pairs) if pairs else None
            if trie is None:
                continue
            if trie.longest_path > self.context_length:
                self.dropped += 1
                continue
            self.items.append(Item(tree.db_id, trie))
        if not self.items:
            what = "solved paths" if self.selection is None else "step pairs"
            raise LearnatError(
                f"{path} holds no {what} to train on ({self.unsolved} trees unsolved, {self.dropped} longer than "
                f"model.context_length={self.context_length} tokens). Raise data.limit, choose a proposer with "
                "mutations for preference losses, or a longer context."
            )

    def train_dataloader(self) -> StepLoader:
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return StepLoader(self.items, self.packing, self.encoder.tokenizer.pad_token_id, self.seed, rank, world)

    @property
    def supervised_nodes(self) -> int:
        return sum(node.supervised for item in self.items for node in item.trie.nodes)

    def summary(self) -> str:
        """One line on what is trained on."""
        pairs = sum(len(item.trie.pairs) for item in self.items)
        what = f", {pairs:,} step pairs" if self.selection is not None else ""
        steps = sum(node.supervised for item in self.items for node in item.trie.nodes)
        return (
            f"{len(self.items):,} questions, {steps:,} steps{what} ({self.unsolved} unsolved, "
            f"{self.dropped} longer than the context of {self.context_length} tokens)"
        )

    def add_reference(self, model: nn.Module, device: torch.device | str, advance: Callable[[int], None]) -> None:
        """Give every step the log-prob that ``model``, the policy before its first step, assigns to it."""
        groups = [
            chunk
            for items in _by_database(self.items).values()
            for chunk in _chunks(items, self.packing.questions_per_trie)
        ]
        pad_id = self.encoder.tokenizer.pad_token_id
        batches = (make_batch([join([item.trie for item in group])], self.packing.layout, pad_id) for group in groups)
        logprobs = reference_logprobs(model, batches, device, advance)
        ordered = [item for group in groups for item in group]
        tries = with_reference([item.trie for item in ordered], logprobs)
        # In place: the loader that Lightning may hold already sees the same list.
        self.items[:] = [Item(item.db_id, trie) for item, trie in zip(ordered, tries, strict=True)]


class StepLoader:
    """Yields optimiser steps, each a list of packs; one pass over it is an epoch, in an order of its own.

    The order depends on the seed and the epoch alone. With several ranks, each takes its share of a step's tries.
    """

    def __init__(
        self, items: Sequence[Item], packing: Packing, pad_id: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        self.items = items
        self.packing = packing
        self.pad_id = pad_id
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0
        self.position = 0

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
        while self.position < len(plan):
            tries = plan[self.position]
            self.position += 1
            mine = tries[self.rank :: self.world] or tries[:1]
            yield self._packs([join([item.trie for item in items]) for items in mine])

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

    def _packs(self, tries: list[TokenTrie]) -> list[TokenBatch]:
        packs: list[list[TokenTrie]] = [[]]
        used = 0
        for trie in tries:
            positions = self.packing.positions(trie)
            if packs[-1] and used + positions > self.packing.token_budget:
                packs.append([])
                used = 0
            packs[-1].append(trie)
            used += positions
        return [make_batch(pack, self.packing.layout, self.pad_id) for pack in packs]


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


def _by_database(items: Sequence[Item]) -> dict[str, list[Item]]:
    grouped: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        grouped[item.db_id].append(item)
    return grouped


def _chunks(items: list[Item], size: int) -> list[list[Item]]:
    return [items[i : i + size] for i in range(0, len(items), size)]
