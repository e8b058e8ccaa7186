"""Policies: language models with their tokenizers, built, loaded from checkpoints and exported to them.

Settings come from the config group ``model``. A checkpoint folder is what transformers and peft themselves write (full
weights, or one LoRA adapter for the original base model) plus the tokenizer and ``learnat.json``, which says how
prompts looked in training.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM
from transformers.utils import logging as transformers_logging

from learnat.errors import LearnatError, nearest
from learnat.training import hub
from learnat.training.adapters import SFT_ADAPTER, export_adapter, is_adapted
from learnat.training.logprobs import causal_lm
from learnat.training.prompts import PromptStyle
from learnat.training.quantization import check_quantization, quantization_config
from learnat.training.tokenizer import train_tokenizer

MANIFEST = "learnat.json"
DTYPES = ("float32", "bfloat16")

transformers_logging.disable_progress_bar()


@dataclass
class Policy:
    """A language model with its tokenizer. ``model`` is a transformers model or a peft wrapper around one."""

    name: str
    """The member of conf/model it was made from."""
    model: Any
    tokenizer: PreTrainedTokenizerBase
    style: PromptStyle
    context_length: int
    attention: str
    """transformers' attention implementation for generation."""
    base_model: str | None
    """Hub id or absolute folder of the weights that an adapter is trained over; None for a model from scratch."""
    source: str
    """Identifies the weights: answers are kept on disk and must not be taken for another policy's."""
    quantization: str | None = None
    """How the base model's weights are held: ``nf4``, ``int8``, or None (as they are)."""

    @property
    def adapted(self) -> bool:
        return is_adapted(self.model)

    @property
    def end_tokens(self) -> set[int]:
        """The ids that end an answer: the tokenizer's end token and those the model itself names."""
        named = getattr(causal_lm(self.model).generation_config, "eos_token_id", None)
        return {self.tokenizer.eos_token_id, *(named if isinstance(named, list) else [named] if named else [])}


def check_available(settings: Any) -> None:
    """Raise ``LearnatError`` unless the model of ``settings`` can be had here; loads no weights."""
    dtype_named(settings.dtype)
    check_quantization(settings)
    if settings.kind == "hub":
        hub.check_available(settings)


def build(settings: Any, style: PromptStyle, texts: Iterable[str]) -> Policy:
    """The untrained policy of ``model=…``: a hub model, or one from scratch whose tokenizer is trained on ``texts``.

    Raises ``LearnatError`` when a hub model is neither on disk nor to be downloaded.
    """
    dtype = dtype_named(settings.dtype)
    base_model = quantization = None
    if settings.kind == "hub":
        base_model, quantization = hub.absolute(settings.path), settings.quantization
        tokenizer = hub.load_tokenizer(settings)
        model = hub.load_weights(settings, **_held(dtype, quantization))
        identity = hub.source_of(settings.path), settings.dtype, quantization
    else:
        tokenizer = train_tokenizer(texts, settings.architecture.vocab_size)
        model = _from_scratch(settings, tokenizer).to(dtype)
        identity = _weights_digest(model), tokenizer.backend_tokenizer.to_str(), settings.dtype
    source = hashlib.sha256(repr((*identity, settings.attention)).encode()).hexdigest()
    return Policy(
        settings.name,
        model,
        tokenizer,
        style,
        settings.context_length,
        settings.attention,
        base_model,
        source,
        quantization,
    )


