"""Models by their shape, with random weights made where they are used, and what both sides train of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig
from torch import nn
from transformers import Qwen2Config, Qwen2ForCausalLM

from learnat.training.last_layer import read_everywhere

LORA_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Shape:
    """A Qwen2 decoder; ``scale`` shortens the made-up cases for machines that cannot train a large one."""

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    vocabulary: int
    scale: float = 1.0

    @property
    def config(self) -> Qwen2Config:
        return Qwen2Config(
            vocab_size=self.vocabulary,
            hidden_size=self.hidden,
            intermediate_size=self.mlp,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            max_position_embeddings=32768,
            rope_theta=1e6,
            tie_word_embeddings=False,
            attn_implementation="sdpa",
            use_cache=False,
        )


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("7b", 3584, 28, 28, 4, 18944, 152064),  # Qwen2.5-7B
        Shape("1.5b", 1536, 28, 12, 2, 8960, 151936),  # Qwen2.5-1.5B, its embeddings untied
        Shape("embedded", 192, 4, 6, 6, 512, 3072),  # model=tiny, its embeddings untied
        Shape("tiny", 64, 2, 4, 2, 128, 1024, scale=0.05),
    )
}


def random_model(shape: Shape, device: torch.device) -> Any:
    """The model with random weights, made on ``device``: bfloat16 on a GPU, float32 on a CPU."""
    torch.manual_seed(0)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if device.type == "cuda" else torch.float32)
    try:
        with device:
            model = Qwen2ForCausalLM(shape.config)
    finally:
        torch.set_default_dtype(default)
    return model


def lora() -> LoraConfig:
    """Rank 16 on all linear layers of the decoder, on both sides."""
    return LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=list(LORA_LAYERS), task_type="CAUSAL_LM")


def restore(model: Any) -> None:
    """Undo what a side did to the shared ``model``: adapters, forward, compilation, checkpointing, gradients."""
    for module in model.modules():
        module._compiled_call_impl = None
    read_everywhere(model)
    _without_adapters(model)
    model.__dict__.pop("forward", None)
    if getattr(model, "_require_grads_hooks", None) or getattr(model, "_require_grads_hook", None):
        model.disable_input_require_grads()
    model.gradient_checkpointing_disable()
    model.set_attn_implementation("sdpa")
    model.requires_grad_(False)
    model.zero_grad(set_to_none=True)


def _without_adapters(model: Any) -> None:
    from peft.tuners.lora import LoraLayer

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LoraLayer):
                base = child.get_base_layer()
                assert isinstance(base, nn.Module)
                setattr(parent, name, base)
    if hasattr(model, "peft_config"):
        del model.peft_config
    model._hf_peft_config_loaded = False
