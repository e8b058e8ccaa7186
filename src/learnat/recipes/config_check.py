"""Names every unknown group, group member and key of a command line before anything is composed or run.

Hydra refuses them too, but with the internals of its composition and no suggestion; and it lets an experiment file
invent keys that nothing reads.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from learnat.errors import LearnatError, nearest
from learnat.recipes.combinations import ConfigFiles, combinations
from learnat.recipes.command_groups import EXPERIMENT, command_of, top_groups
from learnat.recipes.config_tree import nodes
from learnat.recipes.flag_check import check_default_flag, check_flags
from learnat.recipes.key_check import check_key, check_there, paths, set_paths
from learnat.recipes.overrides import as_overrides, member_names, parse
from learnat.recipes.plugins import extra_of
from learnat.recipes.sweep_check import check_sweep


def check_overrides(
    config_dir: Path,
    config_name: str,
    overrides: Sequence[str],
    command: str | None = None,
    *,
    main: str | None = None,
    own_dir: Path | None = None,
    multirun: bool = True,
) -> None:
    """Compose the groups that ``overrides`` choose, and check all keys and booleans against what that gives.

    Of the combinations that a sweep chooses, those are composed that can differ in what a key means.

    An experiment's own keys, and the overrides it sweeps over (``hydra.sweeper.params``), are checked with them, and so
    are keys that are added with a plus.

    Args:
        command: what messages call the command, ``<config_name>.py`` if None.
        main: the name of the root main, whose experiments may be chosen; None: ``config_name``.
        own_dir: a further folder of configs, ``--config-dir``.
        multirun: whether ``-m`` is given, without which a sweep is refused, but for an experiment's own.

    Raises:
        LearnatError: naming the first unknown group, member or key, and the nearest valid name; a group or an
            experiment of another command; a boolean key that is given something else; or an override that Hydra cannot
            apply.
    """
    with initialize_config_dir(config_dir=str(config_dir.resolve()), version_base="1.3", job_name=config_name):
        loader = GlobalHydra.instance().config_loader()
        if own_dir is not None:
            _search_also(loader, own_dir)
        try:
            parsed = [parse(loader, text) for text in overrides]
            for item in parsed:
                if item.key_or_group == EXPERIMENT and not item.is_delete():
                    _check_command(config_dir, main or config_name, [*member_names(item)])
            _check(loader, config_dir, config_name, parsed, command or f"{config_name}.py", multirun)
        except (HydraException, OmegaConfBaseException) as error:
            raise LearnatError(" ".join(str(error).split())) from error


def _search_also(loader: ConfigLoader, folder: Path) -> None:
    """What Hydra does for ``--config-dir``."""
    assert isinstance(loader, ConfigLoaderImpl)
    path = loader.get_search_path()
    path.prepend("command-line", f"file://{folder.resolve()}", anchor=SearchPathQuery(provider="schema"))
    loader.repository.initialize_sources(path)


def _check(
    loader: ConfigLoader,
    config_dir: Path,
    config_name: str,
    parsed: Sequence[Override],
    command: str,
    multirun: bool,
) -> None:
    search_path = [item.input_line or "" for item in parsed if item.key_or_group == "hydra.searchpath"]
    finder = _Groups(loader, config_dir, config_name, search_path)
    finder.check_own(parsed, command)
    finder.check_members(parsed)
    swept = [parse(loader, text) for text in _sweeper_params(config_name, search_path, finder, parsed)]
    finder.check_members(swept)
    # A group's member and keys of it may both be given: loss=dpo loss={beta:0.2}
    items = {(item.get_key_element(), finder.chosen_by(item)): item for item in [*swept, *parsed]}.values()
    groups = [[*as_overrides(item)] for item in items if finder.chosen_by(item)]
    keys = [item for item in items if not finder.chosen_by(item)]
    with _named([item.input_line or "" for item in items]):
        choices = combinations(finder.files, groups, keys)
    for choice in choices:
        defaults = _defaults(config_name, search_path, choice)
        known = _container(defaults)
        for item in items:
            if finder.chosen_by(item) or item.key_or_group.startswith("hydra"):
                continue
            added = item.is_add() or item.is_force_add()
            for path in paths(item, known):
                check_key(path, known, finder.own(), added)
            if not added:
                finder.check_choice(item, known)
                check_there(item, known)
            if not item.is_delete():
                check_flags(item, defaults)
    # What Hydra alone refuses does not depend on the members: once is enough, for it takes as long as all of the above.
    cfg = _composed(config_name, [*search_path, *(next(as_overrides(item)) for item in items)])
    check_sweep(cfg, parsed, swept, multirun)


def _check_command(config_dir: Path, main: str, experiments: Sequence[str]) -> None:
    """Raise ``LearnatError`` for an experiment whose ``# python MAIN.py …`` names another main: it may compose here."""
    for name in experiments:
        command = command_of(config_dir / EXPERIMENT / f"{name}.yaml")
        if command is not None and command[0] != main:
            raise LearnatError(f"experiment={name} is a study of {command[0]}.py: {command[1]}")


def _sweeper_params(config_name: str, search_path: list[str], groups: _Groups, parsed: Sequence[Override]) -> list[str]:
    """What the chosen experiment sweeps over, as overrides."""
    if not any(item.key_or_group == EXPERIMENT and not item.is_sweep_override() for item in parsed):
        return []
    plain = [item.input_line or "" for item in parsed if groups.chosen_by(item) and not item.is_sweep_override()]
    cfg = _composed(config_name, [*search_path, *plain])
    params = OmegaConf.select(cfg, "hydra.sweeper.params") or {}
    return [f"{key}={value}" for key, value in params.items()]


