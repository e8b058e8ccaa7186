"""The config groups that one command chooses from: conf/ holds those of all commands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from omegaconf import OmegaConf

EXPERIMENT = "experiment"


def top_groups(choices: Mapping[str, object]) -> list[str]:
    """The outermost groups of ``choices``, Hydra's record of a composition (``hydra.runtime.choices``)."""
    return sorted({re.split("[/@]", group)[0] for group in choices} - {"hydra"})


def command_of(experiment: Path) -> tuple[str, str] | None:
    """The main that an experiment file is a study of, without .py, and the command in its ``# python MAIN.py …``."""
    text = experiment.read_text(encoding="utf-8") if experiment.is_file() else ""
    named = re.search(rf"^# (python (\w+)\.py .*\b{EXPERIMENT}={re.escape(experiment.stem)}\b.*)$", text, re.MULTILINE)
    return (named[2], named[1]) if named is not None else None


def register_help(config_dir: Path, config_name: str) -> None:
    """Let conf/base.yaml's help list the groups of this command: ``${learnat.groups:${hydra.runtime.choices}}``."""

    def listed(choices: Mapping[str, object]) -> str:
        loader = GlobalHydra.instance().config_loader()
        members = {group: _members(loader, config_dir, config_name, group) for group in sorted(choices)}
        return "\n".join(f"{group}: {', '.join(names)}" for group, names in members.items() if names)

    OmegaConf.register_new_resolver("learnat.groups", listed, replace=True)


def _members(loader: ConfigLoader, config_dir: Path, config_name: str, group: str) -> list[str]:
    if group.split("/")[0] == "hydra":
        return []
    members = loader.get_group_options(group.split("@")[0], ObjectType.CONFIG)
    if group != EXPERIMENT:
        return sorted(members)
    commands = {name: command_of(config_dir / EXPERIMENT / f"{name}.yaml") for name in members}
    return sorted(name for name, command in commands.items() if command is None or command[0] == config_name)
