"""Values out of bounds are refused when the object is built, by the name of their key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from learnat.errors import LearnatError
from learnat.inference.policy_proposer import TransformersProposer
from learnat.synthesis.growth import Budget
from learnat.synthesis.proposers.ast import AstProposer
from learnat.synthesis.proposers.openai import OpenAIProposer
from learnat.synthesis.pruning import Depth, Included
from learnat.synthesis.reward import AstReward
from learnat.synthesis.search import BeamSearch, BestOfN, GreedySearch, MctsSearch
from learnat.synthesis.synthesizer import Synthesizer


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (AstProposer, {"granularity": "clauses"}, "proposer.granularity='clauses' .* Did you mean 'clause'"),
        (AstProposer, {"orders": 5}, "proposer.orders=5 .* from 1 to 4"),
        (AstProposer, {"orders": 0}, "proposer.orders=0"),
        (AstProposer, {"max_steps": 0}, "proposer.max_steps=0"),
        (AstProposer, {"mutation_rate": 1.0}, r"proposer.mutation_rate=1.0 .* \[0, 1\)"),
        (AstProposer, {"mutation_rate": -0.1}, "proposer.mutation_rate"),
        (AstProposer, {"mutation_rate": "half"}, "proposer.mutation_rate=half"),
        (AstProposer, {"mutation_types": {"colum": 1.0}}, "'colum' .* Did you mean 'column'"),
        (AstProposer, {"mutation_types": {"column": "often"}}, "proposer.mutation_types.column=often"),
        (Included, {"mode": "strickt"}, "'strickt' .* Did you mean 'strict'"),
        (Depth, {"max_depth": 0}, "pruning.max_depth=0"),
        (MctsSearch, {"k": 0}, "search.k=0"),
        (MctsSearch, {"max_expansions": 0}, "search.max_expansions=0"),
        (MctsSearch, {"c": -1.0}, "search.c=-1.0"),
        (GreedySearch, {"k": 1.5}, "search.k=1.5"),
        (BeamSearch, {"width": 0}, "search.width=0"),
        (BestOfN, {"n": 0}, "search.n=0"),
        (Budget, {"max_calls": 0}, "search.budget.max_calls=0 .* or null"),
        (Budget, {"max_tokens": True}, "search.budget.max_tokens"),
        (Budget, {"max_seconds": "long"}, "search.budget.max_seconds=long"),
        (OpenAIProposer, {"model": "m", "seed": "x"}, "proposer.seed=x must be a whole number"),
        (TransformersProposer, {"model": "m", "seed": 1.5}, "proposer.seed=1.5 must be a whole number"),
        (AstReward, {"coverage_weight": 1.5}, "reward.coverage_weight"),
        (AstReward, {"coverage_weight": "high"}, "reward.coverage_weight"),
    ],
)
def test_refused(kind: Callable[..., object], values: dict[str, Any], message: str) -> None:
    with pytest.raises(LearnatError, match=message):
        kind(**values)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": "abc"}, "seed=abc must be a whole number"),
        ({"seed": 1.5}, "seed=1.5 must be a whole number"),
        ({"timeout_s": "abc"}, "executor.timeout_s='abc' must be a number of seconds above 0"),
        ({"timeout_s": 0}, "executor.timeout_s=0 must be a number of seconds above 0"),
        ({"max_rows": 0}, "executor.max_rows=0 must be a whole number above 0"),
    ],
)
def test_a_synthesizer_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(LearnatError, match=message):
        Synthesizer(AstProposer(), MctsSearch(), [], AstReward(), **given)


def test_limits_may_be_left_open() -> None:
    Budget(None, None, None, None)
    Budget(max_seconds=0.5)
