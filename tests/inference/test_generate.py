"""Generation with a policy in memory."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from omegaconf import OmegaConf

from learnat.inference.decoding import Row
from learnat.inference.engines.base import Decoding, without_room
from learnat.inference.generate import complete, prepare
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
    assert full == without_room(64)
    assert almost.completion_tokens <= 4


def test_what_a_model_ships_does_not_change_greedy_decoding(policy: Policy) -> None:
    prepare(policy, "cpu")
    expected = complete(policy, rows_of(policy), Decoding(20))
    policy.model.generation_config.repetition_penalty = 1.5
    try:
        assert complete(policy, rows_of(policy), Decoding(20)) == expected
    finally:
        policy.model.generation_config.repetition_penalty = 1.0
