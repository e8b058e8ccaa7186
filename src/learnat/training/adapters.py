"""LoRA adapters: a new one over a base model or on top of frozen ones, and all of them exported as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from learnat.errors import LearnatError

SFT_ADAPTER, PREFERENCE_ADAPTER = "sft", "pref"
WEIGHTS_FILE = "adapter_model.safetensors"
"""Where peft looks for an adapter's weights."""
ALL_LINEAR = "all-linear"
"""peft's word for every linear layer but the LM head."""


def is_adapted(model: nn.Module) -> bool:
    """Whether ``model`` is a peft wrapper, with one adapter or more."""
    return hasattr(model, "peft_config")


def is_adapter_weight(name: str) -> bool:
    """Whether a parameter of this name belongs to a LoRA adapter, not to the base model."""
    return ".lora_" in name


def add_adapter(model: Any, settings: Any, name: str) -> Any:
    """``model`` with a new LoRA adapter ``name``, which alone is trained; adapters that it has already stay active.

    ``settings`` is the config node ``model.lora``. The new adapter's weights are float32 (peft's default), whatever
    the base model's are, and its output is zero. The name must be new. Raises ``LearnatError`` for target modules that
    ``model`` has no linear layer for.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=_targets(model, settings.target_modules),
        task_type="CAUSAL_LM",
    )
    if not is_adapted(model):
        return get_peft_model(model, config, adapter_name=name)
    below = list(model.peft_config)
    model.add_adapter(name, config)
    model.base_model.set_adapter([*below, name])
    # set_adapter makes every active adapter trainable; only the new one is.
    for parameter_name, parameter in model.named_parameters():
        parameter.requires_grad_(f".{name}." in parameter_name)
    return model


def _targets(model: nn.Module, wanted: str | Sequence[str]) -> str | list[str]:
    """``wanted`` as peft takes it. peft itself passes over names that match nothing as long as another one matches."""
    if wanted == ALL_LINEAR:
        return ALL_LINEAR
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    layers = _linear_layers(model)
    missing = [name for name in names if not any(f".{layer}".endswith(f".{name}") for layer in layers)]
    if missing:
        known = sorted({layer.rpartition(".")[2] for layer in layers})
        raise LearnatError(
            f"model.lora.target_modules names {', '.join(missing)}, but no linear layer of the model has such a name. "
            f"Its linear layers: {', '.join(known)}. Name some of these, or set model.lora.target_modules={ALL_LINEAR}."
        )
    return names


def _linear_layers(model: nn.Module) -> set[str]:
    """The base model's linear layers by their full names, also where adapters wrap them."""
    return {
        name.removesuffix(".base_layer")
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not is_adapter_weight(name)
    }


def export_adapter(model: Any, folder: Path, base_model: str) -> None:
    """Write the sum of ``model``'s active adapters to ``folder`` as one adapter over ``base_model``, for plain peft.

    Concatenated ranks give exactly the stacked adapters' output. peft's own ``add_weighted_adapter`` does the same but
    in the base model's precision, which would round float32 adapters to bfloat16.
    """
    from peft.utils import get_peft_model_state_dict

    names = list(model.active_adapters)
    configs = [model.peft_config[name] for name in names]
    weights = [get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False) for name in names]
    scales = [config.lora_alpha / config.r for config in configs]
    rank = sum(config.r for config in configs)
    # Injection has replaced ``all-linear`` by the set of layers that it stands for.
    targets = set().union(*(config.target_modules for config in configs))
    config = replace(
        configs[0],
        r=rank,
        lora_alpha=rank,
        target_modules=targets,
        base_model_name_or_path=base_model,
        inference_mode=True,
    )
    config.save_pretrained(folder)
    # Tensors of a GPU and views of others must be copied before they are written.
    joined = {
        key: tensor.cpu().contiguous() for key, tensor in _joined(weights, scales, [c.r for c in configs]).items()
    }
    save_file(joined, folder / WEIGHTS_FILE, metadata={"format": "pt"})


@torch.no_grad()
def _joined(weights: Sequence[dict[str, Tensor]], scales: Sequence[float], ranks: Sequence[int]) -> dict[str, Tensor]:
    """One adapter's matrices from several: A's [r, in] scaled and stacked, B's [out, r] side by side."""
    joined = {}
    for key in dict.fromkeys(key for state in weights for key in state):
        dim = 0 if ".lora_A." in key else 1
        parts = []
        for state, scale, rank in zip(weights, scales, ranks, strict=True):
            if key in state:
                parts.append(state[key] * scale if dim == 0 else state[key])
            else:
                # An adapter that leaves this layer alone takes its ranks with zeros: all layers have the same rank.
                shape = list(next(other[key] for other in weights if key in other).shape)
                shape[dim] = rank
                parts.append(torch.zeros(shape))
        device = parts[0].device
        joined[key] = torch.cat([part.to(device) for part in parts], dim)
    return joined
