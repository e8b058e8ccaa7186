"""Right steps from one proposer, everything else from another: a policy's own mistakes beside gold's own steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from learnat.benchmarks.types import Benchmark
from learnat.errors import LearnatError
from learnat.synthesis.proposers.base import Proposals, Proposer, Request
from learnat.synthesis.tree import SearchTree


@dataclass
class MixedProposer(Proposer):
    """One proposal of ``right``, and ``k`` − 1 of ``sampled``, for each call.

    A policy that fails a question solves no tree, and a tree without a solved path gives no preference pair: the
    questions it has most to learn from would be lost. With ``right`` the ``ast`` proposer (``mutation_rate=0``) every
    tree has a verified path, and what is rejected beside it are mistakes that the policy does make.

    Args:
        right: keeps the search on a verified path.
        sampled: proposes the other steps; its way of asking decides how many questions are searched at once.

    Raises ``LearnatError`` for a call of fewer than two proposals, which would leave ``sampled`` out.
    """

    right: Proposer
    sampled: Proposer

    def __post_init__(self) -> None:
        self.concurrency = self.sampled.concurrency
        self.round_size = self.sampled.round_size

    def check(self, benchmark: Benchmark, split: str) -> None:
        for member in (self.right, self.sampled):
            member.check(benchmark, split)

    def propose(self, request: Request) -> Proposals:
        if request.k < 2:
            raise LearnatError(f"proposer=mixed needs two proposals a call or more: search.k={request.k} is too few.")
        right = self.right.propose(replace(request, k=1))
        sampled = self.sampled.propose(replace(request, k=request.k - 1))
        return Proposals(
            (*right.proposals, *sampled.proposals),
            prompt_tokens=right.prompt_tokens + sampled.prompt_tokens,
            completion_tokens=right.completion_tokens + sampled.completion_tokens,
            cached=sampled.cached,
            rejected=(*right.rejected, *sampled.rejected),
        )

    def learn(self, trees: Sequence[SearchTree]) -> None:
        for member in (self.right, self.sampled):
            member.learn(trees)

    def close(self) -> None:
        for member in (self.right, self.sampled):
            member.close()
