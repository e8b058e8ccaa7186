"""Small models and made-up tries for the training tests."""

from __future__ import annotations

import random

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import (
    Glm4Config,
    Glm4ForCausalLM,
    GlmConfig,
    GlmForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from learnat.training.attention import ATTENTION_NAME, register
from learnat.training.packing import Item
from learnat.training.tries import TokenTrie, TrieNode, TriePair

VOCABULARY = 64
FAMILIES = {
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "llama": (LlamaConfig, LlamaForCausalLM),
    # The GLM families turn half of each head's channels only, and fuse gate and up projection.
    "glm": (GlmConfig, GlmForCausalLM),
    "glm4": (Glm4Config, Glm4ForCausalLM),
}


def tiny_model(
    family: str = "qwen2", dtype: torch.dtype = torch.float64, tied: bool = False, vocabulary: int = VOCABULARY
) -> PreTrainedModel:
    """Two layers with grouped-query attention and random weights."""
    register()
    config_class, model_class = FAMILIES[family]
    torch.manual_seed(0)
    config = config_class(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        initializer_range=0.3,
        tie_word_embeddings=tied,
        pad_token_id=0,
        eos_token_id=1,
        attn_implementation=ATTENTION_NAME,
    )
    return model_class(config).to(dtype)


def lora_config(dropout: float = 0.0) -> LoraConfig:
    """An adapter on all linear layers."""
    return LoraConfig(r=4, lora_alpha=8, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM")


def move_adapter(adapted: PeftModel) -> None:
    """Make the adapter differ from zero, as after some training, in the base model's precision."""
    torch.manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.to(adapted.dtype)
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)


def with_lora(model: PreTrainedModel, dropout: float = 0.0) -> PeftModel:
    """``model`` under a LoRA adapter that is not zero."""
    torch.manual_seed(1)
    adapted = get_peft_model(model, lora_config(dropout))
    move_adapter(adapted)
    return adapted


def use_float64_norms(model: nn.Module) -> None:
    """Replace the RMS norms of a float64 model, which work in float32 whatever their input is, by PyTorch's own."""
    for parent in list(model.modules()):
        for name, norm in list(parent.named_children()):
            if type(norm).__name__.endswith("RMSNorm") and not isinstance(norm, nn.RMSNorm):
                exact = nn.RMSNorm(norm.weight.shape, norm.variance_epsilon, dtype=torch.float64)
                exact.weight = norm.weight
                setattr(parent, name, exact)


def random_trie(rng: random.Random, questions: int = 2, depth: int = 3, siblings: int = 2) -> TokenTrie:
    """A schema, questions, and under each a tree of steps whose first child goes deeper; pairs of first and others."""

    def ids() -> tuple[int, ...]:
        return tuple(rng.randrange(VOCABULARY) for _ in range(rng.randint(1, 6)))

    nodes, pairs = [TrieNode(-1, ids())], []
    for _ in range(questions):
        nodes.append(TrieNode(0, ids()))
        parent = len(nodes) - 1
        for _ in range(rng.randint(1, depth)):
            rejected = []
            for _ in range(rng.randint(0, siblings)):
                rejected.append(len(nodes))
                nodes.append(TrieNode(parent, ids(), supervised=True))
            chosen = len(nodes)
            nodes.append(TrieNode(parent, ids(), supervised=True, weight=float(rng.randint(1, 2))))
            pairs += [TriePair(chosen, other, rng.random()) for other in rejected]
            parent = chosen
    return TokenTrie(tuple(nodes), tuple(pairs), questions)


def items(databases: int = 2, questions: int = 10) -> list[Item]:
    """``questions`` questions in all, each database with a schema of its own."""
    rng = random.Random(0)
    made = []
    for database in range(databases):
        root = random_trie(rng).nodes[0]
        for _ in range(questions // databases):
            trie = random_trie(rng, questions=1)
            made.append(Item(str(database), type(trie)((root, *trie.nodes[1:]), trie.pairs)))
    return made


@pytest.fixture
def rng() -> random.Random:
    return random.Random(0)
