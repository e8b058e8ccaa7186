"""A search tree while it grows: asks the proposer, has every step judged, applies the rules, and keeps the budget."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType

from learnat.benchmarks.types import Example
from learnat.sql.schema import Schema
from learnat.synthesis.checks import check_count, check_number
from learnat.synthesis.growing_node import GrowingNode
from learnat.synthesis.judge import Judge
from learnat.synthesis.proposers.base import Proposals, Proposer, Request
from learnat.synthesis.pruning import Place, PruningRule
from learnat.synthesis.tree import ROOT, TREE_VERSION, SearchTree, Step, TreeStats, solved_paths


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


@dataclass(frozen=True)
class Expansion:
    """A proposer call under way: ``answer`` waits for it."""

    node: GrowingNode
    answer: Callable[[], Proposals]


@dataclass(frozen=True)
class Attached:
    """The children that an answer proposed, without repetition; ``new`` are those that were not there before."""

    children: tuple[GrowingNode, ...]
    new: list[GrowingNode]


class GrowingTree:
    """One question's tree, grown by a search: ``start`` asks the proposer, ``attach`` judges what it answers.

    Between the two a search may start other calls, which then are in flight together. Answers are attached in the
    order in which calls were started, so that a tree does not depend on which came first. Use it as a context manager:
    leaving ends the threads.

    Args:
        in_flight: calls that may wait for their answers at once; each runs in a thread where it is more than one.
    """

    def __init__(
        self,
        example: Example,
        schema: Schema,
        proposer: Proposer,
        judge: Judge,
        rules: Sequence[PruningRule],
        budget: Budget,
        rng: random.Random,
        in_flight: int = 1,
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
        self._threads = ThreadPoolExecutor(in_flight) if in_flight > 1 else None
        self._nodes: list[GrowingNode] = []
        self._calls = self._cached = self._prompt_tokens = self._completion_tokens = 0
        self._rejected: Counter[str] = Counter()
        self._timed_out: set[str] = set()
        self._start = time.monotonic()

    def __enter__(self) -> GrowingTree:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)

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

    def start(self, node: GrowingNode, k: int) -> Expansion:
        """Ask for ``k`` steps after ``node``: one proposer call and one simulation."""
        path = tuple(n.step for n in node.path())
        # A call's own generator: what is drawn for it does not depend on the calls that are in flight beside it.
        rng = random.Random(self._rng.getrandbits(64))
        request = Request(self.example, self._schema, path, k, node.expansions, rng)
        self.simulations += 1
        self._calls += 1
        node.expansions += 1
        node.asked += 1
        if self._threads is None:
            return Expansion(node, lambda: self._proposer.propose(request))
        return Expansion(node, self._threads.submit(self._proposer.propose, request).result)

    def expand(self, node: GrowingNode, k: int) -> list[GrowingNode]:
        """``start`` and ``attach`` in one: the new children of ``node``."""
        return self.attach(self.start(node, k)).new

    def attach(self, expansion: Expansion) -> Attached:
        """Judge what was proposed and add it below its node.

        Steps whose canonical SQL a child already has are dropped, and so are steps that gold does not prove and that
        reached the time limit: nobody knows whether those are mistakes. A child starts with one visit of its own
        reward.
        """
        node = expansion.node
        try:
            reply = expansion.answer()
        finally:
            node.asked -= 1
        self._cached += reply.cached
        self._prompt_tokens += reply.prompt_tokens
        self._completion_tokens += reply.completion_tokens
        self._rejected.update(reply.rejected)

        path = node.path()
        place = Place(len(path) + 1, node.covered, tuple(n.verdict.canonical for n in path if n.verdict))
        known = {child.verdict.canonical: child for child in node.children if child.verdict}
        answered: dict[int, GrowingNode] = {}
        first_new = len(self._nodes) + 1
        for proposal in reply.proposals:
            verdict = self._judge.judge(proposal.sql, proposal.final)
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
        children = tuple(answered.values())
        return Attached(children, [child for child in children if child.id >= first_new])

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
            nodes=tuple(n.frozen(self._judge.reward.settle(n.reward, n.id in leading)) for n in self._nodes),
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
                rejected=dict(sorted(self._rejected.items())),
            ),
        )
        paths = solved_paths(tree)
        return replace(tree, stats=replace(tree.stats, solved=True, depth=len(paths[0]))) if paths else tree


def unsolved(example: Example, seconds: float, rejected: Mapping[str, int] | None = None) -> SearchTree:
    """The tree of a question whose synthesis failed, or that got no answer for the ``rejected`` reasons: no nodes."""
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
            rejected=dict(sorted((rejected or {}).items())),
        ),
    )
