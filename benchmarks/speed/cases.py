"""What is trained on: made-up tries of fixed lengths, or real ones from a file; and the rows that TRL gets of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from learnat.training.packing import Item
from learnat.training.tries import TokenTrie, TrieNode, TriePair
from speed import tokenised
from speed.shapes import Shape

STEPS = 3
"""Different optimiser steps of the made-up cases."""
WHOLE_STEP = 10**9


@dataclass(frozen=True)
class Case:
    """Tries and how they make optimiser steps; ``budgets`` are the token budgets of a pack to be tried, by name."""

    name: str
    title: str
    items: list[Item]
    questions_per_trie: int
    databases_per_step: int
    budgets: dict[str, int]
    bucket: int
    """A pack's length is rounded up to a multiple of this."""


@dataclass(frozen=True)
class PairRow:
    """A pair as a padded trainer sees it: earlier steps belong to the prompt."""

    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]
    reference_chosen: float
    reference_rejected: float

    @property
    def length(self) -> int:
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))


@dataclass(frozen=True)
class MadeUp:
    """Tokens of prompt and step, depth of the chosen path, mistakes beside each of its steps, trees a step."""

    prompt: int
    step: int
    depth: int
    rejected: int
    trees: int


MADE_UP = {
    "a": MadeUp(prompt=1500, step=80, depth=3, rejected=2, trees=4),
    "b": MadeUp(prompt=1500, step=100, depth=1, rejected=1, trees=8),
    "c": MadeUp(prompt=600, step=150, depth=1, rejected=1, trees=16),
}


def case(name: str, shape: Shape, data: Path | None) -> Case:
    """Cases ``a``, ``b``, ``c`` are made up; ``d`` holds the real step pairs and ``sft`` the real paths of ``data``."""
    if name in MADE_UP:
        return _made_up(name, MADE_UP[name], shape)
    if data is None:
        raise SystemExit(f"case {name} reads real tries: give --data FILE (benchmarks/speed/tokenised.py makes it)")
    questions = tokenised.read(data, shape.vocabulary)
    tries = [(q.db_id, q.sft if name == "sft" else q.preference) for q in questions]
    items = [Item(db_id, trie) for db_id, trie in tries if trie is not None]
    budgets = {"8k": 8192, "16k": 16384, "32k": 32768}
    return Case(name, f"{data.name}: {len(items)} questions, 16 a trie", items, 16, 4, budgets, bucket=1024)


def _made_up(name: str, spec: MadeUp, shape: Shape) -> Case:
    rng = random.Random(name)
    prompt, step = (max(1, round(n * shape.scale)) for n in (spec.prompt, spec.step))
    items = [Item(f"tree {i}", _tree(rng, spec, prompt, step, shape.vocabulary)) for i in range(spec.trees * STEPS)]
    title = f"prompt {prompt}, steps of {step}, {spec.trees} trees × {spec.depth * spec.rejected} pairs"
    return Case(name, title, items, 1, spec.trees, {"step": WHOLE_STEP, "tree": 1}, bucket=128)


def _tree(rng: random.Random, spec: MadeUp, prompt: int, step: int, vocabulary: int) -> TokenTrie:
    """A prompt and under it a path of chosen steps, each beside its rejected siblings."""

    def ids(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(vocabulary) for _ in range(count))

    nodes, pairs, parent = [TrieNode(-1, ids(prompt))], [], 0
    for _ in range(spec.depth):
        rejected = [len(nodes) + i for i in range(spec.rejected)]
        nodes += [TrieNode(parent, ids(step), supervised=True) for _ in rejected]
        chosen = len(nodes)
        nodes.append(TrieNode(parent, ids(step), supervised=True, weight=1.0))
        pairs += [TriePair(chosen, other, 0.5) for other in rejected]
        parent = chosen
    return TokenTrie(tuple(nodes), tuple(pairs))


def pair_rows(items: Sequence[Item]) -> list[PairRow]:
    """All pairs of ``items``, whose reference log-probs are known."""
    rows = []
    for trie in (item.trie for item in items):
        for pair in trie.pairs:
            chosen, rejected = trie.nodes[pair.chosen], trie.nodes[pair.rejected]
            prompt = tuple(token for i in trie.path(chosen.parent) for token in trie.nodes[i].ids)
            assert chosen.reference is not None and rejected.reference is not None
            rows.append(PairRow(prompt, chosen.ids, rejected.ids, chosen.reference, rejected.reference))
    return rows
