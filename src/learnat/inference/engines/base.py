"""What every engine takes and gives: prompts, how they are decoded, and completions.

Strategies (one greedy answer, votes over samples, repair) are written against ``Engine`` and know nothing else of
models. Nothing here needs torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from learnat.errors import LearnatError
from learnat.synthesis.checks import check_count, check_number
from learnat.training.prompts import PromptStyle

_NO_SEED = 1
"""Stands for no seed: the default one, so that what was kept before seeds were left out of keys is found again."""

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True)
class Prompt:
    """A chat whose next words are the model's.

    Args:
        messages: a system message if there is one, then the user's and the assistant's in turn; the last is the user's.
        shared: how the first user's message begins, where other prompts begin alike: a database's schema. A local
            engine computes keys and values of everything up to its end once for all of them.
        begun: how the answer begins: the steps there are, to be gone on with. It is not part of the completion.
    """

    messages: tuple[Message, ...]
    shared: str = ""
    begun: str = ""

    @property
    def digest(self) -> str:
        """Identifies the prompt's text: what seeds of samples and keys of caches are made from.

        What of it other prompts share is no part of the text.
        """
        messages = [asdict(message) for message in self.messages]
        return hashlib.sha256(json.dumps([messages, self.begun], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Decoding:
    """How text is drawn and where it ends.

    Args:
        max_new_tokens: tokens of a text, at most.
        temperature: what logits are divided by before a token is drawn; 0: the likeliest token is taken.
        top_p: in (0, 1]; tokens are drawn from the likeliest ones that have this probability together.
        stop: a text ends with this string, which it keeps, if not at the model's end token before; None: only there.
        seed: of all draws.

    Raises ``LearnatError`` for a value that is not allowed.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    stop: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("inference.max_new_tokens", self.max_new_tokens)
        check_number("inference.temperature", self.temperature, least=0.0)
        check_number("inference.top_p", self.top_p, least=0.0)
        if not 0.0 < self.top_p <= 1.0:
            raise LearnatError(f"inference.top_p={self.top_p} must be above 0 and at most 1.")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise LearnatError(f"inference.seed={self.seed} must be a whole number.")

    def sample_seed(self, prompt: Prompt, sample: int) -> int | None:
        """The seed of the ``sample``-th text after ``prompt``; None where nothing is drawn.

        It depends on nothing else, so that a sample is the same whatever else is asked for beside it or before.
        """
        if not self.temperature:
            return None
        return int(hashlib.sha256(f"{self.seed} {sample} {prompt.digest}".encode()).hexdigest()[:15], 16)


@dataclass(frozen=True)
class Completion:
    """What a model wrote after a prompt.

    ``cached_tokens`` are those of ``prompt_tokens`` that were not computed for this completion, ``completion_tokens``
    count the end token. ``finished``: the text ended by itself, not at the token limit. ``failure`` says why there is
    no text, where a server or the context's length is the reason, and ``computed`` whether the model has read the
    prompt all the same: where not, it cost nothing.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    finished: bool
    cached_tokens: int = 0
    failure: str | None = None
    computed: bool = True


NO_ROOM = "prompt fills the context"


def without_room(prompt_tokens: int) -> Completion:
    """What there is after a prompt that the context has no token left for."""
    return Completion("", prompt_tokens, 0, finished=False, failure=NO_ROOM, computed=False)


@dataclass(frozen=True)
class Request:
    """Which completions of a prompt are wanted.

    ``samples`` are indices: (0, 1, 2) first and (3, 4) later are five different texts, and the same five as of
    (0, 1, 2, 3, 4) at once, as far as the engine can repeat its draws. At temperature 0 all are alike.
    """

    prompt: Prompt
    samples: Sequence[int] = (0,)


@dataclass(frozen=True)
class Written:
    """``completion`` is the ``sample``-th one of the request at ``position`` among those that were given."""

    position: int
    sample: int
    completion: Completion


class Engine(Protocol):
    """A model that is ready to write. Close it after use: ``with contextlib.closing(engine): …``."""

    name: str
    """What tables call it."""
    identity: str
    """Tells one model from another: answers kept on disk must not be taken for another one's."""
    style: PromptStyle
    """How prompts show a database."""

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Written]:
        """All that is requested, in the order it is done in.

        Raises ``LearnatError`` where the model cannot go on; what was yielded until then stands.
        """
        ...

    def draws(self, decoding: Decoding) -> bool:
        """Whether texts are drawn, so that those of another seed are others."""
        return decoding.temperature > 0

    def kept_by(self, decoding: Decoding) -> Decoding:
        """``decoding`` as keys of what is kept on disk hold it: of no seed where none makes a difference."""
        return decoding if self.draws(decoding) else replace(decoding, seed=_NO_SEED)

    def session(self) -> AbstractContextManager[object]:
        """Calls within it go on with one another's prompts: what was computed of these is kept until it ends.

        The model must not change meanwhile. A session within another one is a part of it.
        """
        return nullcontext()

    def close(self) -> None:
        """Let go of the model, or of the connection to it."""
        ...


@runtime_checkable
class StreamingEngine(Engine, Protocol):
    """An engine that lets a text be read while it is written."""

    def stream(self, prompt: Prompt, decoding: Decoding, on_text: Callable[[str], None]) -> Completion:
        """What ``generate`` gives for ``prompt`` alone; ``on_text`` is told the text so far, whenever it has grown.

        Characters at its end may still change: a token can be a part of one.
        """
        ...


class EngineSettings(Protocol):
    """A member of the config group ``engine``."""

    def open(self, checkpoint: str | Path | None, style: PromptStyle) -> Engine:
        """The engine over the folder ``checkpoint``, which knows its own style, or one without, with ``style``.

        Raises ``LearnatError`` where one of the two is not what the engine needs.
        """
        ...
