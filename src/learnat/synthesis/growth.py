"""A search tree while it grows: asks the proposer, has every step judged, applies the rules, and keeps the budget."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from learnat.benchmarks.types import Example
from learnat.sql.schema import Schema
from learnat.synthesis.checks import check_count, check_number
from learnat.synthesis.judge import Judge, Verdict
from learnat.synthesis.proposers.base import Proposer
from learnat.synthesis.pruning import Place, PruningRule
from learnat.synthesis.tree import ROOT, TREE_VERSION, Node, SearchTree, Step, TreeStats, solved_paths


@dataclass(frozen=True)
class Budget:
    """What one question may cost; None means no limit. A limit on seconds makes results depend on the machine."""

    max_simulations: int | None = 48
    max_calls: int | None = 48
    max_tokens: int | None = None
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_simulations", "max_calls", "max_tokens"):
            check_count(f"search.budget.{name}", getattr(self, name), optional=True)
        if self.max_seconds is not None:
            check_number("search.budget.max_seconds", self.max_seconds, least=0.0)


@dataclass
class GrowingNode:
    """A node under construction. The root has id 0 and no verdict."""

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

    def path(self) -> list[GrowingNode]:
        """The nodes from the first step to this one; empty for the root."""
        nodes: list[GrowingNode] = []
        node: GrowingNode | None = self
        while node is not None and node.id != ROOT:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]


class GrowingTree:
    """One question's tree, grown by a search one expansion at a time."""

    def __init__(
        self,
        example: Example,
        schema: Schema,
        proposer: Proposer,
        judge: Judge,
        rules: Sequence[PruningRule],
        budget: Budget,
        rng: random.Random,
    ) -> None:
        self.example = example
        self.root = GrowingNode(ROOT, None, Step("", ""))
        self.solutions = 0
        self.simulations = 0
        self._schema = schema
        self._proposer = proposer
        self._judge = judge
        self._rules = rules
        self._budget = budget
        self._rng = rng
        self._nodes: list[GrowingNode] = []
        self._calls = self._cached = self._prompt_tokens = self._completion_tokens = 0
        self._timed_out: set[str] = set()
        self._start = time.monotonic()

    @property
    def exhausted(self) -> bool:
        """Whether one of the budgets is used up."""
        spent = (
            (self.simulations, self._budget.max_simulations),
            (self._calls, self._budget.max_calls),
            (self._prompt_tokens + self._completion_tokens, self._budget.max_tokens),
            (time.monotonic() - self._start, self._budget.max_seconds),
        )
        return any(limit is not None and used >= limit for used, limit in spent)

    def expand(self, node: GrowingNode, k: int) -> list[GrowingNode]:
        """Ask once for ``k`` steps after ``node``; the new children, pruned ones included.

        Steps whose canonical SQL a child of ``node`` already has are dropped, and so are steps that gold does not
        prove and that reached the time limit: nobody knows whether those are mistakes. A child starts with one
        visit of its own reward.
        """
        known = len(self._nodes)
        return [child for child in self._ask(node, k) if child.id > known]

    def _ask(self, node: GrowingNode, k: int) -> list[GrowingNode]:
        """One proposer call: a child of ``node`` for each proposed step, new or known, without repetition."""
        path = node.path()
        reply = self._proposer.propose(self.example, self._schema, [n.step for n in path], k, self._rng)
        self._calls += 1
        self._cached += reply.cached
        self._prompt_tokens += reply.prompt_tokens
        self._completion_tokens += reply.completion_tokens
        node.expansions += 1

        place = Place(len(path) + 1, node.covered, tuple(n.verdict.canonical for n in path if n.verdict))
        known = {child.verdict.canonical: child for child in node.children if child.verdict}
        answered: dict[int, GrowingNode] = {}
        for proposal in reply.proposals:
            verdict = self._judge.judge(proposal.sql)
            if verdict.canonical in known:
                child = known[verdict.canonical]
                answered[child.id] = child
                continue
            right = verdict.included or verdict.final
            if verdict.timed_out and not right:
                self._timed_out.add(verdict.canonical)
                continue
            child = GrowingNode(
                id=len(self._nodes) + 1,
                parent=node,
                step=Step(proposal.sub_question, proposal.sql),
                source=proposal.source,
                verdict=verdict,
                pruned_by=next((rule.name for rule in self._rules if rule.prunes(verdict, place)), None),
                covered=node.covered | verdict.covered if right else node.covered,
                right_path=node.right_path and right,
                visits=1,
                total=verdict.reward,
            )
            self._nodes.append(child)
            self.solutions += child.solves
            node.children.append(child)
            known[verdict.canonical] = answered[child.id] = child
        return list(answered.values())

    def sample(self, node: GrowingNode) -> GrowingNode:
        """Ask once for a single step after ``node``: the new child, or the one that already has this SQL.

        ``node`` itself when the proposer has nothing to say.
        """
        return next(iter(self._ask(node, 1)), node)

    def finish(self) -> SearchTree:
        """The tree as it is written. Rewards are settled: it is known now which steps led to a final one."""
        leading: set[int] = set()
        for node in reversed(self._nodes):
            if node.final:
                leading |= {step.id for step in node.path()}
        example = self.example
        tree = SearchTree(
            version=TREE_VERSION,
            example_id=example.example_id,
            db_id=example.db_id,
            question=example.question,
            evidence=example.evidence,
            gold_sql=example.gold_sql,
            nodes=tuple(_frozen(n, self._judge.reward.settle(n.reward, n.id in leading)) for n in self._nodes),
            stats=TreeStats(
                solved=False,
                depth=max((len(node.path()) for node in self._nodes), default=0),
                simulations=self.simulations,
                calls=self._calls,
                prompt_tokens=self._prompt_tokens,
                completion_tokens=self._completion_tokens,
                cached_calls=self._cached,
                seconds=time.monotonic() - self._start,
                timed_out=len(self._timed_out),
            ),
        )
        paths = solved_paths(tree)
        return replace(tree, stats=replace(tree.stats, solved=True, depth=len(paths[0]))) if paths else tree


def unsolved(example: Example, seconds: float) -> SearchTree:
    """The tree of a question whose synthesis failed: no nodes, no calls."""
    return SearchTree(
        version=TREE_VERSION,
        example_id=example.example_id,
        db_id=example.db_id,
        question=example.question,
        evidence=example.evidence,
        gold_sql=example.gold_sql,
        nodes=(),
        stats=TreeStats(
            solved=False,
            depth=0,
            simulations=0,
            calls=0,
            prompt_tokens=0,
            completion_tokens=0,
            cached_calls=0,
            seconds=seconds,
        ),
    )


def _frozen(node: GrowingNode, reward: float) -> Node:
    verdict, parent = node.verdict, node.parent
    assert verdict is not None and parent is not None, "the root is not written"
    return Node(
        id=node.id,
        parent=parent.id,
        sub_question=node.step.sub_question,
        sql=node.step.sql,
        included=verdict.included,
        final=verdict.final,
        pruned_by=node.pruned_by,
        reward=reward,
        coverage=1.0 if verdict.final else len(node.covered) / verdict.total,
        visits=node.visits,
        value=node.value,
        source=node.source,
    )
