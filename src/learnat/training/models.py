"""Policies: building, loading, adapting and exporting language models.

Settings come from the config group ``model``. A checkpoint folder is what transformers and peft themselves write (full
weights, or one LoRA adapter for the original base model) plus the tokenizer and ``learnat.json``, which says how
prompts looked in training.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.utils import logging as transformers_logging

from learnat.errors import LearnatError, nearest
from learnat.synthesis.decompositions import content_digest
from learnat.training.attention import ATTENTION_NAME, register
from learnat.training.logprobs import causal_lm
from learnat.training.prompts import PromptStyle
from learnat.training.tokenizer import train_tokenizer

SFT_ADAPTER, PREFERENCE_ADAPTER, EXPORTED_ADAPTER = "sft", "pref", "default"
MANIFEST = "learnat.json"

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

    @property
    def adapted(self) -> bool:
        return hasattr(self.model, "peft_config")

    @property
    def end_tokens(self) -> set[int]:
        """The ids that end an answer: the tokenizer's end token and those the model itself names."""
        named = getattr(causal_lm(self.model).generation_config, "eos_token_id", None)
        return {self.tokenizer.eos_token_id, *(named if isinstance(named, list) else [named] if named else [])}


def check_available(settings: Any) -> None:
    """Raise ``LearnatError`` unless the model's configuration and tokenizer can be had; loads no weights."""
    if settings.kind == "hub":
        _from_hub(AutoConfig.from_pretrained, settings)
        _from_hub(AutoTokenizer.from_pretrained, settings)


