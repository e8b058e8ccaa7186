"""How a tree is grown: MCTS (UCT), and the simpler searches it is compared with. All spend the same kinds of budget."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from learnat.synthesis.checks import check_count, check_number
from learnat.synthesis.growing_node import GrowingNode
from learnat.synthesis.growth import Budget, Expansion, GrowingTree


class Search(Protocol):
    """A policy over ``GrowingTree``. One expansion is one simulation and one proposer call."""

    @property
    def budget(self) -> Budget: ...

    @property
    def in_flight(self) -> int:
        """Calls for one tree that may wait for the proposer at once."""
        ...

    def grow(self, tree: GrowingTree) -> None:
        """Expand nodes of ``tree`` until it is solved as often as asked, nothing is left, or the budget is spent."""
        ...


@dataclass(frozen=True)
class MctsSearch:
    """Monte-Carlo tree search by UCT (Kocsis & Szepesvári 2006): selection by value + c·sqrt(ln N_parent / n).

    A simulation selects a leaf, expands it with ``k`` proposals at once and propagates the best reward among the
    children that live (0 if none does) back to the root. Each child starts with one visit of its own reward. Final
    steps are terminal. A node without a living child may be asked again, ``max_expansions`` times in all.

    With ``in_flight`` above 1 further leaves are selected while answers are awaited. A simulation under way counts as
    a visit of reward 0 on its path (virtual loss, Chaslot et al. 2008), which leads the next one elsewhere.
    """

    budget: Budget = field(default_factory=Budget)
    k: int = 4
    c: float = 1.41
    n_solutions: int = 1
    max_expansions: int = 6
    in_flight: int = 1

    def __post_init__(self) -> None:
        _check_counts(self, "k", "n_solutions", "max_expansions", "in_flight")
        check_number("search.c", self.c, least=0.0)

    def grow(self, tree: GrowingTree) -> None:
        waiting: deque[Expansion] = deque()
        while True:
            while len(waiting) < self.in_flight and tree.solutions < self.n_solutions and not tree.exhausted:
                leaf = self._select(tree.root)
                if leaf is None:
                    break
                for node in leaf.lineage():
                    node.visits += 1
                waiting.append(tree.start(leaf, self.k))
            if not waiting:
                return
            # The oldest call first, whichever answer is there: the tree is the same however fast each one came.
            expansion = waiting.popleft()
            new = tree.attach(expansion).new
            reward = max((child.reward for child in new if child.pruned_by is None), default=0.0)
            for node in expansion.node.lineage():
                node.total += reward

    def _select(self, root: GrowingNode) -> GrowingNode | None:
        """The leaf that UCT leads to, or None when nothing is left to expand, or nothing but what is asked already."""
        node = root
        while True:
            open_children = [child for child in node.children if self._open(child)]
            if not open_children:
                return node if self._open(node) else None
            log_visits = math.log(max(node.visits, 1))
            node = max(open_children, key=lambda child: child.value + self.c * math.sqrt(log_visits / child.visits))

    def _open(self, node: GrowingNode) -> bool:
        """Whether something at or below ``node`` can be expanded now."""
        if not node.alive:
            return False
        if any(self._open(child) for child in node.children):
            return True
        return not node.asked and (
            node.expansions == 0
            or (node.expansions < self.max_expansions and not any(child.pruned_by is None for child in node.children))
        )


@dataclass(frozen=True)
class GreedySearch:
    """Follows the living child of highest reward and never turns back; a node without one is asked again."""

    budget: Budget = field(default_factory=Budget)
    k: int = 4
    max_expansions: int = 6
    in_flight: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check_counts(self, "k", "max_expansions")

    def grow(self, tree: GrowingTree) -> None:
        node = tree.root
        while not tree.solutions and not tree.exhausted and node.expansions < self.max_expansions:
            living = [child for child in tree.expand(node, self.k) if child.alive]
            if living:
                node = max(living, key=lambda child: child.reward)


@dataclass(frozen=True)
class BeamSearch:
    """Expands, level by level, the ``width`` living nodes of highest reward; a level that dies out is asked again.

    ``in_flight`` calls of a level wait for the proposer at once.
    """

    budget: Budget = field(default_factory=Budget)
    k: int = 4
    width: int = 3
    n_solutions: int = 1
    max_expansions: int = 6
    in_flight: int = 1

    def __post_init__(self) -> None:
        _check_counts(self, "k", "width", "n_solutions", "max_expansions", "in_flight")

    def grow(self, tree: GrowingTree) -> None:
        beam = [tree.root]
        while beam and tree.solutions < self.n_solutions and beam[0].expansions < self.max_expansions:
            started: list[Expansion] = []
            for node in beam:
                if not tree.exhausted:
                    started.append(tree.start(node, self.k))
            level = [child for expansion in started for child in tree.attach(expansion).new if child.alive]
            if tree.exhausted:
                return
            if level or tree.solutions:
                beam = sorted(level, key=lambda child: -child.reward)[: self.width]


@dataclass(frozen=True)
class BestOfN:
    """Samples up to ``n`` whole decompositions, each one step a call, independently of one another.

    ``in_flight`` of them are sampled side by side, in step.
    """

    budget: Budget = field(default_factory=Budget)
    n: int = 48
    n_solutions: int = 1
    max_depth: int = 12
    in_flight: int = 1

    def __post_init__(self) -> None:
        _check_counts(self, "n", "n_solutions", "max_depth", "in_flight")

    def grow(self, tree: GrowingTree) -> None:
        unused = self.n
        samples: list[tuple[GrowingNode, int]] = []  # where each stands, and how often it was continued
        while tree.solutions < self.n_solutions:
            fresh = min(self.in_flight - len(samples), unused)
            unused -= fresh
            samples += [(tree.root, 0)] * fresh
            started = []
            for node, steps in samples:
                if not tree.exhausted:
                    started.append((tree.start(node, 1), steps + 1))
            if not started:
                return
            samples = []
            for expansion, steps in started:
                # A proposer that has nothing to say leaves the sample where it is.
                node = next(iter(tree.attach(expansion).children), expansion.node)
                if node.alive and steps < self.max_depth:
                    samples.append((node, steps))


def _check_counts(search: Search, *names: str) -> None:
    for name in names:
        check_count(f"search.{name}", getattr(search, name))
