"""The decomposition datamodule: trees in, optimiser steps out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lightning as L
from torch import Tensor

from learnat.benchmarks.types import Benchmark
from learnat.errors import LearnatError
from learnat.synthesis.tree import Step, read_trees, solved_paths
from learnat.training.batches import TokenBatch
from learnat.training.encoding import PromptEncoder
from learnat.training.packing import Item, Packing, StepLoader, shared_tries
from learnat.training.reference import with_reference
from learnat.training.selection import PairSelection, TrieBuilder
from learnat.training.tries import TokenTrie, join


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
                pairs, alone = self.selection.pairs(tree), self.selection.alone(tree)
                trie = builder.preference(tree, example, database, pairs, alone) if pairs or alone else None
            if trie is None:
                continue
            if trie.longest_path > self.context_length:
                self.dropped += 1
                continue
            self.items.append(Item(tree.db_id, trie))
        if not any(item.trie.pairs or self.selection is None for item in self.items):
            what = "solved paths" if self.selection is None else "step pairs"
            raise LearnatError(
                f"{path} holds no {what} to train on ({self.unsolved} trees unsolved, {self.dropped} longer than "
                f"model.context_length={self.context_length} tokens). Raise data.limit, choose a proposer with "
                "mutations for preference losses, or a longer context. Where they were to be a policy's own mistakes: "
                "train SFT until it writes steps, raise on_policy.questions, or do without, on_policy.questions=0."
            )

    def train_dataloader(self) -> StepLoader:
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        pinned = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return StepLoader(self.items, self.packing, self.encoder.tokenizer.pad_token_id, self.seed, rank, world, pinned)

    @property
    def supervised_nodes(self) -> int:
        return sum(node.supervised for item in self.items for node in item.trie.nodes)

    def summary(self) -> str:
        """One line on what is trained on."""
        pairs = sum(len(item.trie.pairs) for item in self.items)
        what = f", {pairs:,} step pairs" if self.selection is not None else ""
        return (
            f"{len(self.items):,} questions, {self.supervised_nodes:,} steps{what} ({self.unsolved} unsolved, "
            f"{self.dropped} longer than the context of {self.context_length} tokens)"
        )

    def reference_tries(self) -> list[TokenTrie]:
        """All items as shared tries, in the order in which ``set_reference`` expects their steps' log-probs."""
        return [join([item.trie for item in group]) for group in self._groups()]

    def reference_batch(self, trie: TokenTrie) -> TokenBatch:
        """The forward pass for one of ``reference_tries``."""
        return self.packing.batch([trie], self.encoder.tokenizer.pad_token_id)

    def set_reference(self, logprobs: Tensor) -> None:
        """Give every supervised step its reference log-prob; ``logprobs`` [N] in the order of ``reference_tries``."""
        ordered = [item for group in self._groups() for item in group]
        tries = with_reference([item.trie for item in ordered], logprobs)
        # In place: the loader that Lightning may hold already sees the same list.
        self.items[:] = [Item(item.db_id, trie) for item, trie in zip(ordered, tries, strict=True)]

    def _groups(self) -> list[list[Item]]:
        return shared_tries(self.items, self.packing.questions_per_trie)
