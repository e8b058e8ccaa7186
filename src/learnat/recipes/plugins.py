"""Hydra's plugins: the extra that brings each, and what Optuna's sweeper is told about this project."""

from __future__ import annotations

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


def extra_of(group: str, member: str) -> str | None:
    """The extra that brings a ``member`` of Hydra's ``group`` which is not installed; None for any other name."""
    return EXTRAS.get(group, {}).get(member)


def let_optuna_maximise() -> None:
    """Make ``hydra.sweeper.direction=maximize`` the default of Optuna's sweeper, where it is installed.

    What a job returns (``sweep.objective``) is the better the larger it is; Optuna's own default would search for the
    worst settings.
    """
    Plugins.instance()  # plugins register their configs when they are looked for first
    store = ConfigStore.instance()
    if "optuna.yaml" not in store.list("hydra/sweeper"):
        return
    entry = store.load("hydra/sweeper/optuna.yaml")
    entry.node.direction = "maximize"
    store.store(group="hydra/sweeper", name="optuna", node=entry.node, provider=entry.provider)
