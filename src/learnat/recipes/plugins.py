"""Hydra's plugins: the extra that brings each, and what Optuna's sweeper is told about this project."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

EXTRAS = {
    "hydra/launcher": {
        "joblib": "joblib",
        "ray": "ray",
        "submitit_local": "submitit",
        "submitit_slurm": "submitit",
    },
    "hydra/sweeper": {"optuna": "optuna"},
}
"""For each member of these groups, the extra of this project that installs it."""
WITHOUT_BEST = ("No trials are completed yet", "`Study.stop` is supposed to be invoked inside")
"""How Optuna's errors begin where every job failed, and where the last one of a grid did."""


def extra_of(group: str, member: str) -> str | None:
    """The extra that brings a ``member`` of Hydra's ``group`` which is not installed; None for any other name."""
    return EXTRAS.get(group, {}).get(member)


def set_up_optuna() -> None:
    """Make ``hydra.sweeper.direction=maximize`` the default of Optuna's sweeper, where it is installed.

    What a job returns (``sweep.objective``) is the better the larger it is; Optuna's own default would search for the
    worst settings. A search that has no best settings ends with its table like any other.
    """
    Plugins.instance()  # plugins register their configs when they are looked for first
    store = ConfigStore.instance()
    if "optuna.yaml" not in store.list("hydra/sweeper"):
        return
    entry = store.load("hydra/sweeper/optuna.yaml")
    entry.node.direction = "maximize"
    store.store(group="hydra/sweeper", name="optuna", node=entry.node, provider=entry.provider)
    module, _, name = entry.node._target_.rpartition(".")
    sweeper = getattr(importlib.import_module(module), name)
    sweeper.sweep = _told_without_best(sweeper.sweep)


def _told_without_best(sweep: Callable[..., None]) -> Callable[..., None]:
    """``sweep``, which says in one message that failed jobs left it without best settings, where Optuna raises."""

    @functools.wraps(sweep)
    def told(*args: Any, **kwargs: Any) -> None:
        try:
            sweep(*args, **kwargs)
        except (ValueError, RuntimeError) as error:
            if not any(text in str(error) for text in WITHOUT_BEST):
                raise
            print("Optuna found no best settings, for jobs failed.", file=sys.stderr)

    return told
