"""Attention of groups of rows to the beginnings that they share: a few products a group, or one kernel for all."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Prefix:
    """Keys and values of a shared beginning of P tokens: for each layer [H_kv, P, D]."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def length(self) -> int:
        return self.keys[0].shape[1]

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(tensor.nbytes for tensor in (*self.keys, *self.values))


@dataclass(frozen=True)
class Group:
    """The rows ``start`` to ``stop``, which begin with ``prefix``."""

    start: int
    stop: int
    prefix: Prefix


class Part(NamedTuple):
    """What the n rows ``start`` to ``stop`` take from their prefixes.

    Weighted values [n, H_kv, m, D] and log-sum-exps [n, H_kv, m, 1], of m queries to each key head.
    """

    start: int
    stop: int
    values: Tensor
    total: Tensor


class GroupAttention(Protocol):
    @property
    def groups(self) -> Sequence[Group]: ...

    @property
    def holds_scores(self) -> bool:
        """Whether the scores of all queries are in memory at once."""
        ...

    def of_rows(self, rows: slice) -> GroupAttention:
        """The groups that ``rows`` belong to, with their places among these."""
        ...

    def parts(self, layer: int, queries: Tensor, scaling: float) -> Iterator[Part]:
        """Of all groups, for ``queries`` [rows, H_kv, m, D]."""
        ...


def group_attention(groups: Sequence[Group]) -> GroupAttention:
    """The fastest there is for ``groups``, which are side by side."""
    together = bool(groups) and can_join(groups[0].prefix.keys[0])
    return JoinedGroups(groups) if together else SingleGroups(groups)


class SingleGroups:
    """One group after another, by products of matrices."""

    holds_scores = True

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups

    def of_rows(self, rows: slice) -> SingleGroups:
        return SingleGroups(_in_sight(self.groups, rows))

    def parts(self, layer: int, queries: Tensor, scaling: float) -> Iterator[Part]:
        _, kv_heads, m, size = queries.shape
        for group in self.groups:
            rows = group.stop - group.start
            together = queries[group.start : group.stop].transpose(0, 1).reshape(1, kv_heads, rows * m, size)
            scores = scaled_scores(together, group.prefix.keys[layer][None], scaling)
            values, total = weighted(scores, group.prefix.values[layer][None])
            by_row = (part.view(kv_heads, rows, m, -1).transpose(0, 1) for part in (values, total))
            yield Part(group.start, group.stop, *by_row)


class JoinedGroups:
    """All groups in one kernel: FlashAttention for sequences of several lengths, which never holds the scores.

    A group is a sequence whose queries are those of all its rows. In a step of decoding each of the dozen operations
    that ``SingleGroups`` needs for every group and layer takes less time than its launch.
    """

    holds_scores = False

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups
        lengths = [group.prefix.length for group in groups]
        self._device = groups[0].prefix.keys[0].device
        self._longest = max(lengths)
        self._key_ends = self._ends(lengths)
        # Both are made in a first pass: while a CUDA graph is captured, nothing can be copied to the GPU.
        self._query_ends: dict[int, Tensor] = {}
        self._joined: dict[int, tuple[Tensor, Tensor]] = {}

    def of_rows(self, rows: slice) -> GroupAttention:
        return group_attention(_in_sight(self.groups, rows))

    def parts(self, layer: int, queries: Tensor, scaling: float) -> Iterator[Part]:
        start, stop = self.groups[0].start, self.groups[-1].stop
        _, kv_heads, m, size = queries.shape
        assert scaling == size**-0.5, "the kernel scales by itself"
        counts = [(group.stop - group.start) * m for group in self.groups]
        if m not in self._query_ends:
            self._query_ends[m] = self._ends(counts)
        packed = queries[start:stop].transpose(1, 2).reshape(-1, kv_heads, size)
        keys, values = self._keys_and_values(layer)
        found, total = varlen_attention(
            packed, keys, values, self._query_ends[m], self._key_ends, max(counts), self._longest
        )
        assert total.shape == (kv_heads, len(packed))
        by_row = found.view(stop - start, m, kv_heads, size).transpose(1, 2)
        yield Part(start, stop, by_row.to(total.dtype), total.view(kv_heads, -1, m, 1).transpose(0, 1))

    def _keys_and_values(self, layer: int) -> tuple[Tensor, Tensor]:
        """Of all prefixes, one behind the other: [tokens, H_kv, D]."""
        if layer not in self._joined:
            prefixes = [group.prefix for group in self.groups]
            keys = torch.cat([prefix.keys[layer] for prefix in prefixes], dim=1)
            values = torch.cat([prefix.values[layer] for prefix in prefixes], dim=1)
            self._joined[layer] = keys.transpose(0, 1), values.transpose(0, 1)
        return self._joined[layer]

    def _ends(self, lengths: Sequence[int]) -> Tensor:
        return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=self._device)


def can_join(keys: Tensor) -> bool:
    """Whether ``varlen_attention`` is to be had for such ``keys`` [H_kv, P, D]."""
    return (
        keys.is_cuda
        and keys.dtype in (torch.bfloat16, torch.float16)
        and keys.shape[-1] % 8 == 0
        and keys.shape[-1] <= 256
        and torch.cuda.get_device_capability(keys.device) >= (8, 0)
        and importlib.util.find_spec("torch.nn.attention.varlen") is not None  # since PyTorch 2.10
    )


def varlen_attention(
    query: Tensor, key: Tensor, value: Tensor, query_ends: Tensor, key_ends: Tensor, most_queries: int, most_keys: int
) -> tuple[Tensor, Tensor]:
    """Values [queries, h, D] and log-sum-exps [h, queries] of sequences that lie one behind the other.

    Sequence i has the queries and the keys from ``ends[i]`` to ``ends[i + 1]``, and each query meets each of its keys.
    """
    from torch.nn.attention.varlen import AuxRequest, varlen_attn

    return varlen_attn(  # type: ignore[return-value]
        query, key, value, query_ends, key_ends, most_queries, most_keys, return_aux=AuxRequest(lse=True)
    )


def scaled_scores(query: Tensor, key: Tensor, scaling: float) -> Tensor:
    """Scaled products [b, h, m, n] of [b, h, m, D] and [b, h, n, D], in float32 at least."""
    b, h = query.shape[:2]
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16):
        # Rounded to half precision, scores would be off in the second decimal.
        products = torch.bmm(query.flatten(0, 1), key.flatten(0, 1).mT, out_dtype=torch.float32)
        return products.mul_(scaling).view(b, h, *products.shape[1:])
    precise = torch.promote_types(query.dtype, torch.float32)
    return (query.to(precise) * scaling) @ key.to(precise).mT


def weighted(scores: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """The softmax-weighted values [b, h, m, D] and the log-sum-exp [b, h, m, 1] of ``scores``, which is overwritten."""
    highest = scores.amax(-1, keepdim=True)
    weights = scores.sub_(highest).exp_()
    mass = weights.sum(-1, keepdim=True)
    return (weights.to(value.dtype) @ value).to(mass.dtype) / mass, highest + mass.log()


def _in_sight(groups: Sequence[Group], rows: slice) -> list[Group]:
    return [
        replace(group, start=max(group.start, rows.start) - rows.start, stop=min(group.stop, rows.stop) - rows.start)
        for group in groups
        if group.start < rows.stop and group.stop > rows.start
    ]
