"""The engine that asks a server: a real one that dies and comes back, and one that fails as it is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from learnat.benchmarks.generated import GeneratedBenchmark
from learnat.errors import LearnatError
from learnat.inference.candidates import Cost, cost_of
from learnat.inference.engines.base import Completion, Decoding, Message, Prompt, Request
from learnat.inference.engines.openai import OpenAIEngine, OpenAISettings
from learnat.inference.prompts import question_prompt
from learnat.synthesis.proposers.cache import Reply
from learnat.synthesis.proposers.chat_server import read_response
from learnat.synthesis.tree import Step
from learnat.training.prompts import PromptStyle, step_text
from tests.synthesis.chat_model import make_chat_model
from tests.synthesis.faulty_server import Fault, FaultyServer, serving
from tests.synthesis.model_server import ModelServer

ROOT = Path(__file__).parents[2]
QUESTIONS = 40
DEADLINE_S = 240


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ModelServer]:
    """Serves a model that answers every question of the generated benchmark with one of a few steps."""
    benchmark = GeneratedBenchmark(cache_dir=tmp_path / "cache", **SIZES)
    examples = benchmark.examples("dev_seen")
    schema = benchmark.database(examples[0].db_id)
    prompts = [question_prompt(PromptStyle(), schema, example) for example in examples]
    chats = [[{"role": m.role, "content": m.content} for m in prompt.messages] for prompt in prompts]
    tables = schema.schema.tables[:4]
    steps = [Step(f"All {table.name}s?", f"SELECT {table.columns[1].name} FROM {table.name}") for table in tables]
    make_chat_model(tmp_path / "model", chats, [step_text(step) for step in steps])
    server = ModelServer(tmp_path / "model", tmp_path)
    try:
        yield server
    finally:
        server.kill()


SIZES: dict[str, int] = {"num_databases": 1, "num_unseen_databases": 1, "train_questions": 40, "limit": QUESTIONS}


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert process.poll() is None, f"evaluate.py ended before {what}:\n{process.communicate()}"
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.mark.slow
def test_a_server_and_an_evaluation_that_are_killed_midway(server: ModelServer, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [
        sys.executable, "evaluate.py", "engine=openai", f"engine.model={server.name}",
        f"engine.base_url={server.base_url}", "engine.concurrency=2", "engine.attempts=2", "engine.cache=null",
        "inference.max_new_tokens=32", "workers=1", f"cache_dir={tmp_path / 'cache'}", f"run_dir={folder}",
        *(f"data.{key}={value}" for key, value in SIZES.items()),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def started() -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)  # type: ignore[call-overload,no-any-return]

    def answers() -> list[str]:
        path = folder / "answers.jsonl"
        return path.read_text().splitlines() if path.is_file() else []

    server.start()
    first = started()
    wait_for(lambda: len(answers()) >= 5, first, "five answers")
    server.kill()
    wait_for(lambda: "Waiting for it" in (folder / "evaluate.log").read_text(), first, "it waits for the server")
    kept = len(answers())
    server.start()
    wait_for(lambda: len(answers()) >= kept + 5, first, "it goes on")
    first.kill()
    first.wait()
    before = [line for line in answers() if line.endswith("}")]
    assert len(before) < QUESTIONS, "it was killed midway"

    second = started()
    said, _ = second.communicate(timeout=DEADLINE_S)
    assert second.returncode == 0, said
    after = answers()
    assert after[: len(before)] == before
    assert len({json.loads(line)["key"] for line in after}) == len(after) == QUESTIONS
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == QUESTIONS and sum(row["predicted"].startswith("SELECT") for row in rows) > QUESTIONS / 2
    tokens = json.loads((folder / "metrics.json").read_text())["provenance"]["tokens"]
    assert tokens.pop("calls") == QUESTIONS
    assert tokens == {key: sum(row[f"{key}_tokens"] for row in rows) for key in ("prompt", "cached", "completion")}
    assert tokens["prompt"] > 100 * QUESTIONS and tokens["completion"] > QUESTIONS


# --- faults ----------------------------------------------------------------------------------------------------------


def requests(count: int, samples: Sequence[int] = (0,)) -> list[Request]:
    """What the faulty server answers with the SQL that the prompt gives away."""
    texts = [f"May give away:\nSELECT {number}\n\nWhat is it?".replace("May", "may") for number in range(count)]
    return [Request(Prompt((Message("user", text),)), samples) for text in texts]


def answered(number: int) -> Completion:
    steps = {"steps": [{"sub_question": "All of it?", "sql": f"SELECT {number}"}]}
    return Completion(json.dumps(steps), 100, 10, True, cached_tokens=0)


@pytest.fixture
def engine_of() -> Iterator[Callable[..., tuple[OpenAIEngine, FaultyServer]]]:
    """Makes engines over servers whose n-th prompt meets the n-th of the given faults, always or once.

    Which prompt comes n-th is certain with ``concurrency=1`` alone.
    """
    running: list[Any] = []

    def make(*faults: Fault, once: bool = False, **settings: Any) -> tuple[OpenAIEngine, FaultyServer]:
        def plan(prompt: int, request: int) -> Fault:
            return faults[prompt] if prompt < len(faults) and not (once and request) else "ok"

        running.append(context := serving(plan))
        server = context.__enter__()
        options = {"concurrency": 4, "timeout_s": 3.0, "attempts": 2, **settings}
        return OpenAISettings(**{"model": "m", "base_url": server.base_url, **options}).open(
            None, PromptStyle()
        ), server

    yield make
    for context in running:
        context.__exit__(None, None, None)


def texts(engine: OpenAIEngine, count: int) -> dict[int, Completion]:
    with closing(engine):
        return {written.position: written.completion for written in engine.generate(requests(count), Decoding())}


def test_what_fails_once_is_asked_again(engine_of: Any) -> None:
    faults = ["429", "500", "hang", "dropped", "broken JSON", "wrong schema"]
    engine, server = engine_of(*faults, once=True)
    assert texts(engine, 8) == {number: answered(number) for number in range(8)}
    assert server.count == 8 + len(faults)


def test_what_the_server_declines_is_a_completion_without_text(engine_of: Any) -> None:
    engine, _ = engine_of("too long", "filtered", "cut off", concurrency=1)
    done = texts(engine, 4)
    assert [done[number].failure for number in range(4)] == ["prompt too long", "refused", None, None]
    assert not any(done[number].finished for number in range(3)) and done[3] == answered(3)
    # What it has read is paid for, whatever came of it.
    assert [cost_of(done[number]) for number in range(3)] == [Cost(), Cost(), Cost(1, 100, 10)]
    filtered = Completion("", 100, 0, False, failure="content_filter")
    assert cost_of(filtered) == Cost(1, 100, 0)


def test_what_gets_no_answer_is_left_open(engine_of: Any) -> None:
    engine, _ = engine_of("ok", "500", "wrong schema", concurrency=1)
    done: set[int] = set()
    with closing(engine), pytest.raises(LearnatError, match=r"2 of 4 calls got no answer \(.*http 500: 2.*asks again"):
        done.update(written.position for written in engine.generate(requests(4), Decoding()))
    assert done == {0, 3}


def test_what_can_never_be_answered_is_one_message(engine_of: Any) -> None:
    engine, _ = engine_of(*["404"] * 4)
    with pytest.raises(LearnatError, match=r"has no model 'm'.*\(engine\.model=NAME\)"):
        texts(engine, 4)


def test_nobody_at_the_address_is_waited_for_in_vain() -> None:
    settings = OpenAISettings("m", "http://127.0.0.1:9/v1", attempts=1, patience_s=0.5)
    with pytest.raises(LearnatError, match=r"cannot be reached .*engine\.base_url=URL"):
        texts(settings.open(None, PromptStyle()), 2)


def test_samples_are_calls_of_their_own_and_come_from_the_cache_again(engine_of: Any, tmp_path: Path) -> None:
    decoding = Decoding(64, temperature=0.7, top_p=0.9, stop=";\n", seed=3)
    for omitted, calls in (((), 6), (("seed", "top_p"), 6)):
        engine, server = engine_of(omit=omitted, cache=tmp_path / f"replies{len(omitted)}.sqlite", extra_body={"a": 1})
        with closing(engine):
            written = list(engine.generate(requests(2, range(3)), decoding))
            again = list(engine.generate(requests(2, range(3)), decoding))
        assert sorted((each.position, each.sample) for each in written) == [(i, n) for i in (0, 1) for n in range(3)]
        assert {*again} == {*written} and server.count == calls
        sent = server.bodies[0]
        assert (sent["temperature"], sent["max_tokens"], sent["stop"], sent["a"]) == (0.7, 64, ";\n", 1)
        assert ("seed" in sent, "top_p" in sent) == (not omitted, not omitted)
        assert len({body.get("seed") for body in server.bodies}) == (1 if omitted else 6)


def test_top_p_is_sent_also_where_it_cuts_nothing_off(engine_of: Any, tmp_path: Path) -> None:
    """A server takes what a call leaves out from the model's own defaults, which are another decoding."""
    cache = tmp_path / "replies.sqlite"
    prompt = requests(1)[0].prompt
    without, _ = engine_of(omit=("seed", "top_p"), cache=cache)
    texts(without, 1)
    engine, server = engine_of(cache=cache)
    texts(engine, 1)
    assert [body["top_p"] for body in server.bodies] == [1.0], "the reply to the call without it is another call's"
    assert "top_p" not in without._call(prompt, Decoding(), 0)


