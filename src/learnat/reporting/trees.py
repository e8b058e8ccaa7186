"""Make one HTML page of the search trees in a trees.jsonl, to look at in any browser."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

from learnat.errors import LearnatError
from learnat.reporting.page import write_page
from learnat.synthesis.tree import Node, SearchTree, read_trees, solved_paths

_NODE_FIELDS = tuple(field.name for field in fields(Node))
_TEXT_FIELDS = ("sub_question", "sql", "pruned_by", "source")


@dataclass
class Counts:
    """What a page shows."""

    trees: int = 0
    solved: int = 0
    nodes: int = 0


def write_tree_page(file: Path, output: Path, limit: int | None = None) -> Counts:
    """Write a page of the first ``limit`` trees in ``file`` (None: all) to ``output``.

    Raises:
        LearnatError: ``file`` cannot be read, holds no tree, or something that is none; ``output`` cannot be written.
    """
    if output.exists() and file.exists() and output.samefile(file):
        raise LearnatError(f"{output} is the tree file itself: name another one for the page.")
    header = {
        "source": f"{file.resolve().parent.name}/{file.name}",
        "limit": limit,
        "node_fields": _NODE_FIELDS,
        "text_fields": _TEXT_FIELDS,
    }
    counts = Counts()
    write_page(output, "trees.html", header, _records(file, limit, counts))
    return counts


def _records(file: Path, limit: int | None, counts: Counts) -> Iterator[dict[str, Any]]:
    for tree in islice(read_trees(file), limit):
        counts.trees += 1
        counts.solved += tree.stats.solved
        counts.nodes += len(tree.nodes)
        yield _record(tree)
    if not counts.trees:
        raise LearnatError(f"{file} holds no finished tree. synthesize.py writes one line a question.")


def _record(tree: SearchTree) -> dict[str, Any]:
    """``tree`` for the page: a node is a list in the order of ``_NODE_FIELDS``, and says texts by their number.

    Branches repeat each other's steps: with each text written once, unpruned trees take a quarter of the space.
    """
    texts: dict[str, int] = {}

    def compact(node: Node) -> list[Any]:
        values = (getattr(node, name) for name in _NODE_FIELDS)
        return [texts.setdefault(value, len(texts)) if isinstance(value, str) else value for value in values]

    return {
        "example_id": tree.example_id,
        "db_id": tree.db_id,
        "question": tree.question,
        "evidence": tree.evidence,
        "gold_sql": tree.gold_sql,
        "stats": asdict(tree.stats),
        "solved_paths": [[node.id for node in path] for path in solved_paths(tree)],
        "nodes": [compact(node) for node in tree.nodes],
        "texts": list(texts),
    }


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of trees: give a whole number from 1")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m learnat.reporting.trees", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="a trees.jsonl, as synthesize.py writes it")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="PAGE.html", help="the page (default: beside FILE, named after it)"
    )
    parser.add_argument("--limit", type=_count, metavar="N", help="only the first N trees")
    options = parser.parse_args(arguments)
    file: Path = options.file
    output: Path = options.output or file.with_suffix(".html")
    try:
        counts = write_tree_page(file, output, options.limit)
    except LearnatError as error:
        print(error, file=sys.stderr)
        return 2
    size = output.stat().st_size / 1e6
    print(f"{output}: {counts.trees} trees ({counts.solved} solved), {counts.nodes} nodes, {size:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
