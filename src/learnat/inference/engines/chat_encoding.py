"""From chats to token ids, for engines that run a model themselves."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from learnat.inference.engines.base import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DATABASES = 256
"""How many shared beginnings are remembered."""


@dataclass(frozen=True)
class EncodedPrompt:
    """The ids of a prompt, the first ``shared`` of which other prompts have too; at least one id is its own."""

    ids: tuple[int, ...]
    shared: int


class ChatEncoder:
    """Encodes prompts by the tokenizer's chat template.

    A prompt is tokenised as a whole, so that where its shared part ends makes no difference to its ids.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._shared_ids = functools.lru_cache(DATABASES)(self._ids)

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        text = chat_text(self.tokenizer, [asdict(message) for message in prompt.messages]) + prompt.begun
        ids = self._ids(text)
        start = text.find(prompt.shared) if prompt.shared else -1
        # A template that changes what is shared leaves nothing to be shared: slower, but right.
        shared = self._shared_ids(text[: start + len(prompt.shared)]) if start >= 0 else ()
        return EncodedPrompt(ids, min(_common(ids, shared), len(ids) - 1))

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def _common(ids: tuple[int, ...], shared: tuple[int, ...]) -> int:
    """How many ids both begin with: where a token reaches over the shared part's end, not all of it."""
    if ids[: len(shared)] == shared:
        return len(shared)
    return next(i for i, (a, b) in enumerate(zip(ids, shared, strict=False)) if a != b)


def chat_text(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, str]]) -> str:
    """The messages by the tokenizer's chat template, up to where the answer begins.

    A template without a system role gets that message at the head of the user's.
    """
    from jinja2 import TemplateError

    try:
        return tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    except TemplateError:
        system, user, *others = messages
        merged = {"role": "user", "content": f"{system['content']}\n\n{user['content']}"}
        return tokenizer.apply_chat_template([merged, *others], tokenize=False, add_generation_prompt=True)