class _Groups:
    """The config groups on the search path and their members."""

    def __init__(self, loader: ConfigLoader, config_dir: Path, config_name: str, search_path: list[str]) -> None:
        self.loader, self.config_dir, self.config_name, self.search_path = loader, config_dir, config_name, search_path

    @functools.cached_property
    def _plain(self) -> DictConfig:
        """The command's config without any override."""
        return compose(self.config_name, overrides=self.search_path, return_hydra_config=True)

    @functools.cached_property
    def files(self) -> ConfigFiles:
        return ConfigFiles(self.loader, self.config_name, self._plain)

    def own(self) -> list[str]:
        """The groups that the command chooses from."""
        return top_groups(self._plain.hydra.runtime.choices)

    def check_own(self, items: Sequence[Override], command: str) -> None:
        """Raise ``LearnatError`` for a group of other commands and its keys, and for one of its own that is added."""
        # whoever brings further folders may add groups of theirs
        others = {path.name for path in self.config_dir.iterdir() if path.is_dir()} - {"hydra", *self.own()}
        for item in items:
            name = re.split("[/.]", item.key_or_group)[0]
            if name in others and (self.chosen_by(item) or name not in self._plain):
                raise LearnatError(f"{command} has no group '{name}'; its groups: {', '.join(self.own())}.")
            choice = item.get_key_element().lstrip("+")
            if item.is_add() and self.chosen_by(item) and choice in self._plain.hydra.runtime.choices:
                raise LearnatError(f"{choice} is chosen without a plus: write {choice}={item.value()}.")

    def chosen_by(self, item: Override) -> bool:
        """A dict given to a group's name sets keys of the chosen member, as in Hydra."""
        return self._is_group(item) and not isinstance(item.value(), dict)

    def _is_group(self, item: Override) -> bool:
        return "." not in item.key_or_group and bool(self.files.listed(item.key_or_group, ObjectType.CONFIG))

    def check_members(self, items: Sequence[Override]) -> None:
        for item in items:
            if not self.chosen_by(item) or item.is_delete():
                continue
            members = self.files.listed(item.key_or_group, ObjectType.CONFIG)
            for name in member_names(item):
                if name == "null" and self._plain.hydra.runtime.choices.get(item.key_or_group, "") is None:
                    raise LearnatError(f"{item.key_or_group} is null by default: leave {item.key_or_group}=null out.")
                extra = extra_of(item.key_or_group, name)
                if name not in members and extra is not None:
                    package = f"a package that is not installed: pip install -e '.[{extra}]'"
                    raise LearnatError(f"{item.key_or_group}={name} needs {package}")
                if name not in members:
                    raise LearnatError(f"No {item.key_or_group} is called '{name}'. {nearest(name, members)}")

    def check_choice(self, item: Override, known: Mapping[str, Any]) -> None:
        """Raise ``LearnatError`` for keys of a group's member where none is chosen, and for a member chosen as a value.

        A group ``a/b`` has its member's keys below ``a.b``.
        """
        parts = item.key_or_group.split(".")
        node: Any = known
        for count, part in enumerate(parts, start=1):
            node = node.get(part) if isinstance(node, dict) else None
            group = "/".join(parts[:count])
            members = self.files.listed(group, ObjectType.CONFIG) if count > 1 else []
            if members and count < len(parts) and node is None:
                raise LearnatError(
                    f"Unknown key '{item.key_or_group}': no {group} is chosen. Give {group}=MEMBER too. Known: "
                    f"{', '.join(members)}."
                )
            if members and count == len(parts) and isinstance(item.value(), str):
                raise LearnatError(f"'{item.key_or_group}' is a group: write {group}={item.value()}.")


def _composed(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """Hydra's config and the command's; raises as ``_named`` does."""
    with _named(overrides):
        return compose(config_name, overrides=list(overrides), return_hydra_config=True)


@contextmanager
def _named(overrides: Sequence[str]) -> Iterator[None]:
    """Raise ``LearnatError`` for what Hydra, which reads ``overrides``, fails on without an error of its own."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, LearnatError):
        raise
    except Exception as error:
        text = str(error).strip()
        # YAML's errors say in their further lines which file they are about
        reason = " ".join(text.split()) if hasattr(error, "problem_mark") else text.partition("\n")[0]
        raise LearnatError(f"Hydra cannot apply {' '.join(overrides)}: {reason or type(error).__name__}") from error


def _defaults(config_name: str, search_path: Sequence[str], choice: Sequence[str]) -> DictConfig:
    """The config under these group choices but for what an experiment sets, which is checked against it."""
    cfg = _composed(config_name, [*search_path, *choice])
    chosen = {group: name for group, name in cfg.hydra.runtime.choices.items() if not group.startswith("hydra/")}
    experiment = chosen.pop(EXPERIMENT, None)
    if experiment is None:
        return cfg
    same_groups = [f"{group}={name}" for group, name in chosen.items() if name is not None]
    defaults = _composed(config_name, [*search_path, *same_groups])
    known, given = _container(defaults), _container(cfg)
    try:
        for path in set_paths(given, known):
            check_key(path, known, ())
        for path, value in nodes(given, ""):
            check_default_flag(path, value, defaults)
    except LearnatError as error:
        raise LearnatError(f"Experiment {experiment}: {error}") from error
    return defaults


def _container(cfg: Any) -> dict[str, Any]:
    container = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(container, dict)
    container.pop("hydra", None)
    return {str(key): value for key, value in container.items()}
