"""A chat server that fails as it is told, to see that no failure goes unnoticed."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LONGEST_HANG_S = 20.0

Fault = str
"""``ok`` or one of the names below."""

ERRORS: dict[Fault, tuple[int, str, str]] = {
    "429": (429, "rate_limit_exceeded", "slow down"),
    "500": (500, "server_error", "out of order"),
    "400": (400, "invalid_request", "response_format is not supported"),
    "401": (401, "invalid_api_key", "wrong key"),
    "404": (404, "model_not_found", "no such model"),
    "quota": (429, "insufficient_quota", "you have used it all"),
    "too long": (400, "context_length_exceeded", "This model's maximum context length is 10 tokens."),
    # As OpenAI says it of its reasoning models.
    "no top_p": (400, "unsupported_parameter", "Unsupported parameter: 'top_p' is not supported with this model."),
    "no logprobs": (
        400,
        "unsupported_parameter",
        "Unsupported parameter: 'logprobs' is not supported with this model.",
    ),
    "filtered": (400, "content_filter", "The content policy forbids it."),
}
"""Faults that are an HTTP error: status, code, message."""

BODIES: dict[Fault, str] = {
    "broken JSON": '{"id": "1", "choices": [{"message": {"content": "',
    "wrong schema": '{"output": "SELECT 1"}',
    "no choices": '{"choices": []}',
    "no message": '{"choices": [{"finish_reason": "stop"}]}',
}
"""Faults that are a successful response without a reply in it."""

CONTENTS: dict[Fault, tuple[str, str]] = {
    "prose": ("I would first look at the singers.", "stop"),
    "cut off": ('{"steps": [{"sub_question": "Which?", "sql": "SELECT na', "length"),
    "half of it": ('{"steps": [{"sub_question": "Which?"}]}', "stop"),
}
"""Faults that are a reply without a step in it: content and finish reason."""


@dataclass
class FaultyServer:
    """Answers with the gold SQL that the prompt shows, unless ``plan`` has a fault for this request.

    ``plan(n, m)`` names the fault of the ``m``-th request (from 0) with the ``n``-th different prompt. ``requests``
    holds the times of all requests by prompt, ``bodies`` what was sent, ``keys`` the Authorization headers.
    """

    plan: Callable[[int, int], Fault]
    requests: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    base_url: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def count(self) -> int:
        return sum(map(len, self.requests.values()))

    def fault(self, body: dict[str, Any]) -> Fault:
        prompt = body["messages"][-1]["content"]
        with self._lock:
            self.bodies.append(body)
            self.requests[prompt].append(time.monotonic())
            return self.plan(list(self.requests).index(prompt), len(self.requests[prompt]) - 1)


@contextmanager
def serving(plan: Callable[[int, int], Fault]) -> Iterator[FaultyServer]:
    """A ``FaultyServer`` on a port of this machine; calls that hang end with it."""
    state = FaultyServer(plan)

    class Handler(_Handler):
        server_state = state

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    state.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield state
    finally:
        state.stopped.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server_state: FaultyServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server_state.keys.add(self.headers["Authorization"])
        fault = self.server_state.fault(body)
        if fault == "hang":
            self.server_state.stopped.wait(LONGEST_HANG_S)
            self.close_connection = True
        elif fault == "drip":
            self._drip()
        elif fault == "dropped":
            self._send(200, '{"choices": [{', missing=10)
            self.close_connection = True
        elif fault in ERRORS:
            status, code, message = ERRORS[fault]
            self._send(status, json.dumps({"error": {"message": message, "code": code, "type": code}}))
        elif fault in BODIES:
            self._send(200, BODIES[fault])
        else:
            self._send(200, self._completion(fault, body))

    def _completion(self, fault: Fault, body: dict[str, Any]) -> str:
        gold = re.search(r"may give away:\n(.*?)\n\n", body["messages"][-1]["content"], re.DOTALL)
        assert gold, "the prompt shows the gold SQL"
        answer = json.dumps({"steps": [{"sub_question": "All of it?", "sql": gold.group(1)}]})
        content, finish_reason = CONTENTS.get(fault, (answer, "stop"))
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish_reason}
        return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 10}})

    def _send(self, status: int, body: str, missing: int = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) + missing))
        if status == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body.encode())

    def _drip(self) -> None:
        """A byte now and then: no single wait is long."""
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.close_connection = True
        try:
            while not self.server_state.stopped.wait(0.05):
                self.wfile.write(b" ")
        except OSError:
            pass  # the client has given up

    def log_message(self, format: str, *args: object) -> None:
        pass
