"""Instruction-tuned models from the hub or a folder, used as they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from learnat.errors import LearnatError
from learnat.training import hub
from learnat.training.models import Policy
from learnat.training.prompts import PromptStyle


def identity(model: str) -> str:
    """Tells one state of the weights from another: by a folder's files, or by the hub's commit."""
    _had(model, AutoConfig.from_pretrained)  # brings the hub's newest commit, or says what is missing
    return hub.source_of(model)


def load(model: str) -> Policy:
    """The model in the precision it comes in. Raises ``LearnatError`` when it cannot be had or is no chat model."""
    tokenizer = _had(model, AutoTokenizer.from_pretrained)
    if tokenizer.chat_template is None:
        raise LearnatError(
            f"The tokenizer of {model} has no chat template. Give an instruction-tuned model (proposer.model=…), or "
            "proposer.checkpoint=<run folder>/checkpoints/<stage> for a policy that a run trained."
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    weights = _had(model, AutoModelForCausalLM.from_pretrained, dtype="auto")
    text_config = weights.config.get_text_config()
    return Policy(
        name=model,
        model=weights,
        tokenizer=tokenizer,
        style=PromptStyle(),
        context_length=getattr(text_config, "max_position_embeddings", tokenizer.model_max_length),
        attention="sdpa",
        base_model=model,
        source=identity(model),
    )


def _had(model: str, loader: Any, **settings: Any) -> Any:
    try:
        return loader(model, **settings)
    except (OSError, ValueError) as error:
        raise LearnatError(_unavailable(model, hub.reason(error))) from error


def _unavailable(model: str, reason: str) -> str:
    if Path(model).is_dir():
        return (
            f"The folder proposer.model={model} holds no model that transformers can read ({reason}). Give a folder "
            "with config.json, weights and tokenizer, as `hf download ID --local-dir FOLDER` makes it."
        )
    if Path(model).exists() or not re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", model):
        return (
            f"proposer.model={model} is no folder, and no name that a model on the hub can have. Give a folder with a "
            "transformers model, or the hub's ID, as in proposer.model=Qwen/Qwen2.5-Coder-7B-Instruct."
        )
    return (
        f"The model proposer.model={model} cannot be had: it is neither a folder with a transformers model nor in "
        f"the Hugging Face cache, and downloading it failed ({reason}). Where there is a network, run "
        f"`hf download {model} --local-dir FOLDER`, then give proposer.model=FOLDER."
    )
