"""Tree edit distance between canonical queries (Zhang and Shasha 1989), exact, with unit costs.

The kernel is compiled with numba on first use and cached on disk, because a compiled package with the same
speed is GPL. numba is imported only then, so that ``import learnat.sql`` stays fast.
"""

from __future__ import annotations

from sqlglot import exp

from learnat.sql.tree import LabelledTree, labelled_tree

_LABELS: dict[str, int] = {}


def tree_edit_distance(a: exp.Expr, b: exp.Expr) -> int:
    """The least number of node insertions, deletions and relabellings that turn ``a`` into ``b``."""
    return distance(TreeArrays(labelled_tree(a)), TreeArrays(labelled_tree(b)))


def structure(gold_ast: exp.Expr, step_ast: exp.Expr) -> float:
    """``1 - TED / max(|gold|, |step|)``, in [0, 1]; 1 for equal trees.

    A deep and a flat tree can be further apart than either has nodes: that counts as 0.
    """
    return similarity(TreeArrays(labelled_tree(gold_ast)), TreeArrays(labelled_tree(step_ast)))


def similarity(a: TreeArrays, b: TreeArrays) -> float:
    """``structure`` of two prepared trees."""
    return max(0.0, 1.0 - distance(a, b) / max(a.size, b.size))


class TreeArrays:
    """A tree as the compiled kernel reads it: labels as numbers, and subtree sizes, in preorder."""

    def __init__(self, tree: LabelledTree) -> None:
        import numpy as np

        self.size = len(tree)
        self.labels = np.array([_LABELS.setdefault(label, len(_LABELS)) for label in tree.labels], np.int64)
        self.sizes = np.array(tree.sizes, np.int64)


def distance(a: TreeArrays, b: TreeArrays) -> int:
    if not a.size or not b.size:
        return a.size or b.size
    if a.labels.tobytes() == b.labels.tobytes() and a.sizes.tobytes() == b.sizes.tobytes():
        return 0
    from learnat.sql.kernels import tree_distance

    return int(tree_distance(a.labels, a.sizes, b.labels, b.sizes))


def edit_ratio(a: str, b: str) -> float:
    """One minus the Levenshtein distance over the length of the longer text; 1 for equal texts."""
    if a == b:
        return 1.0
    import numpy as np

    from learnat.sql.kernels import text_distance

    left, right = (np.array([ord(letter) for letter in text], np.int64) for text in (a, b))
    return 1.0 - text_distance(left, right) / max(len(a), len(b))
