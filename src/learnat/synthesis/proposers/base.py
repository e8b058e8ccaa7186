"""What every proposer answers: given a question, its schema and the steps so far, k next steps."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from learnat.benchmarks.types import Benchmark, Example
from learnat.sql.schema import Schema
from learnat.synthesis.tree import SearchTree, Step


@dataclass(frozen=True)
class Request:
    """One call: at most ``k`` steps are wanted after ``path``.

    ``sample`` counts the calls that this tree has made for the same ``path`` before this one: a proposer that samples
    answers anew for each, and a cache keeps each answer by it. ``rng`` is the call's own and only source of chance.
    """

    example: Example
    schema: Schema
    path: tuple[Step, ...]
    k: int
    sample: int
    rng: random.Random


@dataclass(frozen=True)
class Proposal:
    """A proposed next step.

    ``source`` says where it comes from: ``ast``, ``mutation:operator``, a model's name. ``final`` says how it is
    decided whether the step is the answer itself, see ``learnat.sql.is_final``: ``canonical`` or ``execution``.
    """

    sub_question: str
    sql: str
    source: str
    final: str = "canonical"


@dataclass(frozen=True)
class Proposals:
    """The answer to one call. Token counts are 0 for proposers without a language model.

    A ``cached`` answer cost nothing now; it has the token counts of when it was made, so that a budget on tokens ends
    a search where it ended then. ``rejected`` holds a reason for every attempt that failed and for every reply, or part
    of one, that was no step.
    """

    proposals: tuple[Proposal, ...]
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached: bool = False
    rejected: tuple[str, ...] = ()


class Unanswered(Exception):
    """A call that got no answer however often it was tried: its question is left open, and a rerun asks again.

    ``reasons`` has one entry for each attempt.
    """

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(", ".join(reasons))
        self.reasons = tuple(reasons)


class Proposer(ABC):
    """Stateless between calls, so that a search may ask in any order, from any process and from several threads.

    Public attributes are settings: they are written beside the trees, and trees of other settings are not adopted.
    """

    concurrency: int = 0
    """Questions searched at once by threads of one process, for proposers that wait for a server or batch on a GPU;
    0: the work is the processor's own, and questions are spread over processes."""

    round_size: int | None = None
    """Questions of a round, after which ``learn`` is told their trees; None: nothing is learnt."""

    free_settings: tuple[str, ...] = ("concurrency",)
    """Attributes that may change between a run and its resumption: they change no tree."""

    def check(self, benchmark: Benchmark, split: str) -> None:  # noqa: B027  # most proposers suit every benchmark
        """Raises ``LearnatError`` where this proposer cannot propose for ``split`` as ``benchmark`` reads it."""

    @abstractmethod
    def propose(self, request: Request) -> Proposals:
        """At most ``request.k`` next steps.

        Raises:
            Unanswered: no answer could be had this time.
            LearnatError: none can be had at all, and the run must end.
        """

    def learn(self, trees: Sequence[SearchTree]) -> None:  # noqa: B027  # most proposers have nothing to learn
        """The trees of the round that has ended, in the benchmark's order; each tree is told once."""

    def close(self) -> None:  # noqa: B027  # most proposers hold nothing
        """Ends what runs in the background; calls in flight, in other threads, fail at once with ``Unanswered``."""
