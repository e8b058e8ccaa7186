"""The names that a command line gives to files, folders and splits: what YAML reads as a number is a name, too."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from learnat.errors import LearnatError


def take_name(cfg: DictConfig, key: str, what: str) -> None:
    """Make the value of ``key`` a text, where it is not None.

    Raises ``LearnatError`` for what is no name of one thing; ``what`` says which it should be, and what else to do.
    """
    value = OmegaConf.select(cfg, key)
    if isinstance(value, int) and not isinstance(value, bool):
        OmegaConf.update(cfg, key, str(value))
    elif value is not None and not isinstance(value, str):
        raise LearnatError(f"{key}={value} must be {what}.")


def take_file(cfg: DictConfig, key: str, what: str) -> None:
    """As ``take_name``, for a file or folder."""
    take_name(cfg, key, f"{what}; one that is called so is written {key}=./NAME")
