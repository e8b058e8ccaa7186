"""Milliseconds for one tree edit distance: our compiled kernel beside apted (MIT, pure Python), on the same trees.

    python benchmarks/tree_edit_distance.py

Two shapes: canonical trees of random queries grown to the size, and random trees. Both programs get prepared trees;
where they disagree the benchmark stops. ``make bench ARGS=…`` is for the other benchmarks and ignored here.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

from apted import APTED
from apted.helpers import Tree
from rich.console import Console
from rich.table import Table

from learnat.sql.canonical import canonical_ast
from learnat.sql.similarity import TreeArrays, distance
from learnat.sql.tree import LabelledTree, labelled_tree

SIZES = (50, 100)
PAIRS = 30
PAIRS_OF_APTED = 10
"""apted needs about 500 times as long."""
COLUMNS = [f"{word}_{number}" for word in ("id", "name", "year", "amount", "city") for number in range(3)]


def random_query(choose: random.Random, size: int) -> LabelledTree:
    """A query with joins, filters, subqueries, grouping and order, grown until it has ``size`` nodes or nearly so."""
    columns, tables = choose.sample(COLUMNS, choose.randint(1, 3)), choose.randint(1, 3)
    joins = "".join(f" JOIN t{n} ON t{n}.id_0 = t{n - 1}.id_{n}" for n in range(1, tables))
    start = f"SELECT {', '.join(f't0.{column}' for column in columns)}, COUNT(*) FROM t0{joins} WHERE t0.id_0 > 0"
    end = f"GROUP BY t0.{columns[0]} HAVING COUNT(*) > 1 ORDER BY COUNT(*) DESC LIMIT 1"
    tree = labelled_tree(canonical_ast(f"{start} {end}"))
    for number in range(size // 3):
        longer = f"{start} AND {condition(choose, number)}"
        grown = labelled_tree(canonical_ast(f"{longer} {end}"))
        if len(grown) <= size:
            start, tree = longer, grown
    return tree


def condition(choose: random.Random, number: int) -> str:
    column = f"t0.{choose.choice(COLUMNS)}"
    nested = f"(SELECT s.{choose.choice(COLUMNS)} FROM s JOIN r ON s.id_0 = r.id_1 WHERE r.year_0 > {number})"
    return choose.choice(
        (
            f"{column} > {number}",
            f"{column} LIKE '%{number}%'",
            f"({column} = {number} OR t0.{choose.choice(COLUMNS)} IS NULL)",
            f"{column} IN {nested}",
            f"CAST({column} AS REAL) * 100 / {number + 1} >= {number}",
        )
    )


def random_tree(choose: random.Random, size: int) -> LabelledTree:
    """Each node below one of the few before it, so that the tree is neither a chain nor a star."""
    below: list[list[int]] = [[] for _ in range(size)]
    for node in range(1, size):
        below[choose.randrange(max(0, node - choose.choice((2, 4, size))), node)].append(node)
    labels: list[str] = []
    sizes: list[int] = []

    def visit(node: int) -> None:
        place = len(labels)
        labels.append(choose.choice("abcdefgh"))
        sizes.append(1)
        for child in below[node]:
            visit(child)
        sizes[place] = len(labels) - place

    visit(0)
    return LabelledTree(tuple(labels), tuple(sizes), {})


def apted_tree(tree: LabelledTree) -> Tree:
    """The same tree in apted's own class."""

    def build(place: int) -> Tree:
        return Tree(tree.labels[place], *(build(child) for child in children(place)))

    def children(place: int) -> Iterator[int]:
        child, end = place + 1, place + tree.sizes[place]
        while child < end:
            yield child
            child += tree.sizes[child]

    return build(0)


def timed(function: Callable[[], int]) -> tuple[int, float]:
    started = time.perf_counter()
    value = function()
    return value, (time.perf_counter() - started) * 1_000


def main() -> None:
    table = Table("trees", "nodes", "ours, ms", "apted, ms", title="Tree edit distance, median of a pair")
    for shape, make in (("queries", random_query), ("random", random_tree)):
        for size in SIZES:
            choose = random.Random(size)
            trees = [make(choose, size) for _ in range(PAIRS + 1)]
            arrays = [TreeArrays(tree) for tree in trees]
            distance(arrays[0], arrays[1])  # loads the kernel, or compiles it
            ours = [timed(lambda a=a, b=b: distance(a, b)) for a, b in pairwise(arrays)]
            copies = [apted_tree(tree) for tree in trees[: PAIRS_OF_APTED + 1]]
            theirs = [timed(lambda a=a, b=b: APTED(a, b).compute_edit_distance()) for a, b in pairwise(copies)]
            if [value for value, _ in ours[:PAIRS_OF_APTED]] != [value for value, _ in theirs]:
                raise AssertionError(f"apted finds other distances for {shape} of {size} nodes")
            medians = [statistics.median(ms for _, ms in runs) for runs in (ours, theirs)]
            nodes = statistics.median(len(tree) for tree in trees)
            table.add_row(shape, f"{nodes:.0f}", f"{medians[0]:.3f}", f"{medians[1]:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
