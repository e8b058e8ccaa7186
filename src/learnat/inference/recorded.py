"""Completions kept on disk as they come: what was drawn once is read, not drawn again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from learnat.errors import LearnatError
from learnat.inference.engines.base import Completion, Decoding, Engine, Prompt, Request, Written


class RecordedEngine(Engine):
    """``engine`` with a memory, a JSON-lines file: a stopped run goes on where it was, whatever its strategy.

    A completion is known by the model, the decoding (whose seed counts where texts are drawn), the prompt's text and
    the sample's index, so the file may hold those of several runs: more samples, or another strategy over the same
    ones, ask for what is missing only. What failed is not kept: a server with a longer context, say, may answer it the
    next time.

    Raises ``LearnatError`` for a file that holds something else.
    """

    def __init__(self, engine: Engine, path: Path) -> None:
        self.name = engine.name
        self.identity = engine.identity
        self.style = engine.style
        self._engine = engine
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._known = _read(path)
        self._session: ExitStack | None = None
        self._begun = False

    @contextmanager
    def session(self) -> Iterator[None]:
        """The engine's own begins with the first completion that is missing: it would make a model ready."""
        if self._session is not None:
            yield
            return
        with ExitStack() as session:
            self._session, self._begun = session, False
            try:
                yield
            finally:
                self._session = None

    def close(self) -> None:
        self._engine.close()

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Written]:
        """As ``Engine.generate``, the known completions first. What is requested several times is asked for once."""
        prompts: dict[str, Prompt] = {}
        places: dict[str, dict[int, list[int]]] = {}
        for place, request in enumerate(requests):
            key = self._key(request.prompt, decoding)
            prompts[key] = request.prompt
            for sample in request.samples:
                places.setdefault(key, {}).setdefault(sample, []).append(place)
        missing: dict[str, list[int]] = {}
        for key, by_sample in places.items():
            of_prompt = self._known.get(key, {})
            for sample, wanted in by_sample.items():
                if sample in of_prompt:
                    yield from (Written(place, sample, of_prompt[sample]) for place in wanted)
                else:
                    missing.setdefault(key, []).append(sample)
        if not missing:
            return
        if self._session is not None and not self._begun:
            self._session.enter_context(self._engine.session())
            self._begun = True
        keys = list(missing)
        for written in self._engine.generate([Request(prompts[key], missing[key]) for key in keys], decoding):
            key = keys[written.position]
            if written.completion.failure is None:
                self._keep(key, written)
            yield from (Written(place, written.sample, written.completion) for place in places[key][written.sample])

    def draws(self, decoding: Decoding) -> bool:
        return self._engine.draws(decoding)

    def _key(self, prompt: Prompt, decoding: Decoding) -> str:
        decoding = self.kept_by(decoding)
        return hashlib.sha256(f"{self.identity}\n{decoding}\n{prompt.digest}".encode()).hexdigest()[:32]

    def _keep(self, key: str, written: Written) -> None:
        self._known.setdefault(key, {})[written.sample] = written.completion
        row = {"key": key, "sample": written.sample, **asdict(written.completion)}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _read(path: Path) -> dict[str, dict[int, Completion]]:
    """What ``path`` holds. A last line torn by a kill is cut off, so that the next one starts a line of its own."""
    text = path.read_bytes() if path.is_file() else b""
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        os.truncate(path, len(whole))  # in place: to write the file again would begin with an empty one
    known: dict[str, dict[int, Completion]] = {}
    try:
        # Not splitlines(): a text may hold other line separators than the one between rows.
        for line in whole.decode().split("\n")[:-1]:
            row = json.loads(line)
            key, sample = row.pop("key"), row.pop("sample")
            known.setdefault(key, {})[sample] = Completion(**row)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LearnatError(
            f"{path} holds something else than what a model wrote to this version of LearNAT: move it away, or give "
            "another run_dir."
        ) from error
    return known
