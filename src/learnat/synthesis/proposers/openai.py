"""The proposer that asks a chat server: vLLM, llama.cpp, ``transformers serve``, or a commercial one."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnat.errors import LearnatError, nearest
from learnat.sql.finality import FINALITIES
from learnat.synthesis.checks import check_address, check_count, check_number, check_seed, check_variable
from learnat.synthesis.demonstrations import DemonstrationPool
from learnat.synthesis.proposers.base import Proposal, Proposals, Proposer, Request, Unanswered
from learnat.synthesis.proposers.cache import Reply, ReplyCache, cache_key
from learnat.synthesis.proposers.chat import GIVEN_UP, REPLY_SCHEMA, ChatPrompt, read_reply
from learnat.synthesis.proposers.spending import RunBudget
from learnat.synthesis.tree import SearchTree

if TYPE_CHECKING:
    from learnat.synthesis.proposers.chat_client import ChatClient

RESPONSE_FORMATS: dict[str, dict[str, Any] | None] = {
    "json_schema": {
        "type": "json_schema",
        "json_schema": {"name": "next_steps", "strict": True, "schema": REPLY_SCHEMA},
    },
    "json_object": {"type": "json_object"},
    "text": None,
}

LEAVE_OUT = {
    "response_format": "proposer.response_format=text",
    "temperature": "proposer.temperature=null",
    "max_tokens": "proposer.max_reply_tokens=null",
    "seed": "proposer.send_seed=false",
}
"""What keeps a parameter of a call from being sent, for servers that refuse it."""


@dataclass
class OpenAIProposer(Proposer):
    """Asks a chat model for next steps, one call for all ``k`` of them.

    A reply that holds no step is not asked for again: the search does so if it wants, with the next sample index.
    Replies are kept on disk by content and sample index, so that a rerun costs nothing. A closed proposer answers no
    more.

    Args:
        model: the model's name on the server.
        base_url: the server's address, mostly ending in ``/v1``.
        api_key_env: the environment variable that holds the key; None for servers without one.
        granularity, sees_gold, schema_style, samples: see ``ChatPrompt``.
        final: how the final step is told, ``execution`` or ``canonical``, see ``learnat.sql.is_final``.
        response_format: ``json_schema``, ``json_object`` or ``text`` (no constraint, for servers without the others).
        temperature: None leaves it to the server.
        max_reply_tokens: the longest reply, in tokens; None leaves it to the server.
        seed: runs of another seed have replies of their own: it is part of what the cache keeps a reply by.
        send_seed: whether the server is told it too, plus the sample index, to repeat its sampling if it can.
        extra_body: further parameters of a call that the server knows.
        concurrency: questions, and calls, in flight at once.
        timeout_s: for one attempt of a call.
        attempts: how often a call is sent before its question is left open.
        budget: what a run may cost.
        cache: the file of cached replies; None: no cache.
        demonstrations: solved questions that prompts show; None: none.

    Raises ``LearnatError`` for a value that is not allowed.
    """

    model: str
    base_url: str = "http://localhost:8000/v1"
    api_key_env: str | None = None
    granularity: str = "clause"
    sees_gold: bool = True
    schema_style: str = "ddl"
    samples: int = 3
    final: str = "execution"
    response_format: str = "json_schema"
    temperature: float | None = 0.8
    max_reply_tokens: int | None = 2048
    seed: int = 0
    send_seed: bool = False
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    concurrency: int = 16
    timeout_s: float = 300.0
    attempts: int = 6
    budget: RunBudget = field(default_factory=RunBudget)
    cache: str | Path | None = None
    demonstrations: DemonstrationPool | None = None

    free_settings = ("base_url", "api_key_env", "concurrency", "timeout_s", "attempts", "budget", "cache")

    def __post_init__(self) -> None:
        check_address("proposer.base_url", self.base_url)
        check_variable("proposer.api_key_env", self.api_key_env)
        for key, known in (("response_format", tuple(RESPONSE_FORMATS)), ("final", FINALITIES)):
            if (value := getattr(self, key)) not in known:
                raise LearnatError(f"proposer.{key}={value!r} is unknown. {nearest(str(value), known)}")
        if self.temperature is not None:
            check_number("proposer.temperature", self.temperature, least=0.0)
        check_count("proposer.max_reply_tokens", self.max_reply_tokens, optional=True)
        check_seed("proposer.seed", self.seed)
        check_count("proposer.concurrency", self.concurrency)
        check_count("proposer.attempts", self.attempts)
        check_number("proposer.timeout_s", self.timeout_s, least=0.001)
        self.round_size = self.demonstrations.round_size if self.demonstrations is not None else None
        self._prompt = ChatPrompt(self.granularity, self.sees_gold, self.schema_style, self.samples)
        self._replies = ReplyCache(self.cache) if self.cache is not None else None
        self._client: ChatClient | None = None
        self._lock = threading.Lock()
        self._closed = False

    def propose(self, request: Request) -> Proposals:
        if self._closed:
            raise Unanswered([GIVEN_UP])
        call = self._call(request)
        key = cache_key({**call, "k": request.k, "seed": self.seed}, request.sample)
        known = self._replies.get(key) if self._replies is not None else None
        reply, failures = (known, ()) if known is not None else self._ask(call, key)
        if reply is None:
            return Proposals((), rejected=failures)
        reading = read_reply(reply.text, request.k, reply.finish_reason)
        source = f"openai:{self.model}"
        return Proposals(
            tuple(Proposal(step.sub_question, step.sql, source, self.final) for step in reading.steps),
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            cached=known is not None,
            rejected=failures + reading.rejected,
        )

    def learn(self, trees: Sequence[SearchTree]) -> None:
        if self.demonstrations is not None:
            self.demonstrations.add(trees)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            client = self._client
        if client is not None:
            client.close()
        if self._replies is not None:
            self._replies.close()

    def _call(self, request: Request) -> dict[str, Any]:
        """The parameters of the chat completion: what decides the reply, but for the sample index."""
        shown = self.demonstrations.similar(request.example, request.schema) if self.demonstrations is not None else ()
        call = {
            "model": self.model,
            "messages": self._prompt.messages(request, shown),
            "response_format": RESPONSE_FORMATS[self.response_format],
            "temperature": self.temperature,
            "max_tokens": self.max_reply_tokens,
            "seed": self.seed + request.sample if self.send_seed else None,
            "extra_body": dict(self.extra_body or {}),
        }
        return {name: value for name, value in call.items() if value is not None}

    def _ask(self, call: Mapping[str, Any], key: str) -> tuple[Reply | None, tuple[str, ...]]:
        """The server's reply, or None where it declines to give one, and why attempts failed."""
        self.budget.check()
        answer = self._connected().complete(call)
        reply = answer.reply
        if reply is not None:
            self.budget.add(reply)
            if self._replies is not None:
                reply = self._replies.keep(key, reply)
        return reply, answer.failures

    def _connected(self) -> ChatClient:
        """The client, which starts with the first call: a run from the cache needs neither server nor key."""
        try:
            from learnat.synthesis.proposers.chat_client import ChatClient
            from learnat.synthesis.proposers.chat_server import Server
        except ImportError as error:
            raise LearnatError(
                f"proposer=openai needs packages that are not installed ({error}): pip install -e '.[openai]'"
            ) from error
        with self._lock:
            if self._closed:
                raise Unanswered([GIVEN_UP])
            if self._client is None:
                server = Server(self.base_url, self.model, self.api_key_env, "proposer", LEAVE_OUT)
                self._client = ChatClient(server, self.attempts, self.timeout_s, self.concurrency)
            return self._client
