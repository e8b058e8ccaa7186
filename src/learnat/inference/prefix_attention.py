"""Attention of many rows to beginnings that they share, whose keys and values exist once.

A row's keys are those of its group's prefix, which all rows of the group read from one place, and those of its own
tokens. Attention to the two parts is computed apart and joined by the parts' log-sum-exps, which is exact (Juravsky et
al., Hydragen, arXiv 2402.05099): the queries of a group meet the prefix in one matrix product, so that a step of
decoding reads a prefix once a group and not once a row.

The function is registered with transformers, so no model file is patched; where keys and values lie is passed through
the model's forward as ``key_values``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from learnat.inference.prefix_groups import Group, Prefix, group_attention, scaled_scores, weighted
from learnat.training.logprobs import causal_lm

ATTENTION_NAME = "learnat_shared_prefix"
FAMILIES = frozenset({"qwen2", "qwen3", "llama", "glm", "glm4"})
"""Model types whose attention layers do nothing but what is done here."""
STATIC_ROPE = frozenset({"default", "linear", "llama3", "yarn"})
"""Rotary embeddings that turn a position alike in every pass. Others (dynamic, longrope) depend on the longest position
of a pass: keys that are kept would not be those of a longer prompt."""


class KeyValues(Protocol):
    def attend(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Query [b, H, T, D], key and value [b, H_kv, T, D] of the tokens that are new → [b, T, H, D]."""
        ...


class PrefixRecorder:
    """Keeps keys and values of one sequence while the model reads it, with transformers' own causal attention."""

    def __init__(self) -> None:
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []

    def attend(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        self._keys.append(key[0])
        self._values.append(value[0])
        return causal_attention(module, query, key, value, scaling)

    def prefix(self) -> Prefix:
        return Prefix(tuple(self._keys), tuple(self._values))


class RowKeyValues:
    """Keys and values of a batch's rows: their groups' prefixes, and ``width`` columns of their own.

    Before each forward pass ``aim`` says which rows and columns it is about.
    """

    def __init__(self, groups: Sequence[Group], rows: int, width: int) -> None:
        self.groups = group_attention(groups)
        self._rows = rows
        self._width = width
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        self._aimed_rows = slice(0, 0)

    def aim(self, rows: slice, columns: Tensor, seen: slice, mask: Tensor) -> None:
        """Let the next pass be about T new tokens in each of b rows.

        Args:
            columns: [T], where the new tokens go.
            seen: the columns that any of them attends to.
            mask: [b, T, seen], whether a token attends to a column; each must attend to one at least.
        """
        if rows != self._aimed_rows:
            self._aimed_rows, self._aimed_groups = rows, self.groups.of_rows(rows)
        self._columns, self._seen = columns, seen
        self._hidden = ~mask[:, None, None]

    def attend(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        layer = int(module.layer_idx)  # type: ignore[arg-type]
        own_keys, own_values = self._stored(layer, key, value)
        b, heads, length, size = query.shape
        if length > 1 and b == 1 and not self._aimed_groups.groups:
            # The scores of a long prompt alone are better never held; a single row has no padding.
            return causal_attention(module, query, key, value, scaling)
        kv_heads = key.shape[1]
        # Query heads that share a key head are further queries to it.
        queries = query.reshape(b, kv_heads, -1, size)
        scores = scaled_scores(queries, own_keys, scaling).view(b, kv_heads, -1, length, own_keys.shape[2])
        scores = scores.masked_fill_(self._hidden, -torch.inf).flatten(2, 3)
        out, total = weighted(scores, own_values)
        for start, stop, values, of_prefix in self._aimed_groups.parts(layer, queries, scaling):
            share = torch.sigmoid(of_prefix - total[start:stop])
            out[start:stop] = torch.lerp(out[start:stop], values, share)
        return out.to(query.dtype).view(b, heads, length, size).transpose(1, 2)

    def expanded(self, index: Tensor, groups: Sequence[Group], width: int) -> RowKeyValues:
        """The rows at ``index``, some of them several times, each with room for ``width`` columns."""
        wider = RowKeyValues(groups, len(index), width)
        for own, others in ((self._keys, wider._keys), (self._values, wider._values)):
            for tensor in own:
                rows = tensor.new_zeros(len(index), tensor.shape[1], width, tensor.shape[3])
                rows[:, :, : self._width] = tensor[index]
                others.append(rows)
        return wider

    def _stored(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the new tokens' keys and values; return those of all columns in sight."""
        if layer == len(self._keys):
            shape = (self._rows, key.shape[1], self._width, key.shape[3])
            self._keys.append(key.new_zeros(shape))
            self._values.append(value.new_zeros(shape))
        keys, values = self._keys[layer][self._aimed_rows], self._values[layer][self._aimed_rows]
        keys.index_copy_(2, self._columns, key)
        values.index_copy_(2, self._columns, value)
        return keys[:, :, self._seen], values[:, :, self._seen]


def causal_attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """transformers' own SDPA attention, without a mask of its own."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    return sdpa_attention_forward(module, query, key, value, None, scaling=scaling)[0]


def shared_prefix_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    key_values: KeyValues | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface. ``attention_mask`` is not looked at: ``key_values`` know what is seen."""
    assert key_values is not None, "this attention is for passes that bring their keys and values"
    return key_values.attend(module, query, key, value, scaling), None


def forward(model: Any, ids: Tensor, positions: Tensor, key_values: KeyValues) -> Tensor:
    """Logits [b, vocabulary] of the last of the tokens ``ids`` [b, T], which stand at ``positions`` [b, T]."""
    # A 4-d mask is passed through untouched: without it transformers would build one that nobody reads.
    mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=ids.device)
    output = causal_lm(model)(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        use_cache=False,
        logits_to_keep=1,
        key_values=key_values,
    )
    return output.logits[:, -1].float()


def is_supported(model: Any) -> bool:
    """Whether all of the model's layers attend to everything before, in the way that is computed here."""
    config = causal_lm(model).config
    layers = set(getattr(config, "layer_types", None) or ["full_attention"])
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    return config.model_type in FAMILIES and layers == {"full_attention"} and rope in STATIC_ROPE


def register() -> None:
    """Make the attention implementation known to transformers; calling it again changes nothing."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(ATTENTION_NAME, shared_prefix_attention)
    AttentionMaskInterface.register(ATTENTION_NAME, sdpa_mask)