def build(settings: Any, style: PromptStyle, texts: Iterable[str]) -> Policy:
    """The untrained policy of ``model=…``: a hub model, or one from scratch whose tokenizer is trained on ``texts``.

    Raises ``LearnatError`` when a hub model is neither on disk nor to be downloaded.
    """
    dtype = _dtype(settings.dtype)
    base_model = None
    if settings.kind == "hub":
        base_model = _absolute(settings.path)
        tokenizer = _from_hub(AutoTokenizer.from_pretrained, settings)
        model = _from_hub(AutoModelForCausalLM.from_pretrained, settings, dtype=dtype)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
    else:
        tokenizer = train_tokenizer(texts, settings.architecture.vocab_size)
        architecture = {str(k): v for k, v in settings.architecture.items()}
        config = Qwen2Config(
            **{**architecture, "vocab_size": len(tokenizer)},
            max_position_embeddings=settings.context_length,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        model = Qwen2ForCausalLM(config).to(dtype)
        _silence_residual_branches(model)
    source = hashlib.sha256(f"{settings}{torch.initial_seed()}{len(tokenizer)}".encode()).hexdigest()
    return Policy(
        settings.name, model, tokenizer, style, settings.context_length, settings.attention, base_model, source
    )


def _silence_residual_branches(model: nn.Module) -> None:
    """Zero the projections that write into the residual stream: every layer starts as the identity.

    Token embeddings then reach all layers unmixed, and copying from question to SQL is learnt in fewer steps.
    """
    for name, parameter in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            nn.init.zeros_(parameter)


def load(checkpoint: str | Path) -> Policy:
    """The policy of a checkpoint folder. Raises ``LearnatError`` when it is not one."""
    folder = Path(checkpoint)
    manifest = _manifest(folder)
    style = PromptStyle(**manifest["prompt"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    dtype = _dtype(manifest["dtype"])
    if manifest["kind"] == "adapter":
        from peft import PeftModel

        try:
            base = AutoModelForCausalLM.from_pretrained(manifest["base_model"], dtype=dtype)
        except OSError as error:
            raise LearnatError(
                f"{folder} is an adapter over the model {manifest['base_model']}, which cannot be had here: put its "
                f"files back, or name where they are now as base_model in {folder / MANIFEST}."
            ) from error
        base_model = manifest["base_model"]
        model: nn.Module = PeftModel.from_pretrained(base, folder, adapter_name=SFT_ADAPTER, is_trainable=False)
    else:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        base_model = str(folder.resolve())
    return Policy(
        name=manifest["model"],
        model=model,
        tokenizer=tokenizer,
        style=style,
        context_length=manifest["context_length"],
        attention=manifest["attention"],
        base_model=base_model,
        source=identity(folder),
    )


def prompt_style(checkpoint: str | Path) -> PromptStyle:
    """How prompts looked in the training of a checkpoint folder. Raises ``LearnatError`` when it is not one."""
    return PromptStyle(**_manifest(Path(checkpoint))["prompt"])


def _manifest(folder: Path) -> Any:
    if not (folder / MANIFEST).is_file():
        raise LearnatError(
            f"{folder} is not a LearNAT checkpoint: it has no {MANIFEST}. Give the folder that a run wrote, "
            "<run folder>/checkpoints/<stage>."
        )
    return json.loads((folder / MANIFEST).read_text())


def identity(folder: Path) -> str:
    """Tells one state of a checkpoint folder from another, by its files' names and contents: a copy is the same.

    Files are read whole, since training may change any part of them, and several at once: reading is most of the cost.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    with ThreadPoolExecutor() as pool:
        digests = pool.map(content_digest, files)
        contents = [(path.name, digest) for path, digest in zip(files, digests, strict=True)]
    return hashlib.sha256(repr(contents).encode()).hexdigest()


def prepare_for_training(policy: Policy, settings: Any, stage: str) -> None:
    """Give ``policy`` what ``stage`` (``sft`` or a preference loss) trains: a new LoRA adapter, or all its weights.

    The reference table: no warm start trains one adapter over the base model; over an SFT adapter, which stays
    frozen, the preference adapter is *stacked*; full fine-tuning trains the weights themselves. Anything else raises
    ``LearnatError``.
    """
    policy.model.train()
    lm = causal_lm(policy.model)
    register()
    lm.set_attn_implementation(ATTENTION_NAME)
    if settings.gradient_checkpointing:
        lm.gradient_checkpointing_enable({"use_reentrant": False})
    if not settings.lora.enabled:
        if policy.adapted:
            raise LearnatError(
                "The warm start is a LoRA adapter, but model.lora.enabled=false asks for full fine-tuning: that "
                "combination has no sound reference. Set model.lora.enabled=true, or warm-start from full weights."
            )
        policy.model.requires_grad_(True)
        return
    adapter = SFT_ADAPTER if stage == "sft" else PREFERENCE_ADAPTER
    policy.model = _add_adapter(policy.model, settings.lora, adapter)
    if stage != "sft":
        # Dropout is off in preference training: policy and reference must be the same function at step 0.
        for module in policy.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0


def _add_adapter(model: nn.Module, lora: Any, adapter: str) -> nn.Module:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        task_type="CAUSAL_LM",
    )
    if not hasattr(model, "peft_config"):
        return get_peft_model(model, config, adapter_name=adapter)
    wrapped: Any = model
    frozen = list(wrapped.peft_config)
    if adapter in frozen:
        raise LearnatError(f"The checkpoint already holds a {adapter!r} adapter: start this stage from an SFT one.")
    wrapped.add_adapter(adapter, config)
    wrapped.base_model.set_adapter([*frozen, adapter])
    # set_adapter makes every active adapter trainable; only the new one is.
    for name, parameter in wrapped.named_parameters():
        parameter.requires_grad_(f".{adapter}." in name)
    return wrapped


def export(policy: Policy, settings: Any, folder: Path, stage: str) -> None:
    """Write ``policy`` to ``folder`` (replaced whole): loadable by plain transformers or peft, and by ``load``."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if policy.adapted:
        _export_adapter(policy.model, partial)
    else:
        lm = causal_lm(policy.model)
        lm.set_attn_implementation(policy.attention)
        lm.save_pretrained(partial)
    policy.tokenizer.save_pretrained(partial)
    manifest = {
        "kind": "adapter" if policy.adapted else "full",
        "stage": stage,
        "model": policy.name,
        "base_model": policy.base_model if policy.adapted else None,
        "dtype": settings.dtype,
        "context_length": policy.context_length,
        "attention": policy.attention,
        "prompt": asdict(policy.style),
        "prompt_hash": policy.style.hash,
    }
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    policy.source = identity(folder)


def _export_adapter(model: Any, folder: Path) -> None:
    """Save the sum of all adapters as one: concatenated ranks give exactly the stacked adapters' output."""
    adapters = list(model.active_adapters)
    model.add_weighted_adapter(adapters, [1.0] * len(adapters), EXPORTED_ADAPTER, combination_type="cat")
    model.save_pretrained(folder, selected_adapters=[EXPORTED_ADAPTER])
    trained = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    model.delete_adapter(EXPORTED_ADAPTER)
    model.base_model.set_adapter(adapters)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trained.get(name, False))


def _dtype(name: str) -> torch.dtype:
    known = ("float32", "bfloat16", "float16")
    if name not in known:
        raise LearnatError(f"model.dtype={name!r} is not known. {nearest(name, known)}")
    return getattr(torch, name)


def _absolute(path: str) -> str:
    """A local folder as an absolute path, a hub id as it is."""
    return str(Path(path).resolve()) if Path(path).is_dir() else path


def _from_hub(loader: Any, settings: Any, **kwargs: Any) -> Any:
    try:
        return loader(settings.path, **kwargs)
    except (OSError, ValueError) as error:
        raise LearnatError(_unavailable(settings.path, f"model={settings.name}", error)) from error


def reason(error: Exception) -> str:
    """The first sentence of what transformers says, which may go over several lines and list every known model."""
    text = " ".join(str(error).split())
    return re.split(r"(?<=[.!])\s+(?=[A-Z])", text, maxsplit=1)[0].rstrip(".") or type(error).__name__


def _unavailable(path: str, what: str, error: Exception) -> str:
    return (
        f"The model {path} ({what}) cannot be had: it is neither a local folder nor in the Hugging Face cache, and "
        f"downloading it failed ({reason(error)}). Where there is a network, run `hf download {path} --local-dir "
        "FOLDER`, then give it with model.path=FOLDER; for a gated model log in with `hf auth login` first."
    )
