"""Base models held in 4 or 8 bits by bitsandbytes, for LoRA adapters on top (QLoRA, Dettmers et al. 2023)."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any

import torch

from learnat.errors import LearnatError, nearest

QUANTIZATIONS = ("nf4", "int8")


def check_quantization(settings: Any) -> None:
    """Raise ``LearnatError`` unless ``model.quantization`` can be had here and trained so; loads nothing."""
    name = settings.quantization
    if name is None:
        return
    if name not in QUANTIZATIONS:
        raise LearnatError(f"model.quantization={name!r} is not known. {nearest(name, QUANTIZATIONS)}")
    if settings.kind == "scratch":
        raise LearnatError(
            f"model={settings.name} is trained from scratch: model.quantization={name} is for pretrained models. "
            "Set model.quantization=null."
        )
    if not settings.lora.enabled:
        raise LearnatError(
            f"model.quantization={name} holds the weights in a form that cannot be trained, but "
            "model.lora.enabled=false asks to train them all. Set model.lora.enabled=true or model.quantization=null."
        )
    check_installed(name)


def check_installed(name: str) -> None:
    """Raise ``LearnatError`` unless bitsandbytes, which quantises, is installed."""
    if find_spec("bitsandbytes") is None:
        raise LearnatError(
            f"{name} weights need bitsandbytes, which is not installed: `pip install bitsandbytes` (or this "
            "project's extra, `pip install -e '.[qlora]'`). Without it, use model.quantization=null."
        )


def quantization_config(name: str, dtype: torch.dtype) -> Any:
    """transformers' ``quantization_config`` for ``nf4`` (doubly quantised, as in the paper) or ``int8`` (LLM.int8()).

    ``dtype`` is what 4-bit weights are multiplied in.
    """
    from transformers import BitsAndBytesConfig

    check_installed(name)
    # Otherwise bitsandbytes says at every layer of every pass that int8 products are made in float16.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    if name == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=name,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
