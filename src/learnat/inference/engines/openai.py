"""The engine that asks a chat server: vLLM, llama.cpp, ``transformers serve``, or a commercial one."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnat.errors import LearnatError
from learnat.inference.engines.base import Completion, Decoding, Engine, Prompt, Request, Written
from learnat.synthesis.checks import check_address, check_count, check_number, check_variable, name_of, shown
from learnat.synthesis.proposers.base import Unanswered
from learnat.synthesis.proposers.cache import Reply, ReplyCache, cache_key
from learnat.training.prompts import PromptStyle

if TYPE_CHECKING:
    from learnat.synthesis.proposers.chat_client import ChatClient
    from learnat.synthesis.proposers.chat_server import Server

log = logging.getLogger(__name__)

Ask = Callable[[Mapping[str, Any]], tuple[Reply | None, tuple[str, ...]]]

PARAMETERS = ("temperature", "top_p", "max_tokens", "stop", "seed")
"""What ``omit`` may name."""


@dataclass(frozen=True)
class OpenAISettings:
    """Which server is asked, and how.

    Args:
        model: the model's name on the server.
        base_url: the server's address, mostly ending in ``/v1``.
        api_key_env: the environment variable that holds the key; None for servers without one.
        omit: parameters of a call that the server does not take, see ``PARAMETERS``: it is asked without, and takes its
            own values for them.
        extra_body: further parameters of a call that the server knows.
        concurrency: calls in flight at once.
        timeout_s: for one attempt of a call.
        attempts: how often a call is sent before its question is left open.
        patience_s: how long a server that cannot be reached is waited for.
        cache: the file of cached replies; None: no cache.

    Raises ``LearnatError`` for a value that is not allowed.
    """

    model: str
    base_url: str = "http://localhost:8000/v1"
    api_key_env: str | None = None
    omit: Sequence[str] = ("seed",)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    concurrency: int = 16
    timeout_s: float = 300.0
    attempts: int = 6
    patience_s: float = 600.0
    cache: str | Path | None = None

    def __post_init__(self) -> None:
        check_address("engine.base_url", self.base_url)
        check_variable("engine.api_key_env", self.api_key_env)
        check_count("engine.concurrency", self.concurrency)
        check_count("engine.attempts", self.attempts)
        check_number("engine.timeout_s", self.timeout_s, least=0.001)
        check_number("engine.patience_s", self.patience_s, least=0.0)
        if isinstance(self.omit, str) or not isinstance(self.omit, Sequence):
            example = self.omit if isinstance(self.omit, str) else "seed"
            raise LearnatError(
                f"engine.omit={shown(self.omit)} must be a list of names, as in engine.omit=[{example}], [] for none."
            )
        if unknown := [name for name in self.omit if name not in PARAMETERS]:
            raise LearnatError(f"engine.omit: {unknown[0]!r} is unknown. Known: {', '.join(PARAMETERS)}.")
        if not isinstance(self.extra_body, Mapping):
            raise LearnatError(
                f"engine.extra_body={shown(self.extra_body)} must hold names and values, as in "
                "engine.extra_body={top_k: 1}, {} for none."
            )
        several = "the name of the server's model; to ask several, start a sweep, -m engine.model=NAME,NAME"
        object.__setattr__(self, "model", name_of("engine.model", self.model, several))
        if self.cache is not None and not isinstance(self.cache, Path):
            object.__setattr__(self, "cache", name_of("engine.cache", self.cache, "a file, or null for none"))

    def open(self, checkpoint: str | Path | None, style: PromptStyle) -> OpenAIEngine:
        """``checkpoint`` may be the folder that the server has its model from; prompts are then of its style."""
        return OpenAIEngine(self, style)


class OpenAIEngine(Engine):
    """Calls are made in the order of the prompts, ``concurrency`` at once, each for one text.

    A server ends a text *before* the stop string, and does not say whether it met that or the model's end token: texts
    come without it.
    """

    def __init__(self, settings: OpenAISettings, style: PromptStyle) -> None:
        self.settings = settings
        self.style = style
        self.name = f"openai:{settings.model}"
        # Not the address: the same model is often served elsewhere the next time.
        self.identity = json.dumps([self.name, sorted(settings.omit), dict(settings.extra_body)], sort_keys=True)
        self._replies = ReplyCache(settings.cache, key="engine.cache") if settings.cache is not None else None
        self._client: ChatClient | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._waiting = False

    def draws(self, decoding: Decoding) -> bool:
        """Also where the server is not told the temperature, or told another one: then it has one of its own."""
        own = "temperature" in self.settings.omit or "temperature" in self.settings.extra_body
        return own or super().draws(decoding)

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Written]:
        asked = [(place, sample) for place, request in enumerate(requests) for sample in request.samples]
        failures: list[Unanswered] = []
        pool = ThreadPoolExecutor(self.settings.concurrency, thread_name_prefix="asking")
        try:
            futures = {
                pool.submit(self._complete, requests[place].prompt, decoding, sample): (place, sample)
                for place, sample in asked
            }
            for future in as_completed(futures):
                try:
                    completion = future.result()
                except Unanswered as error:
                    failures.append(error)
                else:
                    yield Written(*futures.pop(future), completion)
        finally:
            # Calls under way end by themselves, or with the client.
            pool.shutdown(wait=False, cancel_futures=True)
        if failures:
            reasons = Counter(reason for error in failures for reason in error.reasons)
            told = ", ".join(f"{reason}: {count}" for reason, count in reasons.most_common())
            raise LearnatError(
                f"{len(failures)} of {len(asked)} calls got no answer ({told}). What is done is kept: "
                "the same command asks again for the others."
            )

    def stream(self, prompt: Prompt, decoding: Decoding, on_text: Callable[[str], None]) -> Completion:
        """See ``StreamingEngine``. Somebody waits for the text, so that a server which is gone is not waited for."""
        try:
            return self._complete(prompt, decoding, 0, lambda call: self._read(call, on_text))
        except Unanswered as error:
            raise LearnatError(f"{self.settings.base_url} gave no answer ({', '.join(error.reasons)}).") from error

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            client = self._client
        if client is not None:
            client.close()
        if self._replies is not None:
            self._replies.close()

    def _complete(self, prompt: Prompt, decoding: Decoding, sample: int, ask: Ask | None = None) -> Completion:
        """``ask`` is who gets a reply that is not known yet: by default, one that waits for the whole of it."""
        call = self._call(prompt, decoding, sample)
        key = cache_key({**call, "seed": self.kept_by(decoding).seed}, sample)
        known = self._replies.get(key) if self._replies is not None else None
        if known is not None:
            return _completion(known)
        reply, failures = (ask or self._ask)(call)
        if reply is None:
            return Completion("", 0, 0, False, failure=failures[-1], computed=False)
        return _completion(self._replies.keep(key, reply) if self._replies is not None else reply)

    def _call(self, prompt: Prompt, decoding: Decoding, sample: int) -> dict[str, Any]:
        """The parameters of the chat completion."""
        messages = [asdict(message) for message in prompt.messages]
        if prompt.begun:
            # Servers go on with a last message that is the assistant's; vLLM has to be told so, by ``extra_body``.
            messages.append({"role": "assistant", "content": prompt.begun})
        seed = decoding.sample_seed(prompt, sample)
        parameters = {
            "temperature": decoding.temperature,
            # Also 1.0: what a call leaves out, vLLM takes from the model's generation_config.json.
            "top_p": decoding.top_p,
            "max_tokens": decoding.max_new_tokens,
            "stop": decoding.stop,
            "seed": seed % 2**31 if seed is not None else None,
        }
        sent = {k: v for k, v in parameters.items() if v is not None and k not in self.settings.omit}
        return {
            "model": self.settings.model,
            "messages": messages,
            "extra_body": dict(self.settings.extra_body),
            **sent,
        }

    def _ask(self, call: Mapping[str, Any]) -> tuple[Reply | None, tuple[str, ...]]:
        """The reply, or None and the reasons where the server declines to give one; a server that is gone is awaited.

        Raises ``Unanswered`` when all attempts failed, ``LearnatError`` when no call of this kind can be answered.
        """
        client = self._connected()
        from learnat.synthesis.proposers.chat_server import Unreachable

        gone_since: float | None = None
        while True:
            try:
                answer = client.complete(call)
            except Unreachable as error:
                gone_since = gone_since or time.monotonic()
                if self._closed.is_set() or time.monotonic() - gone_since > self.settings.patience_s:
                    raise
                self._tell_once(error)
                self._closed.wait(1.0)
            else:
                self._waiting = False
                return answer.reply, answer.failures

    def _read(self, call: Mapping[str, Any], on_text: Callable[[str], None]) -> tuple[Reply | None, tuple[str, ...]]:
        """As ``_ask``, with ``on_text`` told of the reply as it grows."""
        server = self._server()
        from learnat.inference.engines.openai_stream import stream_reply

        reply = stream_reply(server, call, self.settings.timeout_s, on_text)
        return (reply, ()) if isinstance(reply, Reply) else (None, reply.reasons)

    def _tell_once(self, error: LearnatError) -> None:
        with self._lock:
            told, self._waiting = self._waiting, True
        if not told:
            log.warning("%s Waiting for it, up to %.0f s.", error, self.settings.patience_s)

    def _connected(self) -> ChatClient:
        """The client, which starts with the first call: answers from the cache need neither server nor key."""
        server = self._server()
        from learnat.synthesis.proposers.chat_client import ChatClient

        with self._lock:
            if self._client is None:
                settings = self.settings
                self._client = ChatClient(server, settings.attempts, settings.timeout_s, settings.concurrency)
            return self._client

    def _server(self) -> Server:
        """Raises ``LearnatError`` where the package that talks to it is not installed."""
        try:
            from learnat.synthesis.proposers.chat_server import Server
        except ImportError as error:
            raise LearnatError(
                f"engine=openai needs packages that are not installed ({error}): pip install -e '.[openai]'"
            ) from error
        settings = self.settings
        leave_out = {
            name: f"engine.omit=[{','.join([*settings.omit, name])}]"
            for name in PARAMETERS
            if name not in settings.omit
        }
        return Server(settings.base_url, settings.model, settings.api_key_env, "engine", leave_out)


def _completion(reply: Reply) -> Completion:
    return Completion(
        reply.text,
        reply.prompt_tokens,
        reply.completion_tokens,
        finished=reply.finish_reason == "stop",
        cached_tokens=reply.cached_tokens,
        failure=reply.finish_reason if not reply.text and reply.finish_reason == "content_filter" else None,
    )
