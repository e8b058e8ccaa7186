"""Policies that write sense without any training: the next token follows counted texts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from learnat.synthesis.tree import Step
from learnat.training import models
from learnat.training.models import Policy
from learnat.training.prompts import PromptStyle, step_text
from learnat.training.tokenizer import ANSWER_TOKEN, END_TOKEN

STEPS = (
    Step("How many singers?", "SELECT count(*) FROM singer"),
    Step("Which names?", "SELECT name FROM singer WHERE country = 'France'"),
    Step("Which singers have performed?", "SELECT singer_id FROM performs"),
    Step("Which countries?", "SELECT country FROM singer WHERE age > 40"),
    Step("How old?", "SELECT nationality FROM singer"),
)
SIZE = 448


def settings(context_length: int = 1024) -> Any:
    architecture = {
        "vocab_size": SIZE, "hidden_size": SIZE, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": False,
    }  # fmt: skip
    return OmegaConf.create(
        {
            "name": "counted", "kind": "scratch", "path": None, "architecture": architecture, "dtype": "float32",
            "attention": "sdpa", "context_length": context_length, "lora": {"enabled": False},
        }
    )  # fmt: skip


def counted_policy(answers: Sequence[str], context_length: int = 1024) -> Policy:
    """A model whose next token follows the current one as often as it does in ``answers``.

    A new model from scratch leaves embeddings as they are; with one-hot embeddings its head is a table of logits.
    """
    policy = models.build(settings(context_length), PromptStyle("compact", 0), [*answers] * 4)
    ids = [policy.tokenizer(ANSWER_TOKEN + answer)["input_ids"] for answer in answers]
    size = len(policy.tokenizer)
    counts = torch.full((size, size), 1e-6)
    for sequence in ids:
        for current, following in pairwise(sequence):
            counts[current, following] += 1
    with torch.no_grad():
        policy.model.get_input_embeddings().weight.copy_(torch.eye(size, SIZE))
        head = policy.model.get_output_embeddings().weight.zero_()
        # Normalised, a one-hot vector of this size is its square root long.
        head[:, :size] = (counts / counts.sum(-1, keepdim=True)).log().T / SIZE**0.5
    return policy


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that proposes ``STEPS`` and mixtures of them, for any question."""
    texts = [step_text(step) for step in STEPS]
    pairs = [first + second for first in texts for second in texts]
    policy = counted_policy([text + END_TOKEN for text in pairs])
    folder = tmp_path_factory.mktemp("counted") / "sft"
    models.export(policy, settings(), folder, "sft")
    return folder
