"""Refuses a sweep that nobody would start, or that its sweeper would stumble over."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from learnat.errors import LearnatError
from learnat.synthesis.checks import shown


def check_sweep(cfg: DictConfig, given: Sequence[Override], swept: Sequence[Override], multirun: bool) -> None:
    """Raise ``LearnatError`` for a sweep without ``multirun``, and for one that the chosen sweeper cannot make jobs of.

    ``cfg`` is the config with Hydra's own, ``given`` are the overrides of the command line, ``swept`` those that an
    experiment sweeps over: a sweeper reads these too where the command line says otherwise.
    """
    if not multirun and cfg.hydra.mode != RunMode.MULTIRUN:
        for item in given:
            if item.is_sweep_override():
                raise LearnatError(f"{item.input_line} is a sweep: add -m, for one job a value, or give one value.")
    choices = cfg.hydra.runtime.choices
    if choices["hydra/sweeper"] == "basic":
        search = "hydra/sweeper=optuna, with the extra optuna (pip install -e '.[optuna]')"
        _check_no_interval([*given, *swept], "Hydra's basic sweeper", search)
    if choices.get("hydra/sweeper/sampler") == "grid":
        _check_no_interval([*given, *swept], "Optuna's grid sampler", "hydra/sweeper/sampler=tpe")
    direction = cfg.hydra.sweeper.get("direction")
    if OmegaConf.is_list(direction):
        raise LearnatError(
            f"hydra.sweeper.direction={shown(direction)}: a job gives one number to search by, which takes one "
            "direction, maximize or minimize."
        )


def _check_no_interval(items: Sequence[Override], chooser: str, search: str) -> None:
    """Raise ``LearnatError`` for an interval, of which ``chooser`` makes no values; ``search`` is what would."""
    for item in items:
        value = item.value()
        if isinstance(value, IntervalSweep):
            raise LearnatError(
                f"{item.input_line} is an interval, and {chooser} tries single values: list them, "
                f"{item.get_key_element()}={value.start:g},{value.end:g}, or give choice(…) or range(…). A search in "
                f"it is {search}."
            )
