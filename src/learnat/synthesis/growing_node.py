"""A node of a search tree while the tree grows: what was proposed, what became of it, and what the search counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from learnat.synthesis.judge import Verdict
from learnat.synthesis.tree import ROOT, Node, Step


@dataclass
class GrowingNode:
    """A node under construction. The root has id 0 and no verdict.

    ``expansions`` counts the proposer calls made for it, ``asked`` those of them that are still to be answered.
    """

    id: int
    parent: GrowingNode | None
    step: Step
    source: str = ""
    verdict: Verdict | None = None
    pruned_by: str | None = None
    covered: frozenset[int] = frozenset()
    right_path: bool = True
    children: list[GrowingNode] = field(default_factory=list)
    expansions: int = 0
    asked: int = 0
    visits: int = 0
    total: float = 0.0

    @property
    def value(self) -> float:
        """Mean of the rewards that were propagated back through this node."""
        return self.total / self.visits if self.visits else 0.0

    @property
    def reward(self) -> float:
        return self.verdict.reward if self.verdict else 0.0

    @property
    def final(self) -> bool:
        return self.verdict is not None and self.verdict.final

    @property
    def alive(self) -> bool:
        """Whether the search may go on below this node."""
        return self.pruned_by is None and not self.final

    @property
    def solves(self) -> bool:
        """Final, with only right, unpruned steps before it."""
        return self.final and self.pruned_by is None and self.right_path

    def lineage(self) -> Iterator[GrowingNode]:
        """This node, its parent, and so on to the root."""
        node: GrowingNode | None = self
        while node is not None:
            yield node
            node = node.parent

    def path(self) -> list[GrowingNode]:
        """The nodes from the first step to this one; empty for the root."""
        return [node for node in self.lineage() if node.id != ROOT][::-1]

    def frozen(self, reward: float) -> Node:
        """This node as it is written, with its settled ``reward``. The root is not written."""
        verdict, parent = self.verdict, self.parent
        assert verdict is not None and parent is not None, "the root is not written"
        return Node(
            id=self.id,
            parent=parent.id,
            sub_question=self.step.sub_question,
            sql=self.step.sql,
            included=verdict.included,
            final=verdict.final,
            pruned_by=self.pruned_by,
            reward=reward,
            coverage=1.0 if verdict.final else len(self.covered) / verdict.total,
            visits=self.visits,
            value=self.value,
            source=self.source,
        )
