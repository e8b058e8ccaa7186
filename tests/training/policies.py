"""Small policies as train.py makes them: settings, a folder that stands for the hub, and log-probs by plain means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from learnat.training import models
from learnat.training.models import Policy
from learnat.training.preparation import finish_training, prepare_for_training
from learnat.training.prompts import PromptStyle
from learnat.training.tries import TokenTrie

TEXTS = ["SELECT count(*) FROM singer WHERE age > 56;\n", "-- How many heads are older than 56?\n"] * 4


def scratch_settings() -> Any:
    """What model=tiny is, smaller."""
    architecture = {
        "vocab_size": 400, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 4, "initializer_range": 0.1,
    }  # fmt: skip
    return OmegaConf.create(
        {
            "name": "test", "kind": "scratch", "path": None, "architecture": architecture, "dtype": "float32",
            "quantization": None, "attention": "sdpa", "context_length": 128, "gradient_checkpointing": False,
            "compile": False, "lora": {"enabled": False},
        }
    )  # fmt: skip


def hub_settings(folder: Path, lora: bool = True, **changes: Any) -> Any:
    """What a pretrained model's member of conf/model is, for the weights in ``folder``."""
    adapter = {
        "enabled": lora, "r": 4, "alpha": 8, "dropout": 0.0, "target_modules": ["q_proj", "v_proj", "down_proj"],
    }  # fmt: skip
    return OmegaConf.merge(scratch_settings(), {"kind": "hub", "path": str(folder), "lora": adapter, **changes})


def save_base(folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """A local folder as a hub model would be."""
    torch.manual_seed(0)
    policy = models.build(scratch_settings(), PromptStyle(), TEXTS)
    shake(policy.model)
    policy.model.to(dtype).save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    return folder


def sft_checkpoint(settings: Any, folder: Path) -> Path:
    """What an SFT stage leaves behind."""
    policy = models.build(settings, PromptStyle(), [])
    prepare_for_training(policy, settings, "sft")
    shake(policy.model)
    finish_training(policy, settings)
    models.export(policy, settings, folder, "sft")
    return folder


def shake(model: torch.nn.Module) -> None:
    """Stands for training: moves every trainable weight."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)


@torch.no_grad()
def plain_logprobs(model: Any, tries: list[TokenTrie]) -> torch.Tensor:
    """Log-prob of each supervised node, one path at a time, by nothing but the model's own forward pass."""
    values = []
    for trie in tries:
        for i, node in enumerate(trie.nodes):
            if node.supervised:
                ids = [token for j in trie.path(i) for token in trie.nodes[j].ids]
                logprobs = model(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)
                start = len(ids) - len(node.ids)
                values.append(sum(logprobs[p - 1, ids[p]] for p in range(start, len(ids))))
    return torch.stack(values)


def trained(policy: Policy) -> set[str]:
    return {name for name, parameter in policy.model.named_parameters() if parameter.requires_grad}