@pytest.mark.parametrize(
    ("fault", "way_out"),
    [("no top_p", r"Leave top_p out: engine\.omit=\[seed,top_p\]"), ("no logprobs", r"conf/engine/openai\.yaml says")],
)
def test_a_parameter_that_a_server_refuses_can_be_left_out(engine_of: Any, fault: str, way_out: str) -> None:
    engine, _ = engine_of(*[fault] * 4)
    with pytest.raises(LearnatError, match=rf"refused a call to 'm' \(http 400.*Unsupported parameter.*{way_out}"):
        texts(engine, 4)


def test_a_cache_that_is_none_names_the_engines_key(engine_of: Any, tmp_path: Path) -> None:
    (tmp_path / "replies.sqlite").write_text("no database")
    engine, _ = engine_of(cache=tmp_path / "replies.sqlite")
    with pytest.raises(LearnatError, match=r"another path \(engine\.cache=PATH\)"):
        texts(engine, 1)


def test_an_answer_that_is_begun_is_the_assistants_last_message(engine_of: Any) -> None:
    engine, server = engine_of("429")
    prompt = requests(1)[0].prompt
    with closing(engine):
        call = engine._call(Prompt(prompt.messages, begun="-- First?\n"), Decoding(), 0)
    assert call["messages"][-1] == {"role": "assistant", "content": "-- First?\n"} and len(call["messages"]) == 2
    assert server.count == 0


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 7}}, (9, 7, 2)),
        ({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": None}, (9, 0, 2)),
        (None, (0, 0, 0)),
    ],
)
def test_the_server_counts_the_tokens(usage: Any, counts: tuple[int, int, int]) -> None:
    body = {"choices": [{"message": {"content": "SELECT 1"}, "finish_reason": "stop"}], "usage": usage}
    reply = read_response(json.dumps(body).encode())
    assert isinstance(reply, Reply)
    assert (reply.prompt_tokens, reply.cached_tokens, reply.completion_tokens) == counts


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"base_url": "localhost:8000"}, "engine.base_url='localhost:8000' is no server's address"),
        ({"base_url": "http://me:hush@localhost/v1"}, "engine.base_url holds a user's name or password"),
        ({"api_key_env": "sk-hush"}, "engine.api_key_env is the name of an environment variable"),
        ({"concurrency": 0}, "engine.concurrency=0"),
        ({"attempts": 0}, "engine.attempts=0"),
        ({"omit": ["sed"]}, "engine.omit: 'sed' is unknown"),
        ({"omit": "seed"}, r"engine\.omit=seed must be a list of names, as in engine\.omit=\[seed\]"),
        ({"omit": None}, r"engine\.omit=null must be a list of names.*\[\] for none"),
        ({"omit": 5}, r"engine\.omit=5 must be a list"),
        ({"omit": [5]}, r"engine\.omit: 5 is unknown"),
        ({"extra_body": 5}, r"engine\.extra_body=5 must hold names and values, as in .*\{\} for none"),
        ({"extra_body": None}, r"engine\.extra_body=null must hold names"),
        ({"extra_body": ["a"]}, r"engine\.extra_body=\['a'\] must hold names"),
        ({"cache": ["a"]}, r"engine\.cache=\['a'\] must be a file, or null"),
        ({"cache": True}, r"engine\.cache=True must be a file, or null"),
        ({"cache": ""}, r"engine\.cache='' must be a file, or null"),
        ({"model": None}, r"engine\.model=null must be the name of the server's model"),
        (
            {"model": ["a", "b"]},
            r"engine\.model=\['a', 'b'\] must be the name of the server's model.*-m engine\.model=",
        ),
        ({"model": ""}, r"engine\.model='' must be the name"),
        ({"model": True}, r"engine\.model=True must be the name"),
    ],
)
def test_mistakes_in_the_settings(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(LearnatError, match=message):
        OpenAISettings(**{"model": "m", **wrong})


def test_names_of_digits_are_names(engine_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    engine, server = engine_of(cache=5, model=7)
    assert engine.name == "openai:7" and texts(engine, 1) == {0: answered(0)}
    assert server.bodies[0]["model"] == "7" and Path("5").is_file()


def test_another_seed_asks_again_only_what_is_drawn(engine_of: Any, tmp_path: Path) -> None:
    """A server that is sent no temperature has one of its own."""
    for number, (temperature, omit, calls) in enumerate(((0.0, (), 1), (0.5, (), 2), (0.0, ("temperature",), 2))):
        engine, server = engine_of(cache=tmp_path / f"{number}.sqlite", omit=omit)
        with closing(engine):
            for seed in (1, 2):
                list(engine.generate(requests(1), Decoding(temperature=temperature, seed=seed)))
        assert server.count == calls
    engine, _ = engine_of(extra_body={"temperature": 1.0})
    assert engine.draws(Decoding()) and not engine_of()[0].draws(Decoding())
