"""Groups computed one by one or in one kernel give what plain attention to whole prompts gives."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from learnat.inference import prefix_groups
from learnat.inference.engines.base import Decoding
from learnat.inference.prefix_cache import PrefixCache, shared_prompts
from learnat.inference.prefix_decoding import read_prompts
from learnat.inference.prefix_groups import (
    Group,
    GroupAttention,
    JoinedGroups,
    Prefix,
    SingleGroups,
    can_join,
    group_attention,
)
from tests.inference.test_prefix_decoding import batch, policy_of, share, sharing

HEADS, SIZE = 3, 16
SCALING = SIZE**-0.5

Found = list[tuple[Tensor, Tensor] | None]
"""Values and log-sum-exps of each row that has a prefix."""


def kernel(
    query: Tensor, key: Tensor, value: Tensor, query_ends: Tensor, key_ends: Tensor, most_queries: int, most_keys: int
) -> tuple[Tensor, Tensor]:
    """``varlen_attention`` by its definition, in any precision and on a CPU."""
    values, totals = [], []
    for (first, last), (begin, end) in zip(pairwise(query_ends), pairwise(key_ends), strict=True):
        assert last - first <= most_queries and end - begin <= most_keys
        scores = torch.einsum("qhd,khd->hqk", query[first:last], key[begin:end]) * query.shape[-1] ** -0.5
        values.append(torch.einsum("hqk,khd->qhd", scores.softmax(-1), value[begin:end]))
        totals.append(scores.logsumexp(-1))
    assert sum(map(len, values)) == len(query)
    return torch.cat(values), torch.cat(totals, dim=1)


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_groups, "can_join", lambda keys: True)
    monkeypatch.setattr(prefix_groups, "varlen_attention", kernel)


def made_up(dtype: torch.dtype, device: str = "cpu") -> list[Group]:
    """Two layers; the first two of nine rows begin like no other."""
    torch.manual_seed(0)

    def states(tokens: int) -> tuple[Tensor, ...]:
        return tuple(torch.randn(HEADS, tokens, SIZE, dtype=dtype, device=device) for _ in range(2))

    places = ((2, 5, 40), (5, 6, 7), (6, 9, 133))
    return [Group(start, stop, Prefix(states(tokens), states(tokens))) for start, stop, tokens in places]


def by_rows(attention: GroupAttention, layer: int, queries: Tensor) -> Found:
    found: Found = [None] * len(queries)
    for part in attention.parts(layer, queries, SCALING):
        for row in range(part.start, part.stop):
            assert found[row] is None
            found[row] = part.values[row - part.start], part.total[row - part.start]
    return found


def plain(groups: Sequence[Group], layer: int, queries: Tensor) -> Found:
    """Each row alone, in double precision."""
    found: Found = [None] * len(queries)
    for group in groups:
        keys, values = group.prefix.keys[layer].double(), group.prefix.values[layer].double()
        for row in range(group.start, group.stop):
            scores = queries[row].double() @ keys.mT * SCALING
            found[row] = scores.softmax(-1) @ values, scores.logsumexp(-1, keepdim=True)
    return found


def assert_alike(found: Found, expected: Found, tolerance: float = 1e-12) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            for a, b in zip(one, other, strict=True):
                torch.testing.assert_close(a.double(), b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", [SingleGroups, JoinedGroups])
@pytest.mark.parametrize("m", [1, 4])
@pytest.mark.parametrize(("start", "stop"), [(0, 9), (2, 9), (3, 8), (5, 6), (0, 3), (7, 9)])
def test_rows_in_sight_attend_to_their_own_prefix(kind: type, m: int, start: int, stop: int, joined: None) -> None:
    groups = made_up(torch.float64)
    queries = torch.randn(9, HEADS, m, SIZE, dtype=torch.float64)
    for layer in (0, 1):
        found = by_rows(kind(groups).of_rows(slice(start, stop)), layer, queries[start:stop])
        assert_alike(found, plain(groups, layer, queries)[start:stop])


def test_passes_of_several_lengths_may_follow_one_another(joined: None) -> None:
    groups = made_up(torch.float64)
    attention = JoinedGroups(groups)
    for m in (3, 1, 3):
        queries = torch.randn(9, HEADS, m, SIZE, dtype=torch.float64)
        assert_alike(by_rows(attention, 0, queries), plain(groups, 0, queries))


def test_rows_of_no_group_have_no_part(joined: None) -> None:
    nothing = JoinedGroups(made_up(torch.float64)).of_rows(slice(0, 2))
    assert not nothing.groups and not list(nothing.parts(0, torch.randn(2, HEADS, 1, SIZE), SCALING))


def test_a_batch_is_written_alike_by_one_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, rows = policy_of("qwen2"), batch(random.Random(9))
    decoding = Decoding(12, temperature=1.0, stop="e")
    expected = sharing(policy, rows, decoding)
    calls = []

    def counted(*args: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(len(args[3]) - 1)
        return kernel(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(prefix_groups, "can_join", lambda keys: True)
    monkeypatch.setattr(prefix_groups, "varlen_attention", counted)
    assert sharing(policy, rows, decoding) == expected
    assert max(calls) == 4


@pytest.mark.parametrize("scores", [1, 2000, 10**9])
def test_prompts_are_read_alike_by_one_kernel(scores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With as many scores in memory, more prompts are read at once."""
    monkeypatch.setattr("learnat.inference.prefix_decoding.SCORES", scores)
    policy, rows = share(policy_of("llama")), batch(random.Random(3))
    with torch.inference_mode():
        prompts = shared_prompts(rows, PrefixCache(), policy.model)
        expected, _ = read_prompts(policy.model, prompts)
        monkeypatch.setattr(prefix_groups, "can_join", lambda keys: True)
        monkeypatch.setattr(prefix_groups, "varlen_attention", kernel)
        found, _ = read_prompts(policy.model, prompts)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_cpu_and_single_precision_have_no_such_kernel() -> None:
    assert isinstance(group_attention(made_up(torch.bfloat16)), SingleGroups)
    assert isinstance(group_attention([]), SingleGroups)
    assert not can_join(torch.empty(2, 4, 8, dtype=torch.bfloat16))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("m", [1, 7, 300])
def test_on_a_gpu_both_are_as_near_as_half_precision_allows(m: int) -> None:
    groups = made_up(torch.bfloat16, "cuda")
    queries = torch.randn(9, HEADS, m, SIZE, dtype=torch.bfloat16, device="cuda")
    attention = group_attention(groups)
    assert isinstance(attention, JoinedGroups)
    for kind in (attention, SingleGroups(groups)):
        for layer in (0, 1):
            assert_alike(by_rows(kind, layer, queries), plain(groups, layer, queries), 1e-2)
