"""The reference log-probs of a preference stage: read from the cache, or computed and kept there."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import lightning as L
import torch
from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor

from learnat.recipes.progress import progress_bar
from learnat.training import ranks
from learnat.training.attention import ATTENTION_NAME
from learnat.training.datamodule import DecompositionDataModule
from learnat.training.logprobs import causal_lm
from learnat.training.models import Policy
from learnat.training.reference import reference_logprobs
from learnat.training.reference_cache import ReferenceCache, cache_key
from learnat.training.tries import TokenTrie


def add_reference(
    cfg: DictConfig,
    stage: str,
    policy: Policy,
    data: DecompositionDataModule,
    trainer: L.Trainer,
    console: Console,
) -> None:
    """Give every step in ``data`` the log-prob that ``policy``, prepared but before its first step, assigns to it."""
    settings: dict[str, str | int | None] = {
        "weights": policy.source,
        "quantization": policy.quantization,
        "dtype": str(causal_lm(policy.model).dtype),
        "precision": str(trainer.precision),
        "compute_dtype": str(getattr(trainer.strategy, "compute_dtype", None)),
        "device": trainer.strategy.root_device.type,
        "attention": ATTENTION_NAME,
        "layout": data.packing.layout,
        "length_bucket": data.packing.length_bucket,
    }
    cache = ReferenceCache(Path(cfg.cache_dir) / "reference", cache_key(data.reference_tries(), settings))

    def read() -> Tensor | None:
        try:
            return cache.read(data.supervised_nodes)
        except ValueError as error:
            console.print(f"{stage}: {cache.path} is damaged ({error}); its reference log-probs are computed again")
            return None

    # The first rank decides for all: one that found a file where another found none would wait for it for ever.
    logprobs = ranks.on_first(read)
    if logprobs is None:
        logprobs = _computed(stage, policy, data, trainer, console)
        ranks.on_first(partial(_keep, stage, cache, logprobs, console))
    else:
        console.print(f"{stage}: reference log-probs of {len(logprobs):,} steps read from {cache.path}")
    data.set_reference(logprobs)


def _keep(stage: str, cache: ReferenceCache, logprobs: Tensor, console: Console) -> None:
    try:
        cache.write(logprobs)
    except OSError as error:
        # The run has what it needs: a full disk costs the next one the time, not this one its life.
        console.print(f"{stage}: {cache.path} cannot be written ({error}); the next run computes its log-probs again")


def _computed(
    stage: str, policy: Policy, data: DecompositionDataModule, trainer: L.Trainer, console: Console
) -> Tensor:
    device = trainer.strategy.root_device
    policy.model.to(device)
    with (
        progress_bar(f"{stage}: reference log-probs", data.supervised_nodes, console) as bar,
        trainer.precision_plugin.forward_context(),
    ):

        def of_trie(trie: TokenTrie) -> Tensor:
            batch = data.reference_batch(trie)
            return reference_logprobs(policy.model, [batch], device, lambda nodes: bar(nodes * ranks.count()))

        return torch.cat(ranks.spread(of_trie, data.reference_tries()))
