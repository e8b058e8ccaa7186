"""Pruning rules: each looks at one judged step and its place in the tree, and says whether the branch goes on.

A rule set is a list; the first rule that refuses a step gives the node its ``pruned_by``. Whatever is pruned stays in
the tree, with verdict and reward, so that ablations compare the same thing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from learnat.errors import LearnatError, nearest
from learnat.synthesis.checks import check_count
from learnat.synthesis.judge import Verdict

MODES = ("clause", "strict", "text")
"""The inclusion tests; see ``learnat.sql.includes``."""


@dataclass(frozen=True)
class Place:
    """Where a proposed step would stand.

    ``depth`` counts steps from 1; ``covered`` holds the ids of gold's AST nodes that the steps before it account for;
    ``ancestors`` are the canonical SQL texts of those steps.
    """

    depth: int
    covered: frozenset[int]
    ancestors: tuple[str, ...]


class PruningRule(Protocol):
    name: ClassVar[str]
    """What ``pruned_by`` and the summary call it."""

    def prunes(self, verdict: Verdict, place: Place) -> bool: ...


@dataclass(frozen=True)
class Parses:
    """Refuses SQL that cannot be parsed."""

    name: ClassVar[str] = "parses"

    def prunes(self, verdict: Verdict, place: Place) -> bool:
        return not verdict.parses


@dataclass(frozen=True)
class Runs:
    """Refuses SQL that fails on the database. Where the database file is not at hand, parsing is all that is asked."""

    name: ClassVar[str] = "runs"

    def prunes(self, verdict: Verdict, place: Place) -> bool:
        return verdict.runs is False


@dataclass(frozen=True)
class Included:
    """Refuses a step that gold's clauses do not prove: neither included in gold nor the final answer.

    ``mode`` is the inclusion test that decides here (``clause``, ``strict`` or ``text``); a node's ``included`` is
    recorded in mode ``clause`` whatever this rule asks.
    """

    mode: str = "clause"
    name: ClassVar[str] = "included"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise LearnatError(f"Included: mode={self.mode!r} is no inclusion test. {nearest(str(self.mode), MODES)}")

    def prunes(self, verdict: Verdict, place: Place) -> bool:
        return not (self.mode in verdict.included_in or verdict.final)


def inclusion_modes(rules: Iterable[PruningRule]) -> frozenset[str]:
    """The inclusion tests that ``rules`` ask for."""
    return frozenset(rule.mode for rule in rules if isinstance(rule, Included))


@dataclass(frozen=True)
class Duplicate:
    """Refuses a step whose canonical SQL already stands on the path."""

    name: ClassVar[str] = "duplicate"

    def prunes(self, verdict: Verdict, place: Place) -> bool:
        return verdict.canonical in place.ancestors


@dataclass(frozen=True)
class Progress:
    """Refuses a step that accounts for nothing of gold beyond what the path before it does; final is progress."""

    name: ClassVar[str] = "progress"

    def prunes(self, verdict: Verdict, place: Place) -> bool:
        return not verdict.final and verdict.covered <= place.covered


@dataclass(frozen=True)
class Depth:
    """Refuses paths of more than ``max_depth`` steps, and steps at ``max_depth`` that are not the last one."""

    max_depth: int
    name: ClassVar[str] = "depth"

    def __post_init__(self) -> None:
        check_count("pruning.max_depth", self.max_depth)

    def prunes(self, verdict: Verdict, place: Place) -> bool:
        return place.depth > self.max_depth or (place.depth == self.max_depth and not verdict.final)
