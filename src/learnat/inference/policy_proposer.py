"""The proposer ``transformers``: next steps from a local model, be it a policy that a run trained."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnat.benchmarks.types import Benchmark
from learnat.errors import LearnatError, nearest
from learnat.inference.batcher import Closed
from learnat.inference.step_models import ChatModel, StepModel, TrainedPolicy
from learnat.sql.finality import FINALITIES
from learnat.synthesis.checks import check_count, check_number, check_seed
from learnat.synthesis.demonstrations import DemonstrationPool
from learnat.synthesis.proposers.base import Proposal, Proposals, Proposer, Request, Unanswered
from learnat.synthesis.proposers.cache import Reply, ReplyCache, cache_key
from learnat.synthesis.proposers.chat import GIVEN_UP, ChatPrompt
from learnat.synthesis.tree import SearchTree

if TYPE_CHECKING:
    from learnat.inference.model_thread import ModelThread

STEP_TOKENS, REPLY_TOKENS = 256, 2048
"""The longest step of a checkpoint, and the longest reply of a chat model, where nothing else is configured."""


@dataclass(frozen=True)
class _Draw:
    """A reply that is wanted: its key in the cache, and the seed of its sampling (None: greedy)."""

    key: str
    seed: int | None


@dataclass
class TransformersSettings:
    """What the proposer is configured with, checked without reading its model, which may have to be trained first.

    Args:
        checkpoint: a folder that a run wrote, ``<run folder>/checkpoints/<stage>``. It is asked as in training and
            sees no gold, whatever the settings below say of prompts.
        model: a chat model instead, by hub id or folder.
        granularity, sees_gold, schema_style, samples: of the chat model's prompts, see ``ChatPrompt``.
        temperature: of sampling; 0: greedy, and one reply a call.
        top_p: in (0, 1]; tokens are drawn from the likeliest that have this probability together.
        greedy_first: whether the first reply to a prompt is the greedy one.
        max_reply_tokens: the longest reply; None: 256 for a checkpoint's step, 2,048 for a chat model.
        final: how the final step is told, ``execution`` or ``canonical``, see ``learnat.sql.is_final``.
        seed: of sampling.
        concurrency: questions searched at once.
        batch_size: sequences decoded together, at most.
        device: ``auto``, ``cpu`` or ``cuda``.
        cache: the file of cached replies; None: no cache.
        demonstrations: solved questions that the chat model's prompts show; None: none.

    Raises ``LearnatError`` for a value that is not allowed.
    """

    checkpoint: str | Path | None = None
    model: str | None = None
    granularity: str = "clause"
    sees_gold: bool = True
    schema_style: str = "ddl"
    samples: int = 3
    temperature: float = 1.0
    top_p: float = 1.0
    greedy_first: bool = True
    max_reply_tokens: int | None = None
    final: str = "execution"
    seed: int = 1
    concurrency: int = 32
    batch_size: int = 64
    device: str = "auto"
    cache: str | Path | None = None
    demonstrations: DemonstrationPool | None = None

    def __post_init__(self) -> None:
        from learnat.inference.generate import check_device

        if (self.checkpoint is None) == (self.model is None):
            raise LearnatError(
                "Give what proposes: proposer.checkpoint=<run folder>/checkpoints/<stage> (a trained policy) or "
                "proposer.model=ID or FOLDER (a chat model), and not both."
            )
        if self.checkpoint is not None and self.demonstrations is not None:
            raise LearnatError("proposer.demonstrations: a trained policy is asked as in training, without examples.")
        if self.final not in FINALITIES:
            raise LearnatError(f"proposer.final={self.final!r} is unknown. {nearest(str(self.final), FINALITIES)}")
        check_number("proposer.temperature", self.temperature, least=0.0)
        check_number("proposer.top_p", self.top_p, least=0.0)
        if not 0.0 < self.top_p <= 1.0:
            raise LearnatError(f"proposer.top_p={self.top_p} must be above 0 and at most 1.")
        check_count("proposer.max_reply_tokens", self.max_reply_tokens, optional=True)
        check_seed("proposer.seed", self.seed)
        check_count("proposer.concurrency", self.concurrency)
        check_count("proposer.batch_size", self.batch_size)
        check_device("proposer.device", self.device)


@dataclass
class TransformersProposer(TransformersSettings, Proposer):
    """Asks a run's own checkpoint for ``k`` samples of the next step, or a chat model for one reply with ``k`` steps.

    A reply is a function of weights, prompt, sampling settings, seed and sample index: it does not depend on what else
    is in its batch, but for rounding. Replies are kept on disk by just these, so that a rerun reads no weights and
    makes the same trees. A closed proposer answers no more.

    Raises ``LearnatError`` as its settings do, and for a model that is not there.
    """

    weights: str = field(init=False)
    """Identifies the model: trees of other weights are not adopted, wherever they lie."""

    free_settings = ("checkpoint", "concurrency", "batch_size", "device", "cache")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._model = self._step_model()
        self.weights = self._model.weights
        self.round_size = self.demonstrations.round_size if self.demonstrations is not None else None
        self._replies = ReplyCache(self.cache) if self.cache is not None else None
        self._thread: ModelThread | None = None
        self._lock = threading.Lock()
        self._closed = False

    def _step_model(self) -> StepModel:
        if self.checkpoint is not None:
            return TrainedPolicy(self.checkpoint)
        assert self.model is not None, "one of the two is given"
        chat = ChatPrompt(self.granularity, self.sees_gold, self.schema_style, self.samples)
        return ChatModel(self.model, chat, self.demonstrations)

    def check(self, benchmark: Benchmark, split: str) -> None:
        self._model.check(benchmark)

    def propose(self, request: Request) -> Proposals:
        if self._closed:
            raise Unanswered([GIVEN_UP])
        content = self._model.content(request)
        draws = self._draws(request, content)
        known = {draw.key: self._known(draw.key) for draw in draws}
        missing = [draw for draw in draws if known[draw.key] is None]
        if missing:
            known.update(self._ask(request, content, missing))
        replies = [reply for reply in known.values() if reply is not None]
        reading = self._model.read(replies, request.k)
        source = self._model.source
        return Proposals(
            tuple(Proposal(step.sub_question, step.sql, source, self.final) for step in reading.steps),
            prompt_tokens=replies[0].prompt_tokens,
            completion_tokens=sum(reply.completion_tokens for reply in replies),
            cached=not missing,
            rejected=reading.rejected,
        )

    def learn(self, trees: Sequence[SearchTree]) -> None:
        if self.demonstrations is not None:
            self.demonstrations.add(trees)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is not None:
            thread.close()
        if self._replies is not None:
            self._replies.close()

    def _draws(self, request: Request, content: Any) -> list[_Draw]:
        """The replies that answer ``request``."""
        call = {"weights": self.weights, "prompt": content, "max_tokens": self._max_tokens}
        greedy = _Draw(cache_key(call, 0), None)
        if not self.temperature:
            return [greedy]
        sampling = {"temperature": self.temperature, "top_p": self.top_p, "seed": self.seed}
        keys = [
            cache_key({**call, **sampling, "row": row}, request.sample) for row in range(self._model.rows(request.k))
        ]
        draws = [_Draw(key, int(key[:16], 16)) for key in keys]
        return [greedy, *draws[1:]] if self.greedy_first and request.sample == 0 else draws

    @property
    def _max_tokens(self) -> int:
        return self.max_reply_tokens or (STEP_TOKENS if self.checkpoint is not None else REPLY_TOKENS)

    def _known(self, key: str) -> Reply | None:
        return self._replies.get(key) if self._replies is not None else None

    def _ask(self, request: Request, content: Any, draws: Sequence[_Draw]) -> dict[str, Reply]:
        """The model's replies by their keys; from now on they are in the cache."""
        from learnat.inference.model_thread import Question

        try:
            completions = self._running().ask([Question(request, content, draw.seed) for draw in draws])
        except Closed as error:
            raise Unanswered([GIVEN_UP]) from error
        replies = {}
        for draw, done in zip(draws, completions, strict=True):
            reason = "stop" if done.finished else "length"
            reply = Reply(done.text, reason, done.prompt_tokens, done.completion_tokens)
            replies[draw.key] = self._replies.keep(draw.key, reply) if self._replies is not None else reply
        return replies

    def _running(self) -> ModelThread:
        """The thread that owns the model, which starts with the first call: a run from the cache reads no weights."""
        from learnat.inference.engines.base import Decoding
        from learnat.inference.model_thread import ModelThread

        with self._lock:
            if self._closed:
                raise Unanswered([GIVEN_UP])
            if self._thread is None:
                decoding = Decoding(self._max_tokens, self.temperature or 1.0, self.top_p, self._model.stop)
                self._thread = ModelThread(self._model, decoding, self.batch_size, self.device)
            return self._thread
