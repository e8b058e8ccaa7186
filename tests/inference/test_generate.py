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
from learnat.inference.answers import answer_split
from learnat.inference.generate import Completion, GreedyGeneration
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


def test_batched_generation_is_greedy_decoding_one_by_one(policy: Policy) -> None:
    prompts = [policy.tokenizer(text)["input_ids"] for text in ("SELECT", "-- How many heads are", "song WHERE", "a")]
    generation = GreedyGeneration(batch_size=3, max_new_tokens=20, device="cpu")
    completions = dict(generation.generate(policy, prompts))
    assert sorted(completions) == [0, 1, 2, 3]
    for i, prompt in enumerate(prompts):
        tokens = by_hand(policy, prompt, 20)
        finished = tokens[-1] == policy.tokenizer.eos_token_id
        assert completions[i].finished == finished
        assert completions[i].completion_tokens == len(tokens)
        assert completions[i].text == policy.tokenizer.decode(tokens[:-1] if finished else tokens)


def test_long_prompts_are_decoded_alike(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [policy.tokenizer(text)["input_ids"] for text in ("SELECT", "-- How many heads are", "song WHERE", "a")]
    generation = GreedyGeneration(batch_size=2, max_new_tokens=20, device="cpu")
    expected = list(generation.generate(policy, prompts))
    monkeypatch.setattr("learnat.inference.generate.LONG_PROMPT", 1)
    assert list(generation.generate(policy, prompts)) == expected


def test_a_prompt_that_fills_the_context_is_answered_by_nothing(policy: Policy) -> None:
    prompts = [[5] * 64, [5] * 60]
    completions = dict(GreedyGeneration(max_new_tokens=20, device="cpu").generate(policy, prompts))
    assert completions[0] == Completion("", 64, 0, False)
    assert completions[1].completion_tokens <= 4


class Music:
    """Three questions about one database."""

    name, ex_mode, difficulties = "music", "spider_bag", ()

    def fingerprint(self, split: str) -> str:
        return "data"

    def examples(self, split: str) -> list[Example]:
        example = Example(0, "dev/0", split, "music", "How many heads?", "", "SELECT 1")
        return [replace(example, index=i, example_id=f"dev/{i}", question=f"Question {i}?") for i in (4, 5, 6)]

    def database(self, db_id: str) -> Database:
        return Database(db_id, None, Schema((Table("singer", (Column("name"),)),)))


class Scripted:
    """Stands for a model that always knows the answer; counts what it is asked."""

    def __repr__(self) -> str:
        return "scripted"

    def __init__(self) -> None:
        self.asked = 0

    def generate(self, policy: Policy, prompts: Sequence[Sequence[int]]) -> Iterator[tuple[int, Completion]]:
        for i in reversed(range(len(prompts))):
            self.asked += 1
            yield i, Completion("-- First.\nSELECT name FROM singer;\n-- All.\nSELECT 1;\n", 10, 5, True)


def test_answers_are_kept_and_not_asked_again(policy: Policy, tmp_path: Path) -> None:
    path, generation, done = tmp_path / "answers.jsonl", Scripted(), []
    answers = answer_split(policy, Music(), "dev", generation, path, done.append)  # type: ignore[arg-type]
    assert [answer.index for answer in answers] == [4, 5, 6] and generation.asked == sum(done) == 3
    assert [step.sql for step in answers[0].steps] == ["SELECT name FROM singer", "SELECT 1"] and answers[
        0
    ].sql == "SELECT 1"

    key, *lines = path.read_text().splitlines()
    assert sorted(json.loads(line)["index"] for line in lines) == [4, 5, 6]
    path.write_text("\n".join([key, *lines[:2]]) + "\n" + lines[2][:17])  # killed while the third was written
    again = answer_split(policy, Music(), "dev", generation, path, done.append)  # type: ignore[arg-type]
    assert again == answers and generation.asked == 4
    assert len(path.read_text().splitlines()) == 4


def test_another_policys_answers_are_not_taken(policy: Policy, tmp_path: Path) -> None:
    path, generation = tmp_path / "answers.jsonl", Scripted()
    answer_split(policy, Music(), "dev", generation, path, lambda count: None)  # type: ignore[arg-type]
    other = replace(policy, source="another")
    answer_split(other, Music(), "dev", generation, path, lambda count: None)  # type: ignore[arg-type]
    assert generation.asked == 6


def test_what_a_model_ships_does_not_change_greedy_decoding(policy: Policy) -> None:
    prompts = [policy.tokenizer("SELECT")["input_ids"]]
    generation = GreedyGeneration(max_new_tokens=20, device="cpu")
    expected = list(generation.generate(policy, prompts))
    policy.model.generation_config.repetition_penalty = 1.5
    try:
        assert list(generation.generate(policy, prompts)) == expected
    finally:
        policy.model.generation_config.repetition_penalty = 1.0
