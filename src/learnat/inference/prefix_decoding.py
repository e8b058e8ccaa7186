"""Batched decoding in which rows share the keys and values of their prompts' beginnings.

What all questions of a database begin with is computed once, what is left of each distinct prompt once for all its
samples; then all rows are decoded together, whatever they begin with. Texts are those of ``generate.complete`` but for
rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import StopStringCriteria

from learnat.inference.decoding import Row, RowEnds, RowSampler, Watch, go_on
from learnat.inference.engines.base import Completion, Decoding, without_room
from learnat.inference.generate import completion_of, rooms
from learnat.inference.prefix_attention import RowKeyValues, forward
from learnat.inference.prefix_cache import PrefixCache, SharedPrompts, shared_prompts
from learnat.training.logprobs import causal_lm
from learnat.training.models import Policy

SCORES = 2**27
"""Attention scores held at once while prompts are read, at most: half a gigabyte in float32."""

LOOK_EVERY = 4
"""Tokens after which a GPU is asked whether all rows have ended: each time it has to be waited for."""


@torch.inference_mode()
def complete_sharing(
    policy: Policy,
    rows: Sequence[Row],
    decoding: Decoding,
    prefixes: PrefixCache,
    stop: StopStringCriteria | None = None,
    watch: Watch = go_on,
) -> list[Completion]:
    """``generate.complete``, for a model whose attention implementation is ``prefix_attention``'s.

    ``prefixes`` must be of this model's present weights; what the rows begin with is added to it.
    """
    room = rooms(policy, rows, decoding)
    completions = [without_room(len(row.prompt)) for row in rows]
    fitting = [i for i in range(len(rows)) if room[i] > 0]
    if not fitting:
        return completions
    prompts = shared_prompts([rows[i] for i in fitting], prefixes, policy.model)
    places = {ids: place for place, ids in enumerate(prompts.ids)}
    order = sorted(fitting, key=lambda i: places[rows[i].prompt])
    chosen, sources = [rows[i] for i in order], [places[rows[i].prompt] for i in order]
    logits, key_values = read_prompts(policy.model, prompts)
    step = DecodeStep(policy, prompts, key_values, sources, max(room))
    del key_values  # the step has its own
    index = torch.tensor(sources, device=logits.device)
    limits = [room[i] for i in order]
    written, ends = _write(policy, step, logits[index], chosen, limits, decoding, stop, watch)
    computed = dict(enumerate(prompts.computed))
    for i, row, source, tokens, (length, stopped) in zip(order, chosen, sources, written, ends, strict=True):
        # Further samples of a prompt cost no prompt token.
        cached = len(row.prompt) - computed.pop(source, 0)
        completions[i] = completion_of(policy, row, tokens[:length], stopped, cached)
    return completions


def read_prompts(model: object, prompts: SharedPrompts) -> tuple[Tensor, RowKeyValues]:
    """The logits [prompts, vocabulary] after each prompt, and the keys and values of what each has of its own.

    These end in the last of as many columns as the longest has tokens of its own.
    """
    heads, width = causal_lm(model).config.num_attention_heads, max(prompts.own)
    key_values = RowKeyValues(prompts.groups, len(prompts.ids), width)
    # How many keys a token's scores are held of.
    keys = list(map(len, prompts.ids)) if key_values.groups.holds_scores else prompts.own
    portions = _portions(prompts.own, keys, SCORES // heads)
    logits = [_read(model, prompts, key_values, rows, width) for rows in portions]
    return torch.cat(logits), key_values


def _portions(tokens: Sequence[int], keys: Sequence[int], scores: int) -> Iterator[slice]:
    """Neighbouring prompts to be read in one pass: one at least, others while a head has at most ``scores`` scores."""
    start = 0
    while start < len(tokens):
        stop, most_tokens, most_keys = start, 0, 0
        while stop < len(tokens):
            most_tokens, most_keys = max(most_tokens, tokens[stop]), max(most_keys, keys[stop])
            if stop > start and (stop + 1 - start) * most_tokens * most_keys > scores:
                break
            stop += 1
        yield slice(start, stop)
        start = stop


def _read(model: object, prompts: SharedPrompts, key_values: RowKeyValues, rows: slice, width: int) -> Tensor:
    own, shared = prompts.own[rows], prompts.shared[rows]
    length = max(own)
    tokens = torch.zeros(len(own), length, dtype=torch.long)
    for row, ids, count in zip(tokens, prompts.ids[rows], own, strict=True):
        row[length - count :] = torch.tensor(ids[len(ids) - count :])
    device = causal_lm(model).device
    column = torch.arange(length, device=device)
    first = length - torch.tensor(own, device=device)[:, None]
    positions = (torch.tensor(shared, device=device)[:, None] + column - first).clamp(min=0)
    causal = column <= column[:, None]
    # What pads a row attends to itself, so that its attention is a number.
    mask = (causal & (column >= first)[:, None]) | torch.eye(length, dtype=torch.bool, device=device)
    key_values.aim(rows, width - length + column, slice(width - length, width), mask)
    return forward(model, tokens.to(device), positions, key_values)


def can_capture(policy: Policy) -> bool:
    """Whether a step can be a CUDA graph: int8 layers look at activations' values, which a graph cannot."""
    return policy.model.device.type == "cuda" and policy.quantization != "int8"


