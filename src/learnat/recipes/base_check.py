"""The check of what all commands share, conf/base.yaml: also of keys that the command at hand does not look at."""

from __future__ import annotations

from omegaconf import DictConfig

from learnat.errors import LearnatError
from learnat.synthesis.checks import check_seed


def check_base(cfg: DictConfig) -> None:
    """Raise ``LearnatError`` for a wrong value of a key of conf/base.yaml.

    To be called before provenance is written: a figure's record is to hold no value that stands for nothing.
    """
    # Both bring sqlglot, which --help does without.
    from learnat.sql.execution import check_limits
    from learnat.synthesis.runner import check_unanswered

    check_seed("seed", cfg.seed)
    check_limits(cfg.workers, cfg.executor.timeout_s, cfg.executor.max_rows)
    check_unanswered(cfg.unanswered)
    if not isinstance(cfg.cache_dir, str) or not cfg.cache_dir:
        raise LearnatError(f"cache_dir={cfg.cache_dir} must be a folder.")
