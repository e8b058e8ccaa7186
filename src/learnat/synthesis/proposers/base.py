"""What every proposer answers: given a question, its schema and the steps so far, k next steps."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from learnat.benchmarks.types import Example
from learnat.sql.schema import Schema
from learnat.synthesis.tree import Step


@dataclass(frozen=True)
class Proposal:
    """A proposed next step. ``source`` says where it comes from: ``ast``, ``mutation:operator``, a model's name."""

    sub_question: str
    sql: str
    source: str


@dataclass(frozen=True)
class Proposals:
    """The answer to one call. Token counts are 0 for proposers without a language model."""

    proposals: tuple[Proposal, ...]
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached: bool = False


class Proposer(Protocol):
    """Stateless between calls, so that a search may ask in any order and from any process."""

    def propose(self, example: Example, schema: Schema, path: Sequence[Step], k: int, rng: random.Random) -> Proposals:
        """At most ``k`` next steps after ``path``; ``rng`` is the only source of chance."""
        ...
