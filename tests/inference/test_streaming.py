"""Steps of an answer are found while it is written, and are those of the whole."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnat.errors import LearnatError
from learnat.inference.engines.base import Completion, Decoding, Message, Prompt, Request, StreamingEngine, Written
from learnat.inference.engines.openai import OpenAIEngine, OpenAISettings
from learnat.inference.engines.transformers import TransformersSettings
from learnat.inference.parse import parse_answer
from learnat.inference.streaming import StepReader, stream_answer
from learnat.synthesis.tree import Step
from learnat.training.prompts import PromptStyle, step_text
from learnat.training.tokenizer import END_TOKEN
from tests.inference.conftest import STEPS, counted_policy
from tests.synthesis.chat_model import make_chat_model
from tests.synthesis.faulty_server import serving
from tests.synthesis.model_server import ModelServer

PROMPT = Prompt((Message("system", "Answer."), Message("user", "How many?")))

WORDS = st.sampled_from(["a", "b1", "'x; -- y'", '"c;d"', "'it''s'", "(1)", ",", "=", "UNION SELECT", "é"])
SQL = st.lists(WORDS, min_size=1, max_size=6).map(lambda words: " ".join(["SELECT", *words]))
STEP = st.builds(Step, st.sampled_from(["Which?", "How many; and when?", "It's -- what?"]), SQL)


def told(text: str, cuts: Sequence[int]) -> list[list[Step]]:
    reader = StepReader()
    return [reader.read(text[:cut]) for cut in [*sorted(cuts), len(text)]]


@given(st.lists(STEP, max_size=4), st.data())
def test_the_steps_of_a_well_formed_answer_are_told_once_and_as_they_are(steps: list[Step], data: Any) -> None:
    text = "".join(map(step_text, steps))
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=12))
    assert list(chain(*told(text, cuts))) == list(parse_answer(text).steps)


@given(st.lists(STEP, min_size=1, max_size=4))
def test_a_step_is_told_with_its_last_character(steps: list[Step]) -> None:
    reader = StepReader()
    text = ""
    for count, step in enumerate(steps):
        text += step_text(step)
        reader.read(text[:-1])
        assert len(reader.steps) == count
        assert len(reader.read(text)) == 1


def test_a_step_without_semicolon_is_told_when_the_next_one_begins() -> None:
    first, second = "-- A?\nSELECT a\n", "-- B?\nSELECT b\n"
    lengths = range(len(first + second) + 1)
    steps = told(first + second, lengths)
    assert steps[len(first + second)] == [Step("A?", "SELECT a")]
    assert sum(map(len, steps)) == 1


# --- engines ---------------------------------------------------------------------------------------------------------


class Typewriter(StreamingEngine):
    """An engine that writes ``text``, letter by letter."""

    name = identity = "typewriter"
    style = PromptStyle()

    def __init__(self, text: str) -> None:
        self.text = text

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Written]:
        yield Written(0, 0, Completion(self.text, 1, 1, True))

    def stream(self, prompt: Prompt, decoding: Decoding, on_text: Callable[[str], None]) -> Completion:
        for end in range(1, len(self.text) + 1):
            on_text(self.text[:end])
        return Completion(self.text, 1, 1, True)

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("text", "revised"),
    [
        ("-- A?\nSELECT 1;\n-- B?\nSELECT 2;\n", False),
        ("-- A?\nSELECT 1;\n-- B?\nSELECT 2", False),
        ("-- A?\nSELECT 1;\nNo, wait.\n</think>\n-- B?\nSELECT 2;\n", True),
        ("I do not know.", False),
    ],
)
def test_the_whole_answer_decides(text: str, revised: bool) -> None:
    steps: list[Step] = []
    streamed = stream_answer(Typewriter(text), PROMPT, Decoding(), steps.append)
    assert streamed.answer == parse_answer(text)
    assert streamed.revised == revised
    assert (steps == list(streamed.answer.steps)) == (not revised)


@pytest.mark.parametrize("shared_prefix", [True, False])
def test_a_policy_tells_its_text_token_by_token(shared_prefix: bool) -> None:
    text = "".join(map(step_text, STEPS[:1]))
    engine = TransformersSettings(device="cpu", shared_prefix=shared_prefix).over(counted_policy([text + END_TOKEN]))
    [written] = engine.generate([Request(PROMPT)], Decoding(40))
    texts: list[str] = []
    with closing(engine):
        assert isinstance(engine, StreamingEngine)
        assert engine.stream(PROMPT, Decoding(40), texts.append) == written.completion
    assert written.completion.text == text == texts[-1]
    assert len(texts) == written.completion.completion_tokens > 5
    assert all(text.startswith(part) for part in texts)


def openai_engine(base_url: str, **settings: Any) -> OpenAIEngine:
    return OpenAISettings("m", base_url, timeout_s=1.0, **settings).open(None, PromptStyle())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("401", r"refused the key .*engine\.api_key_env=NAME"),
        ("404", r"has no model 'm'"),
        ("500", r"gave no answer \(Error code: 500 .*out of order"),
        ("hang", r"gave no answer \(Request timed out"),
        ("dropped", r"gave no answer"),
        ("ok", r"gave no answer \(response without a message\)"),  # it does not stream
    ],
)
def test_a_server_that_fails_is_one_message(fault: str, message: str) -> None:
    pytest.importorskip("openai")
    prompt = Prompt((Message("user", "may give away:\nSELECT 1\n\n"),))
    with (
        serving(lambda number, request: fault) as server,
        closing(openai_engine(server.base_url)) as engine,
        pytest.raises(LearnatError, match=message),
    ):
        engine.stream(prompt, Decoding(), lambda text: None)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"choices": [{"delta"', "response is no JSON"),
        (b'{"choices": [{"delta": {"content": "\xff"}}]}', "response is no JSON"),
        (b"[1, 2]", "response without a message"),
        (b'{"choices": [{"text": "SELECT 1", "finish_reason": "stop"}]}', "response without a message"),
        (b'{"choices": [{"delta": {"content": "SELECT"}}]}', "connection failed"),
        (b'{"error": {"message": "the cards are gone"}}', "the cards are gone"),
    ],
)
def test_what_is_no_whole_stream_is_one_message_and_never_kept(line: bytes, reason: str, tmp_path: Path) -> None:
    pytest.importorskip("openai")
    cache = tmp_path / "replies.sqlite"
    with (
        streamed(line) as base_url,
        closing(openai_engine(base_url, cache=cache)) as engine,
        pytest.raises(LearnatError, match=rf"gave no answer \({reason}\)"),
    ):
        engine.stream(PROMPT, Decoding(), lambda text: None)
    whole = b'{"choices": [{"delta": {"content": "SELECT 1"}, "finish_reason": "stop"}]}'
    with streamed(whole) as base_url, closing(openai_engine(base_url, cache=cache)) as engine:
        assert engine.stream(PROMPT, Decoding(), lambda text: None).text == "SELECT 1"


def test_half_a_surrogate_pair_is_replaced_and_two_halves_are_joined(tmp_path: Path) -> None:
    pytest.importorskip("openai")
    parts = [rb"SELECT '\ud83d", rb"\ude00', '\ud83d", rb"'"]
    lines = [b'{"choices": [{"delta": {"content": "' + part + b'"}}]}' for part in parts]
    end = b'{"choices": [{"delta": {}, "finish_reason": "stop"}]}'
    told: list[str] = []
    with (
        streamed(*lines, end) as base_url,
        closing(openai_engine(base_url, cache=tmp_path / "replies.sqlite")) as engine,
    ):
        completion = engine.stream(PROMPT, Decoding(), told.append)
        assert engine.stream(PROMPT, Decoding(), told.append) == completion, "it is kept"
    assert completion.text == "SELECT '\N{GRINNING FACE}', '?'" == told[-1]
    assert all(text.isprintable() for text in told)


@contextmanager
def streamed(*lines: bytes) -> Iterator[str]:
    """The address of a server that streams ``lines`` and nothing else to every call."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b"".join(b"data: " + line + b"\n\n" for line in (*lines, b"[DONE]")))

        def log_message(self, *arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def test_nobody_at_the_address_is_not_waited_for() -> None:
    pytest.importorskip("openai")
    message = r"cannot be reached .*engine\.base_url=URL"
    with closing(openai_engine("http://127.0.0.1:9/v1")) as engine, pytest.raises(LearnatError, match=message):
        engine.stream(PROMPT, Decoding(), lambda text: None)


@pytest.mark.slow
def test_a_real_server_is_read_while_it_writes(tmp_path: Path) -> None:
    text = "".join(map(step_text, STEPS[:2]))
    chat = [{"role": message.role, "content": message.content} for message in PROMPT.messages]
    make_chat_model(tmp_path / "model", [chat], [text])
    server = ModelServer(tmp_path / "model", tmp_path)
    try:
        server.start()
        settings = {"base_url": server.base_url, "cache": tmp_path / "replies.sqlite"}
        with closing(OpenAISettings(server.name, **settings).open(None, PromptStyle())) as engine:
            seen: list[str] = []
            steps: list[Step] = []
            assert isinstance(engine, StreamingEngine)
            completion = engine.stream(PROMPT, Decoding(64), seen.append)
            again = stream_answer(engine, PROMPT, Decoding(64), steps.append)
    finally:
        server.kill()
    # This server leaves out white space at the end.
    assert completion.text == text.rstrip() and completion.finished
    assert completion.prompt_tokens > 10 and completion.completion_tokens > 10
    assert len(seen) > 10 and all(text.startswith(part) for part in seen)
    assert again.completion == completion and tuple(steps) == STEPS[:2]
    assert server.requests() == 1, "the second time the reply was known"
