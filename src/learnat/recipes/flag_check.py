"""Refuses what is neither true nor false where a config has a boolean: to Python, ``no`` and ``off`` would be true."""

from __future__ import annotations

from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from learnat.recipes.config_tree import nodes
from learnat.recipes.overrides import kinds
from learnat.synthesis.checks import check_flag


def check_flags(item: Override, defaults: DictConfig) -> None:
    """Raise ``LearnatError`` where ``item`` gives a boolean key of ``defaults`` any value but true or false.

    Each value of a sweep is looked at, of an interval or a range the start, and each key of a dict. ``defaults`` is the
    config without value overrides.
    """
    for value in kinds(item):
        for path, leaf in nodes(value, item.key_or_group):
            check_default_flag(path, leaf, defaults)


def check_default_flag(path: str, value: Any, defaults: DictConfig) -> None:
    """Raise ``LearnatError`` where the dotted ``path`` is a boolean of ``defaults`` and ``value`` is none.

    A value that refers to other keys, ``${…}``, is what it gives in ``defaults``, if anything.
    """
    if not isinstance(value, bool) and isinstance(_resolved(defaults, path), bool):
        if isinstance(value, str) and "${" in value:
            changed = defaults.copy()
            OmegaConf.update(changed, path, value, force_add=True)
            resolved = _resolved(changed, path)
            value = value if resolved is None else resolved
        check_flag(path, value)


def _resolved(cfg: DictConfig, path: str) -> Any:
    """The value of ``path``; None where it has none yet, such as an interpolation of a key that is still open."""
    try:
        return OmegaConf.select(cfg, path)
    except OmegaConfBaseException:
        return None
