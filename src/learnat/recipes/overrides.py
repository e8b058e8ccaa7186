"""An override of the command line as Hydra's parser reads it, and the values that a sweep gives it."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
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
    if isinstance(swept, RangeSweep) and swept.step == 0:
        raise LearnatError(f"{text} has a step of 0: there would be no end of values.")
    if next(as_overrides(item), None) is None:
        raise LearnatError(f"{text} stands for no value at all: there would be nothing to run.")
    return item


def values(item: Override) -> Iterator[Any]:
    """The values that ``item`` gives, one by one: those of a sweep, of an interval its start, or the single one."""
    value = item.value()
    if isinstance(value, IntervalSweep):
        yield value.start
    elif isinstance(value, RangeSweep):
        # whatever its order: Hydra would list all of one that is shuffled
        yield from value.range()
    elif item.is_sweep_override():
        yield from item.sweep_iterator()
    else:
        yield value


def kinds(item: Override) -> Iterator[Any]:
    """``values``, but of a range, whose values are all numbers, the first alone: there may be very many."""
    return itertools.islice(values(item), 1) if item.is_range_sweep() else values(item)


def member_names(item: Override) -> Iterator[str]:
    """The names of the members that ``item`` chooses from a group, ``null`` for none."""
    for value in values(item):
        for name in value if isinstance(value, list) else [value]:
            yield "null" if name is None else str(name)


def as_overrides(item: Override) -> Iterator[str]:
    """One override text for each value of a sweep; one alone for an interval, which has no end of values."""
    if not item.is_sweep_override():
        yield item.input_line or ""
    elif item.is_interval_sweep() or item.is_range_sweep():
        yield from (f"{item.get_key_element()}={value}" for value in values(item))
    else:
        yield from (f"{item.get_key_element()}={text}" for text in item.sweep_string_iterator())
