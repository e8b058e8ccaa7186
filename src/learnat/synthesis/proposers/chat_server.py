"""A chat server: where it is, what its replies look like, and what its errors mean for the run.

Imports ``openai``, which is an optional dependency.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai

from learnat.errors import LearnatError
from learnat.synthesis.proposers.base import Unanswered
from learnat.synthesis.proposers.cache import Reply
from learnat.synthesis.proposers.chat import REFUSED

BODY_IS_NO_JSON = "response is no JSON"
NO_CHOICES = "response without a message"
PROMPT_TOO_LONG = "prompt too long"

GOES_ON = "What is done is kept: the same command goes on."

_TRY_LATER = frozenset({408, 409, 429})
_TOO_LONG = re.compile(r"context.{0,20}(length|window|size)|too (long|many tokens)|maximum.{0,20}tokens", re.IGNORECASE)
_FILTERED = re.compile(r"content.?(filter|policy|management)", re.IGNORECASE)


class Unreachable(LearnatError):
    """Nobody listens at the address: not yet, no more, or it is the wrong one."""


@dataclass(frozen=True)
class Declined:
    """The server will not answer this one call, however often it is asked; ``reasons`` has one for each attempt."""

    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Server:
    """A chat server and the model that is asked there.

    ``api_key_env`` names the environment variable that holds the key, None where the server asks for none. For
    messages: ``group`` is the config group that all this is set in, and ``leave_out`` has the override that keeps a
    call's parameter from being sent.
    """

    base_url: str
    model: str
    api_key_env: str | None
    group: str
    leave_out: Mapping[str, str] = field(default_factory=dict)

    def api_key(self) -> str:
        """The key. Raises ``LearnatError`` when the variable is not set, or holds what no key can be."""
        if self.api_key_env is None:
            return "none"
        # Read from a file, a key comes with the line's end.
        key = os.environ.get(self.api_key_env, "").strip()
        if key.isascii() and key.isprintable() and key:
            return key
        if key:
            raise LearnatError(
                f"The environment variable {self.api_key_env} holds characters that no key has: copy the key again."
            )
        raise LearnatError(
            f"The environment variable {self.api_key_env}, which should hold the key for {self.base_url}, is not set. "
            f"Set it, name another ({self.group}.api_key_env=NAME), or none for a server that needs no key "
            f"({self.group}.api_key_env=null)."
        )

    def outcome(self, error: openai.APIError, failures: Sequence[str]) -> Unanswered | LearnatError | Declined:
        """What ``error``, after the last attempt, means for the call: to raise, or that it is declined.

        ``failures`` are the reasons of all attempts, that of ``error`` the last.
        """
        if isinstance(error, openai.APIConnectionError):
            if isinstance(error.__cause__, (httpx.ConnectError, httpx.ConnectTimeout)):
                return Unreachable(
                    f"{self.base_url} cannot be reached ({one_line(str(error.__cause__))}). Start the server there, or "
                    f"give another address ({self.group}.base_url=URL). {GOES_ON}"
                )
            if isinstance(error.__cause__, (httpx.LocalProtocolError, httpx.UnsupportedProtocol)):
                return LearnatError(
                    f"No call can be sent to {self.base_url}: {one_line(str(error.__cause__))}. {GOES_ON}"
                )
            return Unanswered(failures)
        if not isinstance(error, openai.APIStatusError):
            return Unanswered(failures)
        status, text = error.status_code, f"{error.code} {error.message}"
        if status == 429 and error.code == "insufficient_quota":
            return LearnatError(f"{self.base_url}: the account's quota is used up. Top it up. {GOES_ON}")
        if status in _TRY_LATER or status >= 500:
            return Unanswered(failures)
        if status in (400, 413, 422) and (_TOO_LONG.search(text) or status == 413):
            return Declined((*failures[:-1], PROMPT_TOO_LONG))
        if status == 400 and _FILTERED.search(text):
            return Declined((*failures[:-1], REFUSED))
        return LearnatError(f"{self._refusal(error)} {GOES_ON}")

    def _refusal(self, error: openai.APIStatusError) -> str:
        status, message = error.status_code, one_line(error.message)
        if status in (401, 403):
            way_out = (
                f"Put a valid key into the environment variable {self.api_key_env}."
                if self.api_key_env
                else f"Name the environment variable that holds the key ({self.group}.api_key_env=NAME)."
            )
            return f"{self.base_url} refused the key (http {status}: {message}). {way_out}"
        if status == 404:
            return (
                f"{self.base_url} has no model {self.model!r}, or is no chat server (http 404: {message}). Give a name "
                f"that the server lists ({self.group}.model=NAME) and an address that mostly ends in /v1 "
                f"({self.group}.base_url=URL)."
            )
        refused = next((name for name in self.leave_out if _names(error, name)), None)
        way_out = (
            f"Not every server takes everything: conf/{self.group}/openai.yaml says which parts of a call can be "
            "changed or left out."
            if refused is None
            else f"Leave {refused} out: {self.leave_out[refused]}."
        )
        return f"{self.base_url} refused a call to {self.model!r} (http {status}: {message}). {way_out}"


def _names(error: openai.APIError, parameter: str) -> bool:
    """Whether it is ``parameter`` that a server refuses: many tell it in a field, the others in their message."""
    return error.param == parameter or re.search(rf"""['"`]{parameter}['"`]""", error.message) is not None


def one_line(text: str) -> str:
    """What a server says, short enough for a message."""
    text = " ".join(text.split())
    return text if len(text) <= 300 else text[:300] + "…"


def read_response(content: bytes) -> Reply | str:
    """The reply in the body of a successful response, or the reason why there is none."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return BODY_IS_NO_JSON
    choices = body.get("choices") if isinstance(body, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return NO_CHOICES
    text = message_text(message.get("content"))
    finish_reason = choice.get("finish_reason")
    if not text and message.get("refusal"):
        finish_reason = "content_filter"
    usage = body.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    prompt_details = counts.get("prompt_tokens_details")
    details = prompt_details if isinstance(prompt_details, dict) else {}
    return Reply(
        text=text,
        finish_reason=finish_reason if isinstance(finish_reason, str) else "stop",
        prompt_tokens=_count(counts.get("prompt_tokens")),
        completion_tokens=_count(counts.get("completion_tokens")),
        cached_tokens=_count(details.get("cached_tokens")),
    )


def message_text(content: Any) -> str:
    """The text of a message: a string, or the texts among a list of parts.

    The halves of a surrogate pair that came apart are joined, and one that is alone is replaced: UTF-8 has no such.
    """
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    if not isinstance(content, str):
        return ""
    joined = content.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return joined.encode("utf-8", "replace").decode("utf-8")


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
