"""How good a step is: a number in [0, 1], a pure function of gold, step and verdict (design of LearNAT, section 3).

``s = w * coverage + (1 - w) * structure``. A final step is worth 1, a step that is included ½ + ½·s, one that runs
but is not included ½·s, one that does not parse or run 0. So every right step outranks every wrong one, and a near
miss is worth more than nonsense.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from learnat.errors import LearnatError
from learnat.sql.block_builder import view
from learnat.sql.finality import is_final
from learnat.sql.inclusion import includes
from learnat.sql.parse import SqlParseError
from learnat.sql.schema import Schema
from learnat.sql.similarity import edit_ratio, similarity


class Reward(Protocol):
    """What the judge asks: ``score`` for each step as it is found, ``settle`` once it is known where it led."""

    def score(
        self, gold: str, step: str, schema: Schema | None = None, *, runs: bool = True, final: bool | None = None
    ) -> float:
        """The reward of ``step`` on its own.

        ``runs`` is False when the step failed on the database. ``final`` is the judge's verdict; None asks the
        canonical form.
        """
        ...

    def settle(self, score: float, solves: bool) -> float:
        """The reward in the finished tree; ``solves`` says whether the step stands on a path to a final step."""
        ...


def reward(
    gold: str,
    step: str,
    schema: Schema | None = None,
    dialect: str = "sqlite",
    *,
    runs: bool = True,
    final: bool | None = None,
    coverage_weight: float = 0.7,
) -> float:
    """The AST reward of ``step`` towards ``gold``, in [0, 1].

    Raises:
        SqlParseError: gold is not one query.
    """
    if not runs:
        return 0.0
    if final is None:
        final = is_final(gold, step, schema, dialect)
    if final:
        return 1.0
    verdict = includes(gold, step, schema, dialect)
    try:
        likeness = _structure(gold, step, schema, dialect)
    except SqlParseError:
        return 0.0
    s = coverage_weight * verdict.coverage + (1.0 - coverage_weight) * likeness
    return 0.5 + 0.5 * s if verdict else 0.5 * s


@lru_cache(maxsize=10_000)
def _structure(gold: str, step: str, schema: Schema | None, dialect: str) -> float:
    return similarity(view(gold, schema, dialect).arrays, view(step, schema, dialect).arrays)


@dataclass(frozen=True)
class AstReward:
    """The reward above. ``coverage_weight`` is w, in [0, 1]."""

    coverage_weight: float = 0.7

    def __post_init__(self) -> None:
        weight: object = self.coverage_weight
        if not isinstance(weight, (int, float)) or not 0.0 <= weight <= 1.0:
            raise LearnatError(f"reward.coverage_weight must be in [0, 1], not {self.coverage_weight}")

    def score(
        self, gold: str, step: str, schema: Schema | None = None, *, runs: bool = True, final: bool | None = None
    ) -> float:
        return reward(gold, step, schema, runs=runs, final=final, coverage_weight=self.coverage_weight)

    def settle(self, score: float, solves: bool) -> float:
        return score


@dataclass(frozen=True)
class StringReward:
    """The edit ratio of the canonical texts, ``1 - edits / length of the longer``; no inclusion anywhere in it."""

    def score(
        self, gold: str, step: str, schema: Schema | None = None, *, runs: bool = True, final: bool | None = None
    ) -> float:
        try:
            text = view(step, schema).form.sql
        except SqlParseError:
            return 0.0
        if not runs:
            return 0.0
        return edit_ratio(view(gold, schema).form.sql, text)

    def settle(self, score: float, solves: bool) -> float:
        return score


@dataclass(frozen=True)
class OutcomeReward:
    """1 for a step that leads to a correct final step, else 0; while the tree grows, only a final step has 1."""

    def score(
        self, gold: str, step: str, schema: Schema | None = None, *, runs: bool = True, final: bool | None = None
    ) -> float:
        if final is None:
            final = is_final(gold, step, schema)
        return 1.0 if final and runs else 0.0

    def settle(self, score: float, solves: bool) -> float:
        return 1.0 if solves else 0.0
