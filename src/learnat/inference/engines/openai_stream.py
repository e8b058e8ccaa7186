"""One chat completion, read while the server writes it.

Imports ``openai``, which is an optional dependency.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import httpx
import openai

from learnat.synthesis.proposers.base import Unanswered
from learnat.synthesis.proposers.cache import Reply
from learnat.synthesis.proposers.chat_client import CONNECT_TIMEOUT_S, CONNECTION_FAILED
from learnat.synthesis.proposers.chat_server import (
    BODY_IS_NO_JSON,
    NO_CHOICES,
    Declined,
    Server,
    message_text,
    one_line,
)

RETRIES = 1
"""How often a call that cannot begin is sent again: somebody waits for it."""


def stream_reply(
    server: Server, call: Mapping[str, Any], timeout_s: float, on_text: Callable[[str], None]
) -> Reply | Declined:
    """The reply to ``call``; ``on_text`` is told its text so far, whenever it has grown.

    A reply that breaks off is not asked for again. ``timeout_s`` is for each wait.

    Raises:
        Unanswered: there is no whole reply, or none that is streamed.
        LearnatError: the server cannot be reached, or answers no call of this kind.
    """
    timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S))
    key = server.api_key()
    with openai.OpenAI(base_url=server.base_url, api_key=key, timeout=timeout, max_retries=RETRIES) as client:
        try:
            # A server counts tokens in a stream only if it is told to.
            chunks = client.chat.completions.create(**call, stream=True, stream_options={"include_usage": True})
            with chunks:
                return _read(chunks, on_text)
        except httpx.HTTPError as error:
            raise Unanswered([CONNECTION_FAILED]) from error
        except (ValueError, RecursionError) as error:  # of a line that is no JSON, or not even UTF-8
            raise Unanswered([BODY_IS_NO_JSON]) from error
        except openai.APIError as error:
            outcome = server.outcome(error, [one_line(error.message)])
            if isinstance(outcome, Declined):
                return outcome
            raise outcome from error


def _read(chunks: Iterable[Any], on_text: Callable[[str], None]) -> Reply:
    text, finish_reason, usage = "", None, None
    for chunk in chunks:
        # The library hands on what a server sends, be it a chunk or not.
        usage = getattr(chunk, "usage", None) or usage
        for choice in getattr(chunk, "choices", None) or ():
            delta = getattr(choice, "delta", None)
            if delta is None:
                continue
            finish_reason = getattr(choice, "finish_reason", None) or finish_reason
            content = getattr(delta, "content", None)
            if isinstance(content, str) and content:
                text += content
                on_text(message_text(text))
    if finish_reason is None:
        raise Unanswered([CONNECTION_FAILED if text else NO_CHOICES])
    details = getattr(usage, "prompt_tokens_details", None)
    return Reply(
        message_text(text),
        finish_reason,
        prompt_tokens=getattr(usage, "prompt_tokens", None) or 0,
        completion_tokens=getattr(usage, "completion_tokens", None) or 0,
        cached_tokens=getattr(details, "cached_tokens", None) or 0,
    )
