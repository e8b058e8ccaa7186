"""Right steps of one proposer beside the samples of another."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest

from learnat.benchmarks.types import Example
from learnat.errors import LearnatError
from learnat.synthesis.proposers.ast import AstProposer
from learnat.synthesis.proposers.base import Proposal, Proposals, Proposer, Request
from learnat.synthesis.proposers.mixed import MixedProposer
from tests.synthesis.conftest import SCHEMA

GOLD = "SELECT name FROM singer WHERE age > 30"
REQUEST = Request(
    Example(0, "train/0", "train", "music", "Who is over 30?", "", GOLD), SCHEMA, (), 4, 0, random.Random(0)
)


@dataclass
class Mistaken(Proposer):
    """A policy that knows one wrong answer."""

    concurrency = 7

    def propose(self, request: Request) -> Proposals:
        wrong = Proposal("Who?", "SELECT age FROM singer", "policy")
        return Proposals((wrong,) * request.k, prompt_tokens=20, completion_tokens=5, rejected=("no SQL",))


def test_one_right_step_stands_beside_the_samples() -> None:
    proposer = MixedProposer(AstProposer(mutation_rate=0.0), Mistaken())
    answer = proposer.propose(REQUEST)
    assert [proposal.source for proposal in answer.proposals] == ["ast", "policy", "policy", "policy"]
    assert (answer.prompt_tokens, answer.completion_tokens, answer.rejected) == (20, 5, ("no SQL",))
    assert proposer.concurrency == 7


def test_a_call_for_one_proposal_is_refused() -> None:
    with pytest.raises(LearnatError, match=r"search\.k=1"):
        MixedProposer(AstProposer(mutation_rate=0.0), Mistaken()).propose(replace(REQUEST, k=1))
