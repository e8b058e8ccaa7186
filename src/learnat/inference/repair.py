"""Execution feedback: the model is shown what is wrong with its SQL, and answers again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from learnat.errors import LearnatError
from learnat.inference.candidates import Candidate
from learnat.inference.engines.base import Message, Prompt
from learnat.synthesis.checks import check_flag

AGAIN = "Write all steps again, corrected."


@dataclass(frozen=True)
class Repair:
    """Asks again, at most ``rounds`` times, while the SQL does not run or, with ``empty``, finds no rows.

    Of all answers the first that found rows is kept, else the first that ran, else the first. Each round goes on with
    the chat of the round before. Raises ``LearnatError`` for a value that is not allowed.
    """

    rounds: int = 0
    empty: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.rounds, bool) or not isinstance(self.rounds, int) or self.rounds < 0:
            raise LearnatError(f"inference.repair.rounds={self.rounds} must be a whole number, 0 for none.")
        check_flag("inference.repair.empty", self.empty)

    def is_due(self, candidate: Candidate) -> bool:
        """Whether to ask again. An answer that the engine failed to give leaves nothing to talk about."""
        if candidate.completion.failure is not None:
            return False
        return not candidate.ran or (self.empty and not candidate.found_rows)

    def prompt(self, prompt: Prompt, candidate: Candidate) -> Prompt:
        """``prompt``, the answer it got, and what is wrong with that."""
        said = Message("assistant", prompt.begun + candidate.completion.text)
        return replace(prompt, messages=(*prompt.messages, said, Message("user", feedback(candidate))), begun="")


def feedback(candidate: Candidate) -> str:
    """What is wrong with an answer, in words for its author."""
    if not candidate.sql or candidate.result is None:
        return f"There is no SQL statement in this answer. {AGAIN}"
    if candidate.result.error is not None:
        return f"The database cannot run\n{candidate.sql};\nIt says: {candidate.result.error}. {AGAIN}"
    return f"There are no rows in the result of\n{candidate.sql};\nCheck its conditions and values. {AGAIN}"


def better(first: Candidate, second: Candidate) -> Candidate:
    """The one to keep."""
    return second if (second.found_rows, second.ran) > (first.found_rows, first.ran) else first
