"""An override of the command line as Hydra's parser reads it, and the values that a sweep gives it."""

from __future__ import annotations

import shlex
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override
from hydra.errors import HydraException

from learnat.errors import LearnatError


def parse(loader: ConfigLoader, text: str) -> Override:
    """``text`` as Hydra reads it; raise ``LearnatError`` where it cannot, or no sweeper could."""
    try:
        item = OverridesParser.create(config_loader=loader).parse_overrides([text])[0]
    except HydraException as error:
        key, equals, value = text.partition("=")
        if not equals:
            raise LearnatError(f"Cannot read the override {text}: write KEY=VALUE.") from error
        quoted = value.replace('"', '\\"')
        raise LearnatError(
            f"Cannot read the override {text}: a text with special characters needs quotes inside the shell's, "
            + shlex.quote(f'{key}="{quoted}"')
        ) from error
    swept = item.value()
    if isinstance(swept, ChoiceSweep) and any(isinstance(one, IntervalSweep) for one in swept.list):
        raise LearnatError(f"{text} has an interval among its values: give the one or the others.")
    if item.is_sweep_override() and not values(item):
        raise LearnatError(f"{text} stands for no value at all: there would be nothing to run.")
    return item


def check_no_interval(item: Override) -> None:
    """Raise ``LearnatError`` for an interval, of which Hydra's basic sweeper makes no values."""
    value = item.value()
    if isinstance(value, IntervalSweep):
        raise LearnatError(
            f"{item.input_line} is an interval, and Hydra's basic sweeper tries single values: list them, "
            f"{item.get_key_element()}={value.start:g},{value.end:g}, or give choice(…) or range(…). A search in it is "
            "hydra/sweeper=optuna, with the extra optuna (pip install -e '.[optuna]')."
        )


def values(item: Override) -> list[Any]:
    """The values that ``item`` gives: those of a sweep, of an interval its start, or the single one."""
    value = item.value()
    if isinstance(value, IntervalSweep):
        return [value.start]
    return list(item.sweep_iterator()) if item.is_sweep_override() else [value]


def member_names(item: Override) -> list[str]:
    """The names of the members that ``item`` chooses from a group, ``null`` for none."""
    flat = [name for value in values(item) for name in (value if isinstance(value, list) else [value])]
    return ["null" if name is None else str(name) for name in flat]


def as_overrides(item: Override) -> list[str]:
    """One override text for each value of a sweep; one alone for an interval, which has no end of values."""
    if not item.is_sweep_override():
        return [item.input_line or ""]
    if item.is_interval_sweep():
        return [f"{item.get_key_element()}={value}" for value in values(item)]
    return [f"{item.get_key_element()}={text}" for text in item.sweep_string_iterator()]
