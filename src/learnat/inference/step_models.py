"""Local models that propose next steps: a run's own checkpoint, and any chat model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnat.benchmarks.types import Benchmark, Database
from learnat.inference.engines.base import NO_ROOM, Message, Prompt
from learnat.inference.engines.chat_encoding import ChatEncoder, EncodedPrompt
from learnat.inference.parse import NO_SQL, NO_SUB_QUESTION, parse_answer
from learnat.inference.prompts import question_prompt
from learnat.synthesis.demonstrations import DemonstrationPool
from learnat.synthesis.proposers.base import Request
from learnat.synthesis.proposers.cache import Reply
from learnat.synthesis.proposers.chat import TRUNCATED, ChatPrompt, Reading, read_reply
from learnat.training.prompts import STEP_END, example_text, step_text

if TYPE_CHECKING:
    from learnat.training.models import Policy

ENDED = "answer ended"
"""The policy wrote its end token in place of a step: to it the last one is the answer."""


@dataclass(frozen=True)
class Loaded:
    """A model in memory, and its prompt for a request and the content of it."""

    policy: Policy
    prompt: Callable[[Request, Any], EncodedPrompt]


class StepModel(ABC):
    """How one kind of model is asked for next steps and its replies are read. Weights are read by ``load`` only.

    ``source`` labels its proposals in a tree; ``weights`` identifies what it is; a reply ends with ``stop``, if that is
    not None, or at the model's end token.
    """

    source: str
    weights: str
    stop: str | None

    def check(self, benchmark: Benchmark) -> None:  # noqa: B027  # a chat model shows what there is
        """Raise ``LearnatError`` where prompts would not be as the model needs them."""

    @abstractmethod
    def rows(self, k: int) -> int:
        """How many replies are wanted for ``k`` steps."""

    @abstractmethod
    def content(self, request: Request) -> Any:
        """All of the prompt that decides a reply, as JSON data."""

    @abstractmethod
    def load(self) -> Loaded:
        """Read the weights. Raises ``LearnatError`` when they cannot be had."""

    def read(self, replies: Sequence[Reply], k: int) -> Reading:
        """The steps that ``replies`` hold, and the reason of each part of them that holds none."""
        readings = [self._reading(reply, k) for reply in replies]
        steps = [step for reading in readings for step in reading.steps]
        return Reading(tuple(steps[:k]), tuple(reason for reading in readings for reason in reading.rejected))

    def _reading(self, reply: Reply, k: int) -> Reading:
        if reply.finish_reason == "length" and not reply.completion_tokens:
            return Reading((), (NO_ROOM,))
        return self._read(reply, k)

    @abstractmethod
    def _read(self, reply: Reply, k: int) -> Reading:
        """What one reply says to a prompt that left room for it."""


class TrainedPolicy(StepModel):
    """A checkpoint of ours, asked as it was trained: it goes on with its answer, one step a reply, and sees no gold.

    Raises ``LearnatError`` when ``checkpoint`` is no checkpoint folder.
    """

    source = "policy"
    stop = STEP_END

    def __init__(self, checkpoint: str | Path) -> None:
        from learnat.training import models

        self.checkpoint = Path(checkpoint)
        self.style = models.prompt_style(self.checkpoint)
        self.weights = models.source_of(self.checkpoint)

    def check(self, benchmark: Benchmark) -> None:
        self.style.check_samples(benchmark)

    def rows(self, k: int) -> int:
        return k

    def content(self, request: Request) -> Any:
        database = self.style.database_text(_database(request))
        return [self.style.hash, database, example_text(request.example), *map(step_text, request.path)]

    def load(self) -> Loaded:
        from learnat.training import models

        policy = models.load(self.checkpoint)
        encoder = ChatEncoder(policy.tokenizer)

        def prompt(request: Request, content: Any) -> EncodedPrompt:
            asked = question_prompt(policy.style, _database(request), request.example)
            return encoder.encode(replace(asked, begun="".join(map(step_text, request.path))))

        return Loaded(policy, prompt)

    def _read(self, reply: Reply, k: int) -> Reading:
        if reply.finish_reason == "length":
            return Reading((), (TRUNCATED,))
        if not reply.text.strip():
            return Reading((), (ENDED,))
        steps = parse_answer(reply.text).steps
        if not steps:
            return Reading((), (NO_SQL,))
        # As a chosen step it would teach to leave the sub-question out.
        return Reading(steps[:1]) if steps[0].sub_question else Reading((), (NO_SUB_QUESTION,))


class ChatModel(StepModel):
    """An instruction-tuned model that was not trained for this, asked as the proposer ``openai`` asks a server.

    ``model`` is a folder or a hub id; prompts show examples from ``demonstrations`` if there is such a pool. Raises
    ``LearnatError`` when the model's configuration cannot be had.
    """

    stop = None

    def __init__(self, model: str, chat: ChatPrompt, demonstrations: DemonstrationPool | None = None) -> None:
        from learnat.inference import chat_models

        self.model = model
        self.chat = chat
        self.demonstrations = demonstrations
        self.source = f"transformers:{Path(model).name}"
        self.weights = chat_models.identity(model)

    def rows(self, k: int) -> int:
        return 1

    def content(self, request: Request) -> Any:
        pool = self.demonstrations
        return self.chat.messages(request, pool.similar(request.example, request.schema) if pool is not None else ())

    def load(self) -> Loaded:
        from learnat.inference import chat_models

        policy = chat_models.load(self.model)
        encoder = ChatEncoder(policy.tokenizer)

        def prompt(request: Request, content: Any) -> EncodedPrompt:
            messages = tuple(Message(**message) for message in content)
            return encoder.encode(Prompt(messages, shared=self.chat.schema_text(request)))

        return Loaded(policy, prompt)

    def _read(self, reply: Reply, k: int) -> Reading:
        return read_reply(reply.text, k, reply.finish_reason)


def _database(request: Request) -> Database:
    """What a prompt needs of a database: its schema. Nothing is run here."""
    return Database(request.example.db_id, None, request.schema)
