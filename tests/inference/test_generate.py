"""Generation and what is kept of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from learnat.benchmarks.types import Database, Example
from learnat.inference.answers import Answer, answer_split
from learnat.inference.decoding import Row
from learnat.inference.engines.base import Completion, Decoding, Prompt, Written
from learnat.inference.generate import complete, prepare
from learnat.sql.schema import Column, Schema, Table
from learnat.training import models
from learnat.training.models import Policy
from learnat.training.prompts import PromptStyle

TEXTS = ["SELECT count(*) FROM singer WHERE age > 56;\n-- How many heads?\n", "SELECT name FROM song;\n"] * 4


@pytest.fixture(scope="module")
def policy() -> Policy:
    """An untrained model: it writes nonsense, deterministically."""
    torch.manual_seed(0)
    architecture = {
        "vocab_size": 400, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.3,
    }  # fmt: skip
    settings = {
        "name": "test",
        "kind": "scratch",
        "architecture": architecture,
        "dtype": "float32",
        "attention": "sdpa",
        "context_length": 64,
    }
    return models.build(OmegaConf.create(settings), PromptStyle("compact", 0), TEXTS)


def by_hand(policy: Policy, prompt: Sequence[int], limit: int) -> list[int]:
    ids = list(prompt)
    with torch.no_grad():
        while len(ids) < len(prompt) + limit:
            ids.append(int(policy.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == policy.tokenizer.eos_token_id:
                break
    return ids[len(prompt) :]


def rows_of(policy: Policy) -> list[Row]:
    texts = ("SELECT", "-- How many heads are", "song WHERE", "a")
    return [Row(tuple(policy.tokenizer(text)["input_ids"])) for text in texts]


def test_batched_generation_is_greedy_decoding_one_by_one(policy: Policy) -> None:
    prepare(policy, "cpu")
    for row, completion in zip(rows_of(policy), complete(policy, rows_of(policy), Decoding(20)), strict=True):
        tokens = by_hand(policy, row.prompt, 20)
        finished = tokens[-1] == policy.tokenizer.eos_token_id
        assert completion.finished == finished
        assert completion.completion_tokens == len(tokens)
        assert completion.text == policy.tokenizer.decode(tokens[:-1] if finished else tokens)


def test_long_prompts_are_decoded_alike(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(policy, "cpu")
    expected = complete(policy, rows_of(policy), Decoding(20))
    monkeypatch.setattr("learnat.inference.generate.LONG_PROMPT", 1)
    assert complete(policy, rows_of(policy), Decoding(20)) == expected


def test_a_prompt_that_fills_the_context_is_answered_by_nothing(policy: Policy) -> None:
    prepare(policy, "cpu")
    full, almost = complete(policy, [Row((5,) * 64), Row((5,) * 60)], Decoding(20))
    assert full == Completion("", 64, 0, False)
    assert almost.completion_tokens <= 4


class Music:
    """Three questions about one database."""

    name, ex_mode, difficulties, samples = "music", "spider_bag", (), 0

    def skipped(self, split: str) -> int:
        return 0

    def fingerprint(self, split: str) -> str:
        return "data"

    def examples(self, split: str) -> list[Example]:
        example = Example(0, "dev/0", split, "music", "How many heads?", "", "SELECT 1")
        return [replace(example, index=i, example_id=f"dev/{i}", question=f"Question {i}?") for i in (4, 5, 6)]

    def database(self, db_id: str) -> Database:
        return Database(db_id, None, Schema((Table("singer", (Column("name"),)),)))


class Scripted:
    """Stands for a model that always knows the answer; counts what it is asked."""

    name, style = "scripted", PromptStyle()

    def __init__(self, identity: str = "scripted") -> None:
        self.identity = identity
        self.asked = 0

    def generate(
        self, prompts: Sequence[Prompt], decoding: Decoding, samples: Sequence[int] = (0,)
    ) -> Iterator[Written]:
        for i in reversed(range(len(prompts))):
            self.asked += 1
            text = "-- First.\nSELECT name FROM singer;\n-- All.\nSELECT 1;\n"
            yield Written(i, 0, Completion(text, 10, 5, True))

    def close(self) -> None:
        pass


def asked(engine: Scripted, path: Path, done: list[int]) -> list[Answer]:
    return answer_split(engine, Music(), "dev", Decoding(), path, done.append)


def test_answers_are_kept_and_not_asked_again(tmp_path: Path) -> None:
    path, engine, done = tmp_path / "answers.jsonl", Scripted(), []
    answers = asked(engine, path, done)
    assert [answer.index for answer in answers] == [4, 5, 6] and engine.asked == sum(done) == 3
    assert [step.sql for step in answers[0].steps] == ["SELECT name FROM singer", "SELECT 1"]
    assert answers[0].sql == "SELECT 1"

    key, *lines = path.read_text().splitlines()
    assert sorted(json.loads(line)["index"] for line in lines) == [4, 5, 6]
    path.write_text("\n".join([key, *lines[:2]]) + "\n" + lines[2][:17])  # killed while the third was written
    again = asked(engine, path, done)
    assert again == answers and engine.asked == 4
    assert len(path.read_text().splitlines()) == 4


def test_another_models_answers_are_not_taken(tmp_path: Path) -> None:
    path, other = tmp_path / "answers.jsonl", Scripted("another")
    asked(Scripted(), path, [])
    asked(other, path, [])
    assert other.asked == 3


def test_what_a_model_ships_does_not_change_greedy_decoding(policy: Policy) -> None:
    prepare(policy, "cpu")
    expected = complete(policy, rows_of(policy), Decoding(20))
    policy.model.generation_config.repetition_penalty = 1.5
    try:
        assert complete(policy, rows_of(policy), Decoding(20)) == expected
    finally:
        policy.model.generation_config.repetition_penalty = 1.0
