"""Tree edit distance between canonical queries (Zhang and Shasha 1989), exact, with unit costs.

The kernel is compiled with numba on first use and cached on disk, because a compiled package with the same
speed is GPL. numba is imported only then, so that ``import learnat.sql`` stays fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from learnat.sql.tree import LabelledTree, labelled_tree

if TYPE_CHECKING:
    import numpy as np

_LABELS: dict[str, int] = {}


def tree_edit_distance(a: exp.Expr, b: exp.Expr) -> int:
    """The least number of node insertions, deletions and relabellings that turn ``a`` into ``b``."""
    return distance(Postorder(labelled_tree(a)), Postorder(labelled_tree(b)))


def structure(gold_ast: exp.Expr, step_ast: exp.Expr) -> float:
    """``1 - TED / max(|gold|, |step|)``, in [0, 1]; 1 for equal trees.

    A deep and a flat tree can be further apart than either has nodes: that counts as 0.
    """
    return similarity(Postorder(labelled_tree(gold_ast)), Postorder(labelled_tree(step_ast)))


def similarity(a: Postorder, b: Postorder) -> float:
    """``structure`` of two prepared trees."""
    return max(0.0, 1.0 - distance(a, b) / max(a.size, b.size))


class Postorder:
    """What the algorithm needs of a tree: labels, leftmost leaves and keyroots, numbered in postorder."""

    def __init__(self, tree: LabelledTree) -> None:
        import numpy as np

        size = len(tree)
        labels, leftmost = np.empty(size, np.int64), np.empty(size, np.int64)
        # Preorder with subtree sizes to postorder: a node comes after all below it, before those right of it.
        count = 0
        stack: list[tuple[int, int]] = []
        for place in range(size):
            while stack and place >= stack[-1][0] + tree.sizes[stack[-1][0]]:
                count = self._close(stack, labels, leftmost, tree, count)
            stack.append((place, count))
        while stack:
            count = self._close(stack, labels, leftmost, tree, count)
        last: dict[int, int] = {}
        for node, leaf in enumerate(leftmost.tolist()):
            last[leaf] = node
        self.size = size
        self.labels = labels
        self.leftmost = leftmost
        self.keyroots = np.array(sorted(last.values()), np.int64)

    @staticmethod
    def _close(
        stack: list[tuple[int, int]],
        labels: np.ndarray[Any, Any],
        leftmost: np.ndarray[Any, Any],
        tree: LabelledTree,
        count: int,
    ) -> int:
        place, first = stack.pop()
        labels[count] = _LABELS.setdefault(tree.labels[place], len(_LABELS))
        leftmost[count] = first
        return count + 1


def distance(a: Postorder, b: Postorder) -> int:
    if not a.size or not b.size:
        return a.size or b.size
    from learnat.sql.kernels import tree_distance

    return int(tree_distance(a.labels, a.leftmost, a.keyroots, b.labels, b.leftmost, b.keyroots))


def edit_ratio(a: str, b: str) -> float:
    """One minus the Levenshtein distance over the length of the longer text; 1 for equal texts."""
    if a == b:
        return 1.0
    import numpy as np

    from learnat.sql.kernels import text_distance

    left, right = (np.array([ord(letter) for letter in text], np.int64) for text in (a, b))
    return 1.0 - text_distance(left, right) / max(len(a), len(b))
