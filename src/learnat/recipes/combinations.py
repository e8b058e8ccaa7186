"""Which combinations of swept groups' members can differ in what a key means, so that no others need be composed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple

from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.defaults_list import create_defaults_list
from hydra.core.config_loader import ConfigLoader
from hydra.core.default_element import GroupDefault, InputDefault
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from learnat.recipes.command_groups import EXPERIMENT
from learnat.recipes.config_tree import leaves
from learnat.recipes.overrides import parse

Choice = tuple[str, ...]
Path = tuple[str, ...]
"""A key by the names that lead to it."""
Part = tuple[str, str]
"""A config file, by its path on the search path, and the package that its keys go below."""


class ConfigFiles:
    """The files that ``composed``, a config with Hydra's own, was composed from; each is read once."""

    def __init__(self, loader: ConfigLoader, config_name: str, composed: DictConfig) -> None:
        self.loader, self.config_name = loader, config_name
        path = ConfigSearchPathImpl()
        for source in composed.hydra.runtime.config_sources:
            path.append(source.provider, f"{source.schema}://{source.path}")
        self.repository = CachingConfigRepository(ConfigRepository(path))

    def listed(self, group: str, kind: ObjectType) -> list[str]:
        """The members, or the groups, in ``group``."""
        return self.repository.get_group_options(group, kind)

    def parts(self, choice: Choice) -> set[Part]:
        """The files that the members of ``choice`` bring, and all others of the command."""
        found = create_defaults_list(
            repo=self.repository,
            config_name=self.config_name,
            overrides_list=[parse(self.loader, text) for text in choice],
            prepend_hydra=True,
            skip_missing=False,
        )
        return {(item.config_path, item.package or "") for item in found.defaults if item.config_path is not None}

    def leaves(self, part: Part) -> Iterator[tuple[Path, str]]:
        """The keys that ``part`` sets to anything but a mapping with keys of its own, and the text of their values."""
        path, package = part
        loaded = self.repository.load_config(path)
        if loaded is not None:
            for key, value in leaves(OmegaConf.to_container(loaded.config, resolve=False), package):
                yield tuple(key.split(".")), str(value)

    def keys(self, parts: Iterable[Part]) -> set[str]:
        """The outermost keys that ``parts`` set."""
        return {path[0] for part in parts for path, _ in self.leaves(part)}

    def chooses_freely(self, part: Part) -> bool:
        """Whether what ``part`` chooses can depend on what others do: it replaces a choice, or names one by another."""
        loaded = self.repository.load_config(part[0])
        return any(_replaces(item) or "${" in repr(astuple(item)) for item in (loaded and loaded.defaults_list) or [])


def _replaces(item: InputDefault) -> bool:
    # Hydra's own groups set no key of a command
    return isinstance(item, GroupDefault) and item.is_override() and not str(item.group).lstrip("/").startswith("hydra")


def combinations(files: ConfigFiles, groups: Sequence[Sequence[str]], items: Sequence[Override]) -> list[Choice]:
    """The choices, one of each of ``groups``, that show all that ``items``, overrides of keys, can meet.

    Each member is in one of them. Members of several groups are combined where these set keys of the same outermost
    name, or where a key that an override or an experiment sets leads to all of them: it is one of theirs, or was or
    becomes a reference to such a one. Where choices can depend on one another, all are combined.
    """
    everything = list(itertools.product(*groups))
    swept = [index for index, members in enumerate(groups) if len(members) > 1]
    if len(swept) < 2:
        return everything
    first = everything[0]
    single = {index: [(*first[:index], one, *first[index + 1 :]) for one in groups[index]] for index in swept}
    found = {index: [files.parts(choice) for choice in choices] for index, choices in single.items()}
    parts = set[Part]().union(*itertools.chain(*found.values()))
    if any(files.chooses_freely(part) for part in parts):
        return everything
    # the outermost keys that the members of a swept group set, but for what all of them do
    sets = {
        index: files.keys(set[Part]().union(*members).difference(members[0].intersection(*members)))
        for index, members in found.items()
    }
    references = _References(leaf for part in parts for leaf in files.leaves(part))
    together = [{key} for key in set().union(*sets.values())]
    together += [references.met(path, value) for path, value in map(_given, items)]
    for part in parts:
        if part[0].startswith(f"{EXPERIMENT}/"):
            together += [references.met(path, value) for path, value in files.leaves(part)]
    wanted = set(itertools.chain(*single.values()))
    for keys in together:
        free = (members if sets.get(index, set()) & keys else members[:1] for index, members in enumerate(groups))
        wanted.update(itertools.product(*free))
    return [choice for choice in everything if choice in wanted]


class _References:
    """Which keys refer to which others, ``${…}``."""

    def __init__(self, leaves: Iterable[tuple[Path, str]]) -> None:
        self.leaves = [(path, _words(value)) for path, value in leaves if "${" in value]

    def met(self, path: Path, value: str) -> set[str]:
        """The outermost key of ``path``, and what is met where it is looked up, before or after it is ``value``."""
        on_the_way = (words for at, words in self.leaves if at[: len(path)] == path or path[: len(at)] == at)
        left = _words(value).union(*on_the_way)
        reached: set[str] = set()
        while left:
            name = left.pop()
            reached.add(name)
            left |= set().union(*(words for at, words in self.leaves if at[0] == name)) - reached
        return {*reached, path[0]}


def _given(item: Override) -> tuple[Path, str]:
    path = tuple(re.split(r"[.\[\]]+", item.key_or_group))
    return path, (item.input_line or "").partition("=")[2]


def _words(text: str) -> set[str]:
    """All that may be a name in ``text``; whatever else is in it names no key."""
    return set(re.split(r"[^\w-]+", text))
