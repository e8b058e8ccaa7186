"""Pretrained models of the Hugging Face hub or of a local folder, and what is said when they cannot be had."""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from learnat.errors import LearnatError
from learnat.synthesis.decompositions import content_digest


def check_available(settings: Any) -> None:
    """Raise ``LearnatError`` unless the configuration and the tokenizer of ``model`` can be had; loads no weights."""
    from_hub(AutoConfig.from_pretrained, settings)
    from_hub(AutoTokenizer.from_pretrained, settings)


def load_tokenizer(settings: Any) -> PreTrainedTokenizerBase:
    """The tokenizer, with a padding token. Raises ``LearnatError`` when it cannot be had."""
    tokenizer = from_hub(AutoTokenizer.from_pretrained, settings)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_weights(settings: Any, **how: Any) -> Any:
    """The model, loaded as ``how`` says. Raises ``LearnatError`` when it cannot be had."""
    return from_hub(AutoModelForCausalLM.from_pretrained, settings, **how)


def source_of(path: str) -> str:
    """Tells one state of the weights at ``path``, on disk, from another: by its files, or the hub's commit."""
    if Path(path).is_dir():
        return folder_identity(Path(path))
    # The cache keeps the files of a commit in a folder of that name.
    cached = try_to_load_from_cache(path, "config.json")
    commit = Path(cached).parent.name if isinstance(cached, str) else None
    return hashlib.sha256(f"{path}@{commit}".encode()).hexdigest()


def folder_identity(folder: Path) -> str:
    """Tells one state of a model's folder from another, by its files' names and contents: a copy is the same.

    Files are read whole, since training may change any part of them, and several at once: reading is most of the cost.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    with ThreadPoolExecutor() as pool:
        digests = pool.map(content_digest, files)
        contents = [(path.name, digest) for path, digest in zip(files, digests, strict=True)]
    return hashlib.sha256(repr(contents).encode()).hexdigest()


def absolute(path: str) -> str:
    """A local folder as an absolute path, a hub id as it is."""
    return str(Path(path).resolve()) if Path(path).is_dir() else path


def from_hub(loader: Any, settings: Any, **how: Any) -> Any:
    """What ``loader`` makes of ``model.path``. Raises ``LearnatError`` when that cannot be had."""
    try:
        return loader(settings.path, **how)
    except (OSError, ValueError, SafetensorError) as error:
        if Path(settings.path).is_dir():
            raise LearnatError(
                f"The folder {settings.path} (model={settings.name}) cannot be loaded: {reason(error)}. Give "
                "model.path=FOLDER with config.json, weights and tokenizer of a causal language model that the "
                "installed transformers knows, as `hf download ID --local-dir FOLDER` makes it."
            ) from error
        raise LearnatError(
            f"The model {settings.path} (model={settings.name}) cannot be had: it is neither a local folder nor in the "
            f"Hugging Face cache, and downloading it failed ({reason(error)}). Where there is a network, run "
            f"`hf download {settings.path} --local-dir FOLDER`, then give it with model.path=FOLDER; for a gated "
            "model log in with `hf auth login` first."
        ) from error


def reason(error: Exception) -> str:
    """The first sentence of what transformers says, which may go over several lines and list every known model."""
    text = " ".join(str(error).split())
    return re.split(r"(?<=[.!])\s+(?=[A-Z])", text, maxsplit=1)[0].rstrip(".") or type(error).__name__
