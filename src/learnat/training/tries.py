"""Training items as tries of token sequences: schema → question → steps → sibling steps.

A ``TokenTrie`` holds each shared prefix once. It is what the datamodule hands out; ``batches`` lays tries out as
packed sequences or as plain padded rows, and the losses are the same for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class TrieNode:
    """A piece of text on the way from the root.

    ``parent`` is an index into the trie's nodes, -1 for the root. ``supervised`` nodes get a log-probability;
    ``weight`` is how many chosen paths run through the node: SFT counts each of its tokens so often, as padded
    training of the single paths would. ``reference`` is the node's log-prob under the reference policy, once known.
    """

    parent: int
    ids: tuple[int, ...]
    supervised: bool = False
    weight: float = 0.0
    reference: float | None = None


@dataclass(frozen=True)
class TriePair:
    """A step-level preference between two sibling nodes; ``margin`` is R(chosen) − R(rejected)."""

    chosen: int
    rejected: int
    margin: float


@dataclass(frozen=True)
class TokenTrie:
    """Nodes in depth-first order (a parent before its children, a subtree contiguous), the root first."""

    nodes: tuple[TrieNode, ...]
    pairs: tuple[TriePair, ...] = ()
    questions: int = 1

    def path(self, node: int) -> list[int]:
        """Node indices from the root to ``node``."""
        path = [node]
        while self.nodes[path[-1]].parent >= 0:
            path.append(self.nodes[path[-1]].parent)
        return path[::-1]

    @property
    def leaves(self) -> list[int]:
        parents = {node.parent for node in self.nodes}
        return [i for i in range(len(self.nodes)) if i not in parents]

    @property
    def tokens(self) -> int:
        """Tokens with every shared prefix counted once."""
        return sum(len(node.ids) for node in self.nodes)

    @property
    def longest_path(self) -> int:
        """Tokens of the longest root-to-leaf path: what must fit into the model's context."""
        length = [0] * len(self.nodes)
        for i, node in enumerate(self.nodes):
            length[i] = len(node.ids) + (length[node.parent] if node.parent >= 0 else 0)
        return max(length)

    @property
    def subtree_end(self) -> tuple[int, ...]:
        """For each node the index just past the last node of its subtree."""
        end = list(range(1, len(self.nodes) + 1))
        for i in range(len(self.nodes) - 1, 0, -1):
            parent = self.nodes[i].parent
            end[parent] = max(end[parent], end[i])
        return tuple(end)


def join(tries: Sequence[TokenTrie]) -> TokenTrie:
    """One trie from tries that share their root's tokens (questions of one database).

    Raises ``ValueError`` when the roots differ.
    """
    root = tries[0].nodes[0]
    nodes, pairs = [root], []
    for trie in tries:
        if trie.nodes[0].ids != root.ids:
            raise ValueError("tries with different roots cannot be joined")
        shift = len(nodes) - 1
        nodes += [replace(node, parent=node.parent + shift if node.parent > 0 else 0) for node in trie.nodes[1:]]
        pairs += [replace(pair, chosen=pair.chosen + shift, rejected=pair.rejected + shift) for pair in trie.pairs]
    return TokenTrie(tuple(nodes), tuple(pairs), questions=sum(trie.questions for trie in tries))
