"""From a search tree to what training learns: chosen paths (SFT) and step-level preferences (DPO, IPO, MADPO)."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from learnat.benchmarks.types import Database, Example
from learnat.errors import LearnatError, nearest
from learnat.synthesis.checks import check_count, check_number
from learnat.synthesis.tree import Node, SearchTree, Step, solved_paths
from learnat.training.encoding import PromptEncoder
from learnat.training.tries import TokenTrie, TrieNode, TriePair


@dataclass(frozen=True)
class StepPair:
    """A right step and a wrong one with the same prefix."""

    chosen: Node
    rejected: Node

    @property
    def margin(self) -> float:
        """R_w − R_l: positive under the AST reward, where every right step outranks every wrong one."""
        return self.chosen.reward - self.rejected.reward


def chosen_paths(tree: SearchTree, limit: int) -> list[list[Node]]:
    """Up to ``limit`` solved paths, the shortest first; paths of one length in the order they were found."""
    return sorted(solved_paths(tree), key=len)[:limit]


def is_rejected(node: Node) -> bool:
    """A verified mistake. Right SQL that was pruned (``duplicate``, ``depth``, ``progress``) is no mistake."""
    return not (node.included or node.final)


@dataclass(frozen=True)
class PairSelection:
    """Which step pairs of a tree are used.

    ``rejected_per_step`` caps the mistakes paired with one chosen step; ``rejected`` says which are kept:
    ``hardest`` (highest reward: the nearest misses) or ``random``. Pairs whose margin is below ``min_margin`` are
    dropped. ``among_included`` adds right-against-smaller-right pairs; they teach the model not to decompose.
    ``unpaired`` keeps the right steps that have no such mistake, for the SFT term: it then learns all of the chosen
    paths, where those with a mistake alone are the harder ones. Raises ``LearnatError`` for a value out of bounds.
    """

    rejected_per_step: int = 1
    rejected: str = "hardest"
    min_margin: float = 0.0
    among_included: bool = False
    paths: int = 1
    unpaired: bool = False

    def __post_init__(self) -> None:
        known, given = ("hardest", "random"), self.rejected
        if given not in known:
            raise LearnatError(f"loss.pairs.rejected={given!r} is not known. {nearest(str(given), known)}")
        check_count("loss.pairs.paths", self.paths)
        check_count("loss.pairs.rejected_per_step", self.rejected_per_step)
        check_number("loss.pairs.min_margin", self.min_margin, least=-1.0)  # rewards are in [0, 1]

    def pairs(self, tree: SearchTree) -> list[StepPair]:
        """Step pairs along the chosen paths of ``tree``; deterministic for a given tree."""
        siblings: dict[int | None, list[Node]] = defaultdict(list)
        for node in tree.nodes:
            siblings[node.parent].append(node)
        return [pair for step in self._right(tree) for pair in self._of_step(step, siblings[step.parent], tree)]

    def alone(self, tree: SearchTree) -> list[Node]:
        """The right steps along the chosen paths of ``tree`` that the SFT term learns whatever ``pairs`` are."""
        return self._right(tree) if self.unpaired else []

    def _right(self, tree: SearchTree) -> list[Node]:
        return list({node.id: node for path in chosen_paths(tree, self.paths) for node in path}.values())

    def _of_step(self, chosen: Node, siblings: list[Node], tree: SearchTree) -> list[StepPair]:
        candidates = [
            StepPair(chosen, node)
            for node in siblings
            if is_rejected(node) or (self.among_included and node.reward < chosen.reward)
        ]
        candidates = [pair for pair in candidates if pair.margin >= self.min_margin]
        if self.rejected == "random":
            random.Random(f"{tree.example_id}/{chosen.id}").shuffle(candidates)
        else:
            candidates.sort(key=lambda pair: -pair.rejected.reward)
        return candidates[: self.rejected_per_step]


class TrieBuilder:
    """Builds the token tries of one tree: the database's tokens as root, then the question, then steps."""

    def __init__(self, encoder: PromptEncoder) -> None:
        self.encoder = encoder

    def sft(self, tree: SearchTree, example: Example, database: Database, paths: int) -> TokenTrie | None:
        """The chosen paths of ``tree``; None when it is not solved."""
        chosen = chosen_paths(tree, paths)
        weight: dict[int, float] = defaultdict(float)
        for path in chosen:
            for node in path:
                weight[node.id] += 1.0
        if not weight:
            return None
        return self._trie(tree, example, database, weight, [])

    def preference(
        self,
        tree: SearchTree,
        example: Example,
        database: Database,
        pairs: Sequence[StepPair],
        alone: Sequence[Node] = (),
    ) -> TokenTrie:
        """The steps that ``pairs`` compare and the right ones ``alone``, with the path that leads to each."""
        weight = {pair.rejected.id: 0.0 for pair in pairs} | {pair.chosen.id: 1.0 for pair in pairs}
        weight |= {node.id: 1.0 for node in alone}
        return self._trie(tree, example, database, weight, pairs)

    def _trie(
        self,
        tree: SearchTree,
        example: Example,
        database: Database,
        weight: dict[int, float],
        pairs: Sequence[StepPair],
    ) -> TokenTrie:
        by_id = {node.id: node for node in tree.nodes}
        needed: set[int] = set()
        for node_id in weight:
            step: Node | None = by_id[node_id]
            while step is not None and step.id not in needed:
                needed.add(step.id)
                step = by_id.get(step.parent) if step.parent is not None else None
        children: dict[int | None, list[Node]] = defaultdict(list)
        for node in tree.nodes:
            if node.id in needed:
                children[node.parent if node.parent in by_id else None].append(node)

        nodes = [TrieNode(-1, self.encoder.database(database)), TrieNode(0, self.encoder.question(example))]
        position: dict[int, int] = {}
        stack = [(node, 1) for node in reversed(children[None])]
        while stack:
            node, parent = stack.pop()
            ids = self.encoder.step(Step(node.sub_question, node.sql), last=node.final)
            position[node.id] = len(nodes)
            nodes.append(TrieNode(parent, ids, supervised=node.id in weight, weight=weight.get(node.id, 0.0)))
            stack += [(child, position[node.id]) for child in reversed(children[node.id])]
        return TokenTrie(
            tuple(nodes),
            tuple(TriePair(position[p.chosen.id], position[p.rejected.id], p.margin) for p in pairs),
        )
