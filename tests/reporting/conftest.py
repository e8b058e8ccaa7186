"""Small trees of every kind, with texts that would break a page that trusted them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from learnat.synthesis.tree import Node, SearchTree, TreeStats, tree_to_json

HOSTILE = "</script><!--<script>alert('1')</script><img src=x onerror=alert(2)> & &lt; \u2028 \x00 Straße 東京 \\u003c"


def node(id: int, parent: int, sql: str, pruned_by: str | None = None, right: bool = True, final: bool = False) -> Node:
    source = "ast" if right else "mutation:value"
    return Node(id, parent, f"sub-question {id}", sql, right, final, pruned_by, 0.75, 0.5, 3, 0.625, source)


def tree(example_id: str, db_id: str, question: str, solved: bool, nodes: Sequence[Node] = ()) -> SearchTree:
    stats = TreeStats(solved, 2, 4, 5, 1200, 34, 1, 0.25, 1, {"not JSON": 2})
    return SearchTree(1, example_id, db_id, question, "gender = 'F'", "SELECT gold FROM t", tuple(nodes), stats)


TREES = (
    tree(
        "dev/0",
        "music",
        "How many singers?",
        True,
        [
            node(1, 0, "SELECT first"),
            node(2, 0, "SELECT wrong", pruned_by="included", right=False),
            node(3, 0, "SELECT slow", pruned_by="runs", right=False),
            node(4, 1, "SELECT last", final=True),
            node(5, 1, "SELECT mistaken", right=False),
            node(6, 5, "SELECT late", final=True),
        ],
    ),
    tree("dev/1", "pets", f"Question {HOSTILE}", False, [node(1, 0, f"SELECT {HOSTILE}", right=False)]),
    tree("dev/2", "pets", "Nothing was proposed?", False),
    tree("dev/3", "music", "Who sang?", True, [node(1, 0, "SELECT last", final=True)]),
)


@pytest.fixture
def tree_file(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "trees.jsonl"
    path.parent.mkdir()
    path.write_text("".join(tree_to_json(tree) + "\n" for tree in TREES), encoding="utf-8")
    return path
