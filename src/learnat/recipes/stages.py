"""The training stages of a run, and what each learns from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from learnat.benchmarks.types import Benchmark


@dataclass(frozen=True)
class Stage:
    """One training stage: its name, its loss group (``conf/loss``) and its optimisation (``model.optim``)."""

    name: str
    loss: Any
    optim: Any

    @property
    def is_preference(self) -> bool:
        return self.loss.pairs is not None


@dataclass(frozen=True)
class Source:
    """What a stage learns from: the ``trees`` of the questions of a benchmark's ``split``."""

    benchmark: Benchmark
    split: str
    trees: Path


def stages_of(cfg: DictConfig) -> list[Stage]:
    """The stages that train.py's ``cfg`` runs, in order."""
    if cfg.loss.name == "sft":
        return [Stage("sft", cfg.loss, cfg.model.optim.sft)]
    preference = Stage(cfg.loss.name, cfg.loss, cfg.model.optim.preference)
    if cfg.warm_start.loss is None or cfg.warm_start.checkpoint is not None:
        return [preference]
    return [Stage("sft", cfg.warm_start.loss, cfg.model.optim.sft), preference]
