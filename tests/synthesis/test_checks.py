"""Values out of bounds are refused when the object is built, by the name of their key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from learnat.errors import LearnatError
from learnat.synthesis.growth import Budget
from learnat.synthesis.proposers.ast import AstProposer
from learnat.synthesis.pruning import Depth, Included
from learnat.synthesis.reward import AstReward
from learnat.synthesis.search import BeamSearch, BestOfN, GreedySearch, MctsSearch


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
        (AstReward, {"coverage_weight": 1.5}, "reward.coverage_weight"),
        (AstReward, {"coverage_weight": "high"}, "reward.coverage_weight"),
    ],
)
def test_refused(kind: Callable[..., object], values: dict[str, Any], message: str) -> None:
    with pytest.raises(LearnatError, match=message):
        kind(**values)


def test_limits_may_be_left_open() -> None:
    Budget(None, None, None, None)
    Budget(max_seconds=0.5)