def _from_scratch(settings: Any, tokenizer: PreTrainedTokenizerBase) -> nn.Module:
    architecture = {str(k): v for k, v in settings.architecture.items()}
    config = Qwen2Config(
        **{**architecture, "vocab_size": len(tokenizer)},
        max_position_embeddings=settings.context_length,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen2ForCausalLM(config)
    # Projections that write into the residual stream begin at zero: every layer starts as the identity, token
    # embeddings reach all layers unmixed, and copying from question to SQL is learnt in fewer steps.
    for name, parameter in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            nn.init.zeros_(parameter)
    return model


def _weights_digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load(checkpoint: str | Path, quantization: str | None = None) -> Policy:
    """The policy of a checkpoint folder. Raises ``LearnatError`` when it is not one.

    Full weights are held as ``quantization`` says; an adapter's base model as it was when the adapter was trained.
    """
    folder = Path(checkpoint)
    manifest = read_manifest(folder)
    style = PromptStyle(**manifest["prompt"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    dtype, source = dtype_named(manifest["dtype"]), source_of(folder)
    if manifest["kind"] == "adapter":
        from peft import PeftModel

        base_model, quantization = manifest["base_model"], manifest["quantization"]
        try:
            base = AutoModelForCausalLM.from_pretrained(base_model, **_held(dtype, quantization))
        except OSError as error:
            raise LearnatError(
                f"{folder} is an adapter over the model {base_model}, which cannot be had here: put its "
                f"files back, or name where they are now as base_model in {folder / MANIFEST}."
            ) from error
        model: nn.Module = PeftModel.from_pretrained(base, folder, adapter_name=SFT_ADAPTER, is_trainable=False)
    else:
        model = AutoModelForCausalLM.from_pretrained(folder, **_held(dtype, quantization))
        base_model = str(folder.resolve())
        source += quantization or ""
    return Policy(
        name=manifest["model"],
        model=model,
        tokenizer=tokenizer,
        style=style,
        context_length=manifest["context_length"],
        attention=manifest["attention"],
        base_model=base_model,
        source=source,
        quantization=quantization,
    )


def source_of(folder: Path) -> str:
    """Identifies a checkpoint's weights: an adapter's with those under it, of which its folder holds the name alone.

    Raises ``LearnatError`` when ``folder`` is no checkpoint.
    """
    manifest = read_manifest(folder)
    if manifest["kind"] != "adapter":
        return hub.folder_identity(folder)
    identity = hub.folder_identity(folder), hub.source_of(manifest["base_model"])
    return hashlib.sha256(repr(identity).encode()).hexdigest()


def _held(dtype: torch.dtype, quantization: str | None) -> dict[str, Any]:
    """How transformers is to load weights."""
    config = {"quantization_config": quantization_config(quantization, dtype)} if quantization is not None else {}
    return {"dtype": dtype, **config}


def prompt_style(checkpoint: str | Path) -> PromptStyle:
    """How prompts looked in the training of a checkpoint folder. Raises ``LearnatError`` when it is not one."""
    return PromptStyle(**read_manifest(Path(checkpoint))["prompt"])


def read_manifest(folder: Path) -> Any:
    """What ``export`` wrote about a checkpoint folder. Raises ``LearnatError`` when it is not one."""
    if not os.path.isfile(folder / MANIFEST):  # unlike Path's, false for a name that is too long
        raise LearnatError(
            f"{folder} is not a LearNAT checkpoint: it has no {MANIFEST}. Give the folder that a run wrote, "
            "<run folder>/checkpoints/<stage>."
        )
    # Checkpoints from before quantisation existed do not name it.
    return {"quantization": None, **json.loads((folder / MANIFEST).read_text())}


def export(policy: Policy, settings: Any, folder: Path, stage: str) -> None:
    """Write ``policy`` to ``folder`` (replaced whole): loadable by plain transformers or peft, and by ``load``."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if policy.adapted:
        assert policy.base_model is not None, "an adapter is over weights that can be named"
        export_adapter(policy.model, partial, policy.base_model)
    else:
        policy.model.save_pretrained(partial)
    policy.tokenizer.save_pretrained(partial)
    manifest = {
        "kind": "adapter" if policy.adapted else "full",
        "stage": stage,
        "model": policy.name,
        "base_model": policy.base_model if policy.adapted else None,
        "quantization": policy.quantization,
        "dtype": settings.dtype,
        "context_length": policy.context_length,
        "attention": policy.attention,
        "prompt": asdict(policy.style),
        "prompt_hash": policy.style.hash,
    }
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    policy.source = source_of(folder)
    if not policy.adapted:
        # An adapter that is trained on top from now on is over these weights.
        policy.base_model = str(folder.resolve())


def dtype_named(name: str) -> torch.dtype:
    """The torch type of ``model.dtype``. Raises ``LearnatError`` for one that is not known."""
    if name not in DTYPES:
        raise LearnatError(f"model.dtype={name!r} is not known. {nearest(name, DTYPES)}")
    return getattr(torch, name)
