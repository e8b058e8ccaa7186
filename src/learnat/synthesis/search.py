"""How a tree is grown: MCTS (UCT), and the simpler searches it is compared with. All spend the same kinds of budget."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

from learnat.synthesis.checks import check_count, check_number
from learnat.synthesis.growth import Budget, GrowingNode, GrowingTree


class Search(Protocol):
    """A policy over ``GrowingTree.expand``. One expansion is one simulation and one proposer call."""

    @property
    def budget(self) -> Budget: ...

    def grow(self, tree: GrowingTree) -> None:
        """Expand nodes of ``tree`` until it is solved as often as asked, nothing is left, or the budget is spent."""
        ...


@dataclass(frozen=True)
class MctsSearch:
    """Monte-Carlo tree search by UCT (Kocsis & Szepesvári 2006): selection by value + c·sqrt(ln N_parent / n).

    A simulation selects a leaf, expands it with ``k`` proposals at once and propagates the best reward among the
    children that live (0 if none does) back to the root. Each child starts with one visit of its own reward. Final
    steps are terminal. A node without a living child may be asked again, ``max_expansions`` times in all.
    """

    budget: Budget = field(default_factory=Budget)
    k: int = 4
    c: float = 1.41
    n_solutions: int = 1
    max_expansions: int = 6

    def __post_init__(self) -> None:
        _check_counts(self, "k", "n_solutions", "max_expansions")
        check_number("search.c", self.c, least=0.0)

    def grow(self, tree: GrowingTree) -> None:
        while tree.solutions < self.n_solutions and not tree.exhausted:
            leaf = self._select(tree.root)
            if leaf is None:
                return
            tree.simulations += 1
            new = tree.expand(leaf, self.k)
            reward = max((child.reward for child in new if child.pruned_by is None), default=0.0)
            node: GrowingNode | None = leaf
            while node is not None:
                node.visits += 1
                node.total += reward
                node = node.parent

    def _select(self, root: GrowingNode) -> GrowingNode | None:
        """The leaf that UCT leads to, or None when nothing is left to expand."""
        node = root
        while True:
            open_children = [child for child in node.children if self._open(child)]
            if not open_children:
                return node if self._open(node) else None
            log_visits = math.log(max(node.visits, 1))
            node = max(open_children, key=lambda child: child.value + self.c * math.sqrt(log_visits / child.visits))

    def _open(self, node: GrowingNode) -> bool:
        """Whether something at or below ``node`` can still be expanded."""
        if not node.alive:
            return False
        if any(self._open(child) for child in node.children):
            return True
        return node.expansions == 0 or (
            node.expansions < self.max_expansions and not any(child.pruned_by is None for child in node.children)
        )


@dataclass(frozen=True)
class GreedySearch:
    """Follows the living child of highest reward and never turns back; a node without one is asked again."""

    budget: Budget = field(default_factory=Budget)
    k: int = 4
    max_expansions: int = 6

    def __post_init__(self) -> None:
        _check_counts(self, "k", "max_expansions")

    def grow(self, tree: GrowingTree) -> None:
        node = tree.root
        while not tree.solutions and not tree.exhausted and node.expansions < self.max_expansions:
            tree.simulations += 1
            living = [child for child in tree.expand(node, self.k) if child.alive]
            if living:
                node = max(living, key=lambda child: child.reward)


@dataclass(frozen=True)
class BeamSearch:
    """Expands, level by level, the ``width`` living nodes of highest reward; a level that dies out is asked again."""

    budget: Budget = field(default_factory=Budget)
    k: int = 4
    width: int = 3
    n_solutions: int = 1
    max_expansions: int = 6

    def __post_init__(self) -> None:
        _check_counts(self, "k", "width", "n_solutions", "max_expansions")

    def grow(self, tree: GrowingTree) -> None:
        beam = [tree.root]
        while beam and tree.solutions < self.n_solutions and beam[0].expansions < self.max_expansions:
            level: list[GrowingNode] = []
            for node in beam:
                if tree.exhausted:
                    return
                tree.simulations += 1
                level += [child for child in tree.expand(node, self.k) if child.alive]
            if level or tree.solutions:
                beam = sorted(level, key=lambda child: -child.reward)[: self.width]


@dataclass(frozen=True)
class BestOfN:
    """Samples up to ``n`` whole decompositions, each one step a call, independently of one another."""

    budget: Budget = field(default_factory=Budget)
    n: int = 12
    n_solutions: int = 1
    max_depth: int = 12

    def __post_init__(self) -> None:
        _check_counts(self, "n", "n_solutions", "max_depth")

    def grow(self, tree: GrowingTree) -> None:
        for _ in range(self.n):
            node = tree.root
            for _ in range(self.max_depth):
                if tree.exhausted or tree.solutions >= self.n_solutions:
                    return
                tree.simulations += 1
                node = tree.sample(node)
                if not node.alive:
                    break


def _check_counts(search: Search, *names: str) -> None:
    for name in names:
        check_count(f"search.{name}", getattr(search, name))
