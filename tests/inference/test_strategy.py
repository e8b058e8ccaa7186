"""Strategies on a real database: what becomes the answer, and what it costs."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from learnat.errors import LearnatError
from learnat.inference.answers import Answer, answer_split, token_totals
from learnat.inference.candidates import CandidateRunner
from learnat.inference.engines.base import Prompt
from learnat.inference.repair import Repair
from learnat.inference.schema_filters import FullSchema
from learnat.inference.strategy import Strategy
from learnat.sql.execution import ExecutorPool
from tests.inference.music import Music, Scripted

RIGHT = "-- All.\nSELECT name FROM singer WHERE age > 40;\n"
SAME = "-- All.\nSELECT name FROM singer WHERE age >= 41;\n"
WRONG = "-- All.\nSELECT name FROM singer WHERE country = 'France';\n"
BROKEN = "-- All.\nSELECT nam FROM singer;\n"
EMPTY = "-- All.\nSELECT name FROM singer WHERE age > 90;\n"
PROSE = "I do not know."


def strategy(**options: Any) -> Strategy:
    defaults = {
        "schema": FullSchema(), "demonstrations": None, "max_new_tokens": 32, "temperature": 0.0, "top_p": 1.0,
        "seed": 1, "samples": 1, "early_stop": True, "repair": Repair(),
    }  # fmt: skip
    return Strategy(**{**defaults, **options})


@pytest.fixture(scope="module")
def pool() -> Iterator[ExecutorPool]:
    with ExecutorPool(1) as pool:
        yield pool


def script(*texts: str) -> Callable[[Prompt, int], str]:
    """First answers by sample; whatever was answered before is answered by the text after it."""

    def answer(prompt: Prompt, sample: int) -> str:
        said = [message.content for message in prompt.messages if message.role == "assistant"]
        return texts[(sample if not said else texts.index(said[0]) + len(said)) % len(texts)]

    return answer


def answers(folder: Path, pool: ExecutorPool, engine: Scripted, how: Strategy, questions: int = 3) -> list[Answer]:
    done: list[int] = []
    music = Music(folder, questions)
    runner = CandidateRunner(pool, music.ex_mode, timeout_s=5)
    found = answer_split(engine, music, "dev", how, runner, folder / "answers.jsonl", done.append)
    assert [answer.index for answer in found] == [example.index for example in music.examples("dev")]
    assert sum(done) == questions
    return found


def test_one_answer_is_taken_as_it_is_and_nothing_is_executed(tmp_path: Path, pool: ExecutorPool) -> None:
    engine = Scripted(script("-- First.\nSELECT 1;\n" + BROKEN))
    (answer, *_) = answers(tmp_path, pool, engine, strategy())
    assert answer.sql == "SELECT nam FROM singer" and [step.sql for step in answer.steps] == ["SELECT 1", answer.sql]
    assert (answer.calls, answer.samples, answer.votes) == (1, 1, None)
    without_file = Music(tmp_path, file=False)
    runner = CandidateRunner(pool, "spider_bag", timeout_s=5)
    answer_split(engine, without_file, "dev", strategy(), runner, tmp_path / "b.jsonl", lambda count: None)
    repairing = strategy(repair=Repair(1))
    with pytest.raises(LearnatError, match="'music' has no database file"):
        answer_split(engine, without_file, "dev", repairing, runner, tmp_path / "b.jsonl", lambda count: None)


def test_results_vote_not_texts_and_the_rest_is_not_drawn(tmp_path: Path, pool: ExecutorPool) -> None:
    engine = Scripted(script(WRONG, RIGHT, BROKEN, SAME, RIGHT, WRONG, WRONG))
    all_of_them = strategy(samples=5, temperature=1.0, early_stop=False)
    for answer in answers(tmp_path, pool, engine, all_of_them):
        assert answer.sql == "SELECT name FROM singer WHERE age > 40"
        assert (answer.samples, answer.votes, answer.calls, answer.prompt_tokens) == (5, 3, 5, 50)
    assert token_totals(answers(tmp_path, pool, engine, all_of_them))["calls"] == 15
    assert len(engine.asked) == 15
    stopping = strategy(samples=7, temperature=1.0)
    assert {answer.samples for answer in answers(tmp_path, pool, engine, stopping)} == {7}
    unanimous = Scripted(script(RIGHT, SAME), "another")
    assert {answer.samples for answer in answers(tmp_path, pool, unanimous, stopping)} == {4}
    assert len(unanimous.asked) == 12


def test_what_fails_is_shown_its_error_and_asked_again(tmp_path: Path, pool: ExecutorPool) -> None:
    engine = Scripted(script(BROKEN, PROSE, RIGHT))
    (answer,) = answers(tmp_path, pool, engine, strategy(repair=Repair(rounds=3)), 1)
    assert answer.sql.endswith("age > 40") and (answer.calls, answer.samples, answer.prompt_tokens) == (3, 1, 30)
    said = [prompt.messages[-1].content for prompt, _ in engine.asked[1:]]
    assert "SELECT nam FROM singer;\nIt says: no such column: nam" in said[0]
    assert "no SQL statement" in said[1] and len(engine.asked[2][0].messages) == 6


@pytest.mark.parametrize(
    ("texts", "repair", "kept", "calls"),
    [
        ((BROKEN, EMPTY, BROKEN), Repair(2), "age > 90", 3),
        ((EMPTY, BROKEN, RIGHT), Repair(2), "age > 40", 3),
        ((EMPTY, RIGHT), Repair(1, empty=False), "age > 90", 1),
        ((BROKEN, PROSE), Repair(1), "SELECT nam FROM singer", 2),
        ((RIGHT, WRONG), Repair(3), "age > 40", 1),
    ],
)
def test_the_best_answer_of_a_chat_is_kept(
    tmp_path: Path, pool: ExecutorPool, texts: tuple[str, ...], repair: Repair, kept: str, calls: int
) -> None:
    (answer,) = answers(tmp_path, pool, Scripted(script(*texts)), strategy(repair=repair), 1)
    assert answer.sql.endswith(kept) and answer.calls == calls


def test_repaired_samples_vote(tmp_path: Path, pool: ExecutorPool) -> None:
    engine = Scripted(script(BROKEN, RIGHT, WRONG))
    voting = strategy(samples=3, temperature=1.0, early_stop=False)
    assert answers(tmp_path, pool, engine, voting, 1)[0].votes == 1
    repaired = strategy(samples=3, temperature=1.0, early_stop=False, repair=Repair(1))
    (answer,) = answers(tmp_path, pool, engine, repaired, 1)
    assert (answer.votes, answer.samples, answer.calls) == (2, 3, 4)


@pytest.mark.parametrize("seed", range(6))
def test_neither_early_stop_nor_other_questions_change_a_repaired_vote(
    tmp_path: Path, pool: ExecutorPool, seed: int
) -> None:
    """Samples that go wrong alike are repaired in different ways, each in its own whatever else is drawn."""

    def answer(prompt: Prompt, sample: int) -> str:
        return random.Random(f"{seed} {sample} {prompt.digest}").choice([BROKEN, BROKEN, PROSE, RIGHT, WRONG, EMPTY])

    found = {}
    for early_stop, questions in itertools.product((True, False), (1, 8)):
        how = strategy(samples=9, temperature=1.0, early_stop=early_stop, repair=Repair(2))
        folder = tmp_path / f"{early_stop}{questions}"
        folder.mkdir()
        engine = Scripted(answer)
        found[early_stop, questions] = answers(folder, pool, engine, how, questions)
        repairs = [asked for asked in engine.asked if len(asked[0].messages) > 2]
        assert len(repairs) == sum(each.calls - each.samples for each in found[early_stop, questions]) > questions
        assert engine.sessions == 1
    assert [each.sql for each in found[True, 8]] == [each.sql for each in found[False, 8]]
    assert found[True, 1][0] == found[True, 8][0] and found[False, 1][0] == found[False, 8][0]
    assert sum(each.calls for each in found[True, 8]) < sum(each.calls for each in found[False, 8])


def test_a_failed_sample_wins_only_where_all_failed(tmp_path: Path, pool: ExecutorPool) -> None:
    voting = strategy(samples=5, temperature=1.0)
    engine = Scripted(script(BROKEN, PROSE, BROKEN, BROKEN, EMPTY))
    assert answers(tmp_path, pool, engine, voting, 1)[0].sql.endswith("age > 90")
    (answer,) = answers(tmp_path, pool, Scripted(script(BROKEN, PROSE), "b"), voting, 1)
    assert (answer.sql, answer.votes, answer.samples) == ("SELECT nam FROM singer", 0, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, r"inference\.samples=0"),
        ({"samples": 2}, r"inference\.samples=2 at inference\.temperature=0 draws the same"),
        ({"early_stop": "maybe"}, r"inference\.early_stop=maybe must be true or false"),
        ({"seed": "abc"}, r"inference\.seed=abc must be a whole number"),
        ({"temperature": -1.0}, r"inference\.temperature=-1"),
    ],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LearnatError, match=message):
        strategy(**options)


def test_mistakes_of_repair() -> None:
    with pytest.raises(LearnatError, match=r"inference\.repair\.empty=perhaps must be true or false"):
        Repair(1, "perhaps")  # type: ignore[arg-type]
    with pytest.raises(LearnatError, match=r"inference\.repair\.rounds=-1"):
        Repair(rounds=-1)
