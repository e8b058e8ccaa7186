"""Shared beginnings of prompts: which rows of a batch have one, and the keys and values that are kept of it."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from learnat.inference.decoding import Row
from learnat.inference.prefix_attention import PrefixRecorder, forward
from learnat.inference.prefix_groups import Group, Prefix

SHARERS = 4
"""Rows of a batch that must begin alike for their beginning, not being kept already, to be computed apart: every group
costs time at every token."""

STRAYS = 2
"""Beginnings of fewer sharers that are computed apart all the same, where there are no more of them: rows of a batch
have as many columns as the longest part that a row keeps to itself, so that one row with a schema of its own would
multiply the keys and values of all."""

CAPACITY = 4 * 2**30
"""Bytes of keys and values that are kept, at most: those of 74,898 tokens of Qwen2.5-7B in half precision."""


class PrefixCache:
    """Keys and values of shared beginnings of one model's prompts, the last used ones up to ``capacity`` bytes."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._kept: OrderedDict[tuple[int, ...], Prefix] = OrderedDict()

    def __contains__(self, ids: tuple[int, ...]) -> bool:
        return ids in self._kept

    def get(self, model: Any, ids: tuple[int, ...]) -> tuple[Prefix, bool]:
        """The keys and values of ``ids``, and whether they were there already."""
        known = ids in self._kept
        if not known:
            recorder = PrefixRecorder()
            tokens = torch.tensor([ids], device=model.device)
            forward(model, tokens, torch.arange(len(ids), device=model.device)[None], recorder)
            self._kept[ids] = recorder.prefix()
            while len(self._kept) > 1 and sum(prefix.size for prefix in self._kept.values()) > self._capacity:
                self._kept.popitem(last=False)
        self._kept.move_to_end(ids)
        return self._kept[ids], known

    def clear(self) -> None:
        """Forget all: the weights may change from now on, or the memory is needed."""
        self._kept.clear()


@dataclass(frozen=True)
class SharedPrompts:
    """The distinct prompts of a batch, those of one group side by side.

    ``shared``: how many ids of each are its group's prefix, 0 for those of no group. ``computed``: how many ids of each
    are computed for this batch, the prefix counted for the first prompt that needs it.
    """

    ids: tuple[tuple[int, ...], ...]
    shared: tuple[int, ...]
    computed: tuple[int, ...]
    groups: tuple[Group, ...]

    @property
    def own(self) -> tuple[int, ...]:
        """How many ids of each are not shared."""
        return tuple(len(ids) - shared for ids, shared in zip(self.ids, self.shared, strict=True))

    def groups_of_rows(self, prompts: Sequence[int]) -> tuple[Group, ...]:
        """The groups of rows of which ``prompts``, in ascending order, are the prompts' positions."""
        counts = Counter(prompts)
        starts = [0]
        for prompt in range(len(self.ids)):
            starts.append(starts[-1] + counts[prompt])
        places = ((starts[group.start], starts[group.stop], group.prefix) for group in self.groups)
        return tuple(Group(start, stop, prefix) for start, stop, prefix in places if start < stop)


def shared_prompts(rows: Sequence[Row], cache: PrefixCache, model: Any) -> SharedPrompts:
    """The prompts of ``rows``, with the keys and values of what they share with one another, or find in ``cache``."""
    beginnings = {row.prompt: row.prompt[: row.shared] for row in rows}
    sharers = Counter(row.prompt[: row.shared] for row in rows if row.shared)
    worth = {prefix for prefix, count in sharers.items() if count >= SHARERS or prefix in cache}
    others = sharers.keys() - worth
    if worth and len(others) <= STRAYS:
        worth |= others
    kept = {ids: prefix if prefix in worth else () for ids, prefix in beginnings.items()}
    # The longest first: what is read together is then of one length, or nearly so.
    ordered = sorted(kept, key=lambda ids: (kept[ids], -len(ids)))
    computed, groups = [len(ids) - len(kept[ids]) for ids in ordered], []
    start = 0
    while start < len(ordered):
        prefix = kept[ordered[start]]
        stop = next((i for i in range(start, len(ordered)) if kept[ordered[i]] != prefix), len(ordered))
        if prefix:
            states, known = cache.get(model, prefix)
            groups.append(Group(start, stop, states))
            computed[start] += 0 if known else len(prefix)
        start = stop
    return SharedPrompts(tuple(ordered), tuple(len(kept[ids]) for ids in ordered), tuple(computed), tuple(groups))
