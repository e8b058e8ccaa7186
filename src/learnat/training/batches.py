"""How tries become tensors: packed (each shared prefix once) or padded (one row a root-to-leaf path).

Both layouts name the same supervised tokens: token ``t`` has id ``target[t]``, is predicted at flat position
``source[t]`` (for the first token of a node: its *parent's* last token) and counts towards node ``node[t]``. Everything
after ``node_logprobs`` is therefore one code path; the padded layout is the plain reference that tests compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from learnat.training.attention import Visibility
from learnat.training.segments import Span
from learnat.training.tries import TokenTrie


@dataclass(frozen=True)
class TokenBatch:
    """One forward pass. Shapes: B rows, L positions, T supervised tokens, N nodes, P step pairs."""

    input_ids: Tensor  # [B, L] int64
    position_ids: Tensor  # [B, L] int64, along the path
    attention_mask: Tensor | None  # [B, L] bool (padded layout), True at tokens
    visibility: Visibility | None  # who sees whom (packed layout)
    source: Tensor  # [T] flat index into B·L
    read: Tensor  # [R] the different positions among them, ascending
    target: Tensor  # [T] token ids
    node: Tensor  # [T] index into the N nodes
    node_weight: Tensor  # [N] float32, how many chosen paths run through the node
    chosen: Tensor  # [P] node index
    rejected: Tensor  # [P] node index
    margin: Tensor  # [P] float32, R_w − R_l
    reference: Tensor | None  # [N] float32, the reference policy's node log-probs, where they are known
    tokens: int  # real tokens fed to the model
    logical_tokens: int  # tokens of the same paths laid out one by one, without padding
    questions: int

    @property
    def num_nodes(self) -> int:
        return self.node_weight.shape[0]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> TokenBatch:
        """A copy with all tensors on ``device``."""
        return self._with(lambda part: part.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> TokenBatch:
        """A copy in page-locked memory, from where a GPU fetches it while the host goes on."""
        return self._with(lambda part: part.pin_memory())

    def _with(self, change: Callable[[Any], Any]) -> TokenBatch:
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        changed = {name: change(part) for name, part in parts.items() if isinstance(part, (Tensor, Visibility))}
        return replace(self, **changed)


@dataclass
class _Supervised:
    """Collects supervised tokens and nodes over the tries of a batch."""

    source: list[np.ndarray]
    target: list[np.ndarray]
    node: list[np.ndarray]
    weight: list[float]

    def add_node(self, weight: float) -> int:
        self.weight.append(weight)
        return len(self.weight) - 1

    def add_tokens(self, node: int, source: np.ndarray, target: Sequence[int]) -> None:
        self.source.append(source)
        self.target.append(np.asarray(target))
        self.node.append(np.full(len(target), node))


def make_batch(tries: Sequence[TokenTrie], layout: str, pad_id: int, bucket: int = 1) -> TokenBatch:
    """Lay ``tries`` out as ``layout`` (``packed`` or ``padded``); nodes are numbered in the order of the tries.

    L is rounded up to a multiple of ``bucket`` positions, so that a GPU meets few different lengths.
    """
    collected = _Supervised([], [], [], [])
    # node_of[trie][node]: where a supervised node's log-prob stands in the batch
    node_of = [
        {i: collected.add_node(node.weight) for i, node in enumerate(trie.nodes) if node.supervised} for trie in tries
    ]
    build = {"packed": _packed, "padded": _padded}[layout]
    tensors = build(tries, node_of, collected, pad_id, bucket)
    pairs = [
        (node_of[t][p.chosen], node_of[t][p.rejected], p.margin) for t, trie in enumerate(tries) for p in trie.pairs
    ]
    references = [trie.nodes[i].reference for t, trie in enumerate(tries) for i in node_of[t]]
    known = [reference for reference in references if reference is not None]
    source = np.concatenate(collected.source)
    return TokenBatch(
        **tensors,
        source=_int64(source),
        read=_int64(np.unique(source)),
        target=_int64(np.concatenate(collected.target)),
        node=_int64(np.concatenate(collected.node)),
        node_weight=torch.tensor(collected.weight, dtype=torch.float32),
        chosen=_int64([pair[0] for pair in pairs]),
        rejected=_int64([pair[1] for pair in pairs]),
        margin=torch.tensor([pair[2] for pair in pairs], dtype=torch.float32),
        reference=torch.tensor(known, dtype=torch.float32) if len(known) == len(references) else None,
        logical_tokens=sum(_path_tokens(trie) for trie in tries),
        questions=sum(trie.questions for trie in tries),
    )


def _int64(values: Any) -> Tensor:
    return torch.as_tensor(np.asarray(values, dtype=np.int64))


def _path_tokens(trie: TokenTrie) -> int:
    return sum(len(trie.nodes[i].ids) for leaf in trie.leaves for i in trie.path(leaf))


def _packed(
    tries: Sequence[TokenTrie], node_of: list[dict[int, int]], collected: _Supervised, pad_id: int, bucket: int
) -> dict[str, Any]:
    tokens = sum(trie.tokens for trie in tries)
    length = -(-tokens // bucket) * bucket
    ids, positions = np.full(length, pad_id), np.zeros(length, np.int64)
    # One Euler-tour clock over the whole pack: clocks that restart per trie would leak from trie to trie.
    enter, leave = np.full(length, -1, np.int32), np.full(length, -1, np.int32)
    spans: list[Span] = []
    clock, cursor = 0, 0
    for t, trie in enumerate(tries):
        start, depth = [0] * len(trie.nodes), [0] * len(trie.nodes)
        for i, (node, end) in enumerate(zip(trie.nodes, trie.subtree_end, strict=True)):
            n = len(node.ids)
            start[i], depth[i] = cursor, (depth[node.parent] + len(trie.nodes[node.parent].ids) if i else 0)
            here = slice(cursor, cursor + n)
            ids[here], positions[here] = node.ids, np.arange(depth[i], depth[i] + n)
            enter[here], leave[here] = clock + i, clock + end
            if i in node_of[t]:
                parent_last = start[node.parent] + len(trie.nodes[node.parent].ids) - 1
                source = np.concatenate([[parent_last], np.arange(cursor, cursor + n - 1)])
                collected.add_tokens(node_of[t][i], source, node.ids)
            cursor += n
        root_end = start[0] + len(trie.nodes[0].ids)
        spans.append(Span(start[0], start[0], start[0], root_end))
        for i in (i for i, node in enumerate(trie.nodes) if node.parent == 0):
            after = trie.subtree_end[i]
            end_position = start[after] if after < len(trie.nodes) else cursor
            spans.append(Span(start[0], root_end, start[i], end_position))
        clock += len(trie.nodes)
    return {
        "input_ids": _int64(ids)[None],
        "position_ids": _int64(positions)[None],
        "attention_mask": None,
        "visibility": Visibility(torch.as_tensor(enter), torch.as_tensor(leave), tuple(spans)),
        "tokens": tokens,
    }


def _padded(
    tries: Sequence[TokenTrie], node_of: list[dict[int, int]], collected: _Supervised, pad_id: int, bucket: int
) -> dict[str, Any]:
    paths = [(t, trie.path(leaf)) for t, trie in enumerate(tries) for leaf in trie.leaves]
    lengths = [sum(len(tries[t].nodes[i].ids) for i in path) for t, path in paths]
    width = -(-max(lengths) // bucket) * bucket
    ids = np.full((len(paths), width), pad_id)
    mask = np.zeros((len(paths), width), bool)
    seen: set[int] = set()
    for row, (t, path) in enumerate(paths):
        cursor = 0
        for i in path:
            node = tries[t].nodes[i]
            ids[row, cursor : cursor + len(node.ids)] = node.ids
            index = node_of[t].get(i)
            if index is not None and index not in seen:
                seen.add(index)
                first = row * width + cursor - 1
                collected.add_tokens(index, np.arange(first, first + len(node.ids)), node.ids)
            cursor += len(node.ids)
        mask[row, :cursor] = True
    return {
        "input_ids": _int64(ids),
        "position_ids": _int64(np.tile(np.arange(width), (len(paths), 1))),
        "attention_mask": torch.as_tensor(mask),
        "visibility": None,
        "tokens": sum(lengths),
    }
