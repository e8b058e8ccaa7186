"""Which keys an override may set, and what to say of one that it may not."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override

from learnat.errors import LearnatError
from learnat.recipes.config_tree import leaves
from learnat.recipes.targets import takes

OPEN = ("callbacks", "architecture")
"""Mappings to which any key may be added: all members are used, and what is passed whole is checked where it goes."""


def paths(item: Override, known: Mapping[str, Any]) -> list[str]:
    """The keys of ``known`` that ``item`` sets: its own, or those in the mapping that it gives."""
    node: Any = known
    for part in item.key_or_group.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    value = item.value()
    if not isinstance(value, dict) or not value or not isinstance(node, dict):
        return [item.key_or_group]
    return list(set_paths(value, node, f"{item.key_or_group}."))


def set_paths(given: Mapping[str, Any], known: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted paths of what ``given`` sets in ``known``: mappings merge, anything else is replaced as a whole."""
    for key, value in given.items():
        node = known.get(key)
        if isinstance(value, dict) and value and isinstance(node, dict):
            yield from set_paths(value, node, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def check_there(item: Override, known: Mapping[str, Any]) -> None:
    """Raise ``LearnatError`` for a key below null or ``{}``: it may be known, but there it has to be added."""
    for path in paths(item, known):
        node: Any = known
        parents: list[str] = []
        for part in re.split(r"[.\[\]]+", path):
            if node == {}:
                raise LearnatError(
                    f"'{'.'.join(parents)}' has no key '{part}' yet: add it with a plus, +{item.input_line}."
                )
            if node is None:
                raise LearnatError(f"Unknown key '{path}'. '{'.'.join(parents)}' is null here and has no keys.")
            node = node.get(part, "") if isinstance(node, dict) else ""
            parents.append(part)


def check_key(path: str, known: Mapping[str, Any], groups: Sequence[str], added: bool = False) -> None:
    """Raise ``LearnatError`` unless the dotted ``path`` is a key of ``known``, or may be ``added`` to it.

    Below a list, an interpolation, null or ``{}`` everything is accepted: their content has no fixed names. What may be
    added is a parameter of the ``_target_`` that it is given to, anything in a mapping that such a one is given, and
    keys of ``OPEN`` mappings.
    """
    node: Any = known
    given = False
    parents: list[str] = []
    parts = [part for part in re.split(r"[.\[\]]", path) if part]
    for part in parts:
        if node is None or node == {} or isinstance(node, list) or (isinstance(node, str) and "${" in node):
            return
        if isinstance(node, dict) and part not in node and added:
            target = node.get("_target_")
            if given if target is None else part.startswith("_") or takes(target, part):
                return
            if parents and parents[-1] in OPEN:
                return
        if not isinstance(node, dict) or part not in node:
            raise LearnatError(f"Unknown key '{path}'. {_suggestion(parts, parents, node, known, groups)}")
        given = given or "_target_" in node
        parents.append(part)
        node = node[part]


def _suggestion(
    parts: list[str], parents: list[str], node: Any, known: Mapping[str, Any], groups: Sequence[str]
) -> str:
    siblings = sorted({*node, *(groups if not parents else ())}) if isinstance(node, dict) else []
    wrong, rest = parts[len(parents)], parts[len(parents) + 1 :]
    close = difflib.get_close_matches(wrong, siblings, n=1, cutoff=0.6)
    if close:
        return f"Did you mean '{'.'.join([*parents, close[0], *rest])}'?"
    if parents and parents[-1] in OPEN:
        return f"Add it with a plus: +{'.'.join([*parents, *parts[len(parents) :]])}=…."
    elsewhere = [path for path, _ in leaves(known) if path.split(".")[-1] == parts[-1] and parts[-1][0] != "_"]
    if elsewhere:
        return f"Did you mean '{elsewhere[0]}'?"
    if not siblings:
        return f"'{'.'.join(parents)}' is a single value."
    return f"Known{' below ' + repr('.'.join(parents)) if parents else ''}: {', '.join(siblings)}."
