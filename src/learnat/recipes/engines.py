"""The engine of a command, from its config."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hydra.utils import instantiate
from omegaconf import DictConfig

from learnat.benchmarks.types import Benchmark
from learnat.errors import LearnatError
from learnat.inference.engines.base import Engine, EngineSettings
from learnat.training.prompts import PromptStyle

if TYPE_CHECKING:
    from learnat.inference.engines.transformers import TransformersSettings


def open_engine(cfg: DictConfig, benchmark: Benchmark) -> Engine:
    """``cfg.engine`` over ``cfg.checkpoint``, ready to be asked about ``benchmark``.

    Raises ``LearnatError`` when there is no such checkpoint, or ``benchmark`` reads fewer sample values than it needs.
    """
    settings: EngineSettings = instantiate(cfg.engine)
    if cfg.checkpoint is None:
        style = PromptStyle(cfg.data.schema_style, cfg.data.samples)
    else:
        from learnat.training import models

        style = models.prompt_style(cfg.checkpoint)
        style.check_samples(benchmark)
    return settings.open(cfg.checkpoint, style)


def own_engine(cfg: DictConfig) -> TransformersSettings:
    """``cfg.engine`` of a command that asks the policy it has in memory.

    Raises ``LearnatError`` for an engine that cannot.
    """
    from learnat.inference.engines.transformers import TransformersSettings

    settings = instantiate(cfg.engine)
    if not isinstance(settings, TransformersSettings):
        raise LearnatError(
            "train.py scores the policy that it has in memory, which engine=transformers alone can. Score its "
            "checkpoints with another engine afterwards: python evaluate.py engine=… checkpoint=…"
        )
    return settings
