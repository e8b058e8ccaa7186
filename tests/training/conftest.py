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


def tiny_model(family: str = "qwen2", dtype: torch.dtype = torch.float64, tied: bool = False) -> PreTrainedModel:
    """Two layers with grouped-query attention and random weights."""
    register()
    config_class, model_class = FAMILIES[family]
    torch.manual_seed(0)
    config = config_class(
        vocab_size=VOCABULARY,
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


def with_lora(model: PreTrainedModel, dropout: float = 0.0) -> PeftModel:
    """``model`` under a LoRA adapter on all linear layers that is not zero, as after some training."""
    torch.manual_seed(1)
    dtype = model.dtype
    config = LoraConfig(r=4, lora_alpha=8, lora_dropout=dropout, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(model, config)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    return adapted.to(dtype)


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


def items(count: int = 10) -> list[Item]:
    """Questions of two databases, each database with a schema of its own."""
    rng = random.Random(0)
    made = []
    for database in range(2):
        root = random_trie(rng).nodes[0]
        for _ in range(count // 2):
            trie = random_trie(rng, questions=1)
            made.append(Item(str(database), type(trie)((root, *trie.nodes[1:]), trie.pairs)))
    return made


@pytest.fixture
def rng() -> random.Random:
    return random.Random(0)