class DecodeStep:
    """One token further in all rows. On a GPU a step is captured once as a CUDA graph: its launches take longer than
    its work.

    Args:
        sources: which of ``prompts`` each row goes on with, in ascending order.
        steps: tokens that a row may get, at most.
    """

    def __init__(
        self, policy: Policy, prompts: SharedPrompts, key_values: RowKeyValues, sources: Sequence[int], steps: int
    ) -> None:
        device, width = policy.model.device, max(prompts.own)
        index = torch.tensor(sources, device=device)
        self._model = policy.model
        self._prompts = prompts
        self._sources = list(sources)
        self._rows = len(sources)
        self._alive = torch.arange(len(sources), device=device)
        self._key_values = key_values.expanded(index, prompts.groups_of_rows(sources), width + steps)
        self._tokens = torch.zeros(len(sources), 1, dtype=torch.long, device=device)
        self._positions = torch.tensor([[len(prompts.ids[source])] for source in sources], device=device)
        self._first = torch.tensor([[width - prompts.own[source]] for source in sources], device=device)
        self._columns = torch.arange(width + steps, device=device)
        self._column = torch.tensor([width], device=device)
        self._used = width
        self._captures = can_capture(policy)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._logits = torch.empty(0)

    def __call__(self, tokens: Tensor) -> Tensor:
        """Logits [rows, vocabulary] after ``tokens`` [rows]; valid until the next call."""
        self._tokens.copy_(tokens[self._alive, None])
        self._used += 1
        if self._captures:
            self._replay()
        else:
            self._logits = self._forward(slice(0, self._used))
        self._positions += 1
        self._column += 1
        if len(self._alive) == self._rows:
            return self._logits
        return self._logits.new_zeros(self._rows, self._logits.shape[1]).index_copy_(0, self._alive, self._logits)

    def drop(self, ended: Tensor) -> None:
        """Compute rows that have ended [rows] no further, once they are half of those computed; their logits are 0.

        Not where steps are captured: a GPU's step takes about as long for few rows, and a new graph takes longer.
        """
        if self._captures:
            return
        kept = (~ended[self._alive]).nonzero()[:, 0]
        if 2 * len(kept) <= len(self._alive):
            self._sources = [self._sources[i] for i in kept.tolist()]
            groups = self._prompts.groups_of_rows(self._sources)
            self._key_values = self._key_values.expanded(kept, groups, len(self._columns))
            self._tokens, self._positions, self._first = (
                of_rows[kept] for of_rows in (self._tokens, self._positions, self._first)
            )
            self._alive = self._alive[kept]

    def _forward(self, seen: slice) -> Tensor:
        columns = self._columns[seen]
        mask = (columns >= self._first) & (columns <= self._column)
        self._key_values.aim(slice(0, len(self._tokens)), self._column, seen, mask[:, None])
        return forward(self._model, self._tokens, self._positions, self._key_values)

    def _forward_everywhere(self) -> Tensor:
        """With the same shapes at every step, as a graph needs: columns that are not there yet are masked."""
        return self._forward(slice(0, len(self._columns)))

    def _replay(self) -> None:
        if self._graph is None:
            # Libraries allocate and choose kernels at their first call, which must not be captured.
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                self._forward_everywhere()
            torch.cuda.current_stream().wait_stream(aside)
            self._graph = torch.cuda.CUDAGraph()
            # Other threads, such as a loader's, may use the GPU meanwhile.
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._logits = self._forward_everywhere()
        self._graph.replay()


def _write(
    policy: Policy,
    step: DecodeStep,
    logits: Tensor,
    rows: Sequence[Row],
    room: Sequence[int],
    decoding: Decoding,
    stop: StopStringCriteria | None,
    watch: Watch,
) -> tuple[list[list[int]], list[tuple[int, bool]]]:
    """Tokens of all rows, padded behind their ends, and what ``RowEnds.lengths`` says of them."""
    device, steps = logits.device, max(room)
    end_tokens = torch.tensor(sorted(policy.end_tokens), device=device)
    sampler = RowSampler(rows, decoding, steps, device) if any(row.seed is not None for row in rows) else None
    row_ends = RowEnds(0, room, stop, watch, device)
    written = torch.full((len(rows), steps), policy.tokenizer.pad_token_id, device=device)
    ended = torch.zeros(len(rows), dtype=torch.bool, device=device)
    every = LOOK_EVERY if device.type == "cuda" else 1
    for i in range(steps):
        if sampler is not None:
            logits = sampler(written[:, :i], logits)
        tokens = logits.argmax(-1).masked_fill(ended, policy.tokenizer.pad_token_id)
        written[:, i] = tokens
        ended |= torch.isin(tokens, end_tokens) | row_ends(written[:, : i + 1], logits)
        if i + 1 == steps or ((i + 1) % every == 0 and ended.all()):
            break
        step.drop(ended)
        logits = step(tokens)
    return written.tolist(), row_ends.lengths()
