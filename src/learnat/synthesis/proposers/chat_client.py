"""Chat completions over HTTP: many threads wait, one event loop asks, and every failed attempt has a reason.

Imports ``openai``, which is an optional dependency.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpx
import openai

from learnat.synthesis.proposers.base import Unanswered
from learnat.synthesis.proposers.cache import Reply
from learnat.synthesis.proposers.chat import GIVEN_UP
from learnat.synthesis.proposers.chat_server import Declined, Server, read_response

TIMED_OUT = "timed out"
CONNECTION_FAILED = "connection failed"

CONNECT_TIMEOUT_S = 10.0
FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 8.0
"""The back-off after a response that cannot be read; the library's own, after an error, is the same."""

_failures: ContextVar[list[str]] = ContextVar("failures")
"""The reasons of the failed attempts of the call that the current task makes."""


@dataclass(frozen=True)
class Answer:
    """A reply, None where the server declines to give one, and a reason for each attempt that failed."""

    reply: Reply | None
    failures: tuple[str, ...]


class ChatClient:
    """Asks a chat server from a thread of its own. ``complete`` may be called from many threads.

    Args:
        attempts: how often a call is sent at most. 429 (after the Retry-After that the server names, up to two
            minutes), 5xx, time-outs, broken connections and unreadable responses are tried again.
        timeout_s: for one attempt, from sending it to the last byte of its response.
        concurrency: calls in flight at once, back-off included.

    Raises ``LearnatError`` when the environment variable for the key is not set.
    """

    def __init__(self, server: Server, attempts: int, timeout_s: float, concurrency: int) -> None:
        self._server = server
        self._attempts = attempts
        self._client = openai.AsyncOpenAI(
            base_url=server.base_url,
            api_key=server.api_key(),
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S)),
            http_client=_CountingClient(timeout_s),
        )
        self._slots = asyncio.Semaphore(concurrency)
        self._lock = threading.Lock()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chat client", daemon=True)
        self._thread.start()

    def complete(self, call: Mapping[str, Any]) -> Answer:
        """The server's answer to ``call``, the parameters of a chat completion.

        Raises:
            Unanswered: none after all attempts, or the client was closed.
            LearnatError: it cannot be reached, or answers no call of this kind.
        """
        with self._lock:
            if self._closed:
                raise Unanswered([GIVEN_UP])
            future = asyncio.run_coroutine_threadsafe(self._complete(call), self._loop)
        try:
            return future.result()
        except CancelledError:
            raise Unanswered([GIVEN_UP]) from None
        finally:
            future.cancel()  # after Ctrl-C in this thread nobody waits any more

    def close(self) -> None:
        """Cancel what is in flight and end the thread."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _complete(self, call: Mapping[str, Any]) -> Answer:
        failures: list[str] = []
        _failures.set(failures)
        async with self._slots:
            while True:
                client = self._client.with_options(max_retries=self._attempts - 1 - len(failures))
                try:
                    response = await client.chat.completions.with_raw_response.create(**call)
                except openai.APIError as error:
                    outcome = self._server.outcome(error, failures)
                    if isinstance(outcome, Declined):
                        return Answer(None, outcome.reasons)
                    raise outcome from error
                reply = read_response(response.http_response.content)
                if isinstance(reply, Reply):
                    return Answer(reply, tuple(failures))
                failures.append(reply)
                if len(failures) >= self._attempts:
                    raise Unanswered(failures)
                await asyncio.sleep(min(FIRST_DELAY_S * 2 ** (len(failures) - 1), LONGEST_DELAY_S))

    async def _shut_down(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()


class _CountingClient(httpx.AsyncClient):
    """Notes the reason of every attempt that fails; the library above retries without telling.

    httpx limits the wait for each chunk of a response only, so the whole attempt has its own limit here.
    """

    def __init__(self, timeout_s: float) -> None:
        # How many calls are in flight is the semaphore's business.
        super().__init__(limits=httpx.Limits(max_connections=None), follow_redirects=True)
        self._timeout_s = timeout_s

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        failures = _failures.get()
        try:
            response = await asyncio.wait_for(super().send(request, **options), self._timeout_s)
        except asyncio.TimeoutError as error:
            failures.append(TIMED_OUT)
            raise httpx.ReadTimeout(f"no whole response in {self._timeout_s:g} s", request=request) from error
        except httpx.TimeoutException:
            failures.append(TIMED_OUT)
            raise
        except httpx.RequestError:
            failures.append(CONNECTION_FAILED)
            raise
        if response.is_error:
            failures.append(f"http {response.status_code}")
        return response
