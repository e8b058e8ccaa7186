"""Tree edit distance against a brute-force definition, against apted, and on real queries."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learnat.sql import Schema
from learnat.sql.canonical import canonical_ast
from learnat.sql.similarity import TreeArrays, distance, edit_ratio, similarity, structure, tree_edit_distance
from learnat.sql.tree import LabelledTree, labelled_tree

from .conftest import read_cases

Forest = tuple["Node", ...]
Node = tuple[str, Forest]


def brute_force(left: Forest, right: Forest) -> int:
    """The textbook recursion on forests, without any of the algorithm's shortcuts."""
    return _distance(left, right)


@cache
def _distance(left: Forest, right: Forest) -> int:
    if not left:
        return sum(map(_size, right))
    if not right:
        return sum(map(_size, left))
    (label_a, below_a), (label_b, below_b) = left[-1], right[-1]
    return min(
        _distance(left[:-1] + below_a, right) + 1,
        _distance(left, right[:-1] + below_b) + 1,
        _distance(below_a, below_b) + _distance(left[:-1], right[:-1]) + (label_a != label_b),
    )


def _size(node: Node) -> int:
    return 1 + sum(map(_size, node[1]))


def random_tree(choose: random.Random, size: int) -> Node:
    parents = [choose.randrange(max(0, n - choose.choice((2, 4, 50))), n) for n in range(1, size)]
    labels = [choose.choice("abc") for _ in range(size)]

    def build(place: int) -> Node:
        return labels[place], tuple(build(n + 1) for n, parent in enumerate(parents) if parent == place)

    return build(0)


def as_tree(node: Node) -> LabelledTree:
    labels: list[str] = []
    sizes: list[int] = []

    def visit(current: Node) -> None:
        place = len(labels)
        labels.append(current[0])
        sizes.append(1)
        for child in current[1]:
            visit(child)
        sizes[place] = len(labels) - place

    visit(node)
    return LabelledTree(tuple(labels), tuple(sizes), {})


def our_distance(left: Node, right: Node) -> int:
    return distance(TreeArrays(as_tree(left)), TreeArrays(as_tree(right)))


def test_equals_brute_force_on_2000_pairs() -> None:
    choose = random.Random(0)
    for _ in range(2_000):
        left, right = (random_tree(choose, choose.randint(1, 9)) for _ in range(2))
        assert our_distance(left, right) == brute_force((left,), (right,)), (left, right)


def test_equals_apted_on_larger_trees() -> None:
    apted = pytest.importorskip("apted")
    helpers = pytest.importorskip("apted.helpers")
    choose = random.Random(1)

    def brackets(node: Node) -> str:
        return "{" + node[0] + "".join(map(brackets, node[1])) + "}"

    for _ in range(60):
        left, right = (random_tree(choose, choose.randint(10, 60)) for _ in range(2))
        theirs = apted.APTED(
            *(helpers.Tree.from_text(brackets(tree)) for tree in (left, right))
        ).compute_edit_distance()
        assert our_distance(left, right) == theirs


@given(st.randoms(use_true_random=False), st.lists(st.integers(1, 14), min_size=3, max_size=3))
@settings(max_examples=100, deadline=None)
def test_is_a_metric(choose: random.Random, sizes: list[int]) -> None:
    a, b, c = (random_tree(choose, size) for size in sizes)
    assert our_distance(a, a) == 0
    assert our_distance(a, b) == our_distance(b, a)
    assert our_distance(a, c) <= our_distance(a, b) + our_distance(b, c)
    assert abs(_size(a) - _size(b)) <= our_distance(a, b) < _size(a) + _size(b)


def mirror(node: Node) -> Node:
    return node[0], tuple(mirror(child) for child in reversed(node[1]))


@given(st.randoms(use_true_random=False), st.lists(st.integers(1, 60), min_size=2, max_size=2))
@settings(max_examples=200, deadline=None)
def test_reading_both_trees_backwards_changes_nothing(choose: random.Random, sizes: list[int]) -> None:
    """The kernel follows leftmost or rightmost paths, whichever is less work: both must find the same."""
    a, b = (random_tree(choose, size) for size in sizes)
    assert our_distance(a, b) == our_distance(mirror(a), mirror(b))


def test_structure_of_a_deep_and_a_flat_tree_is_not_negative() -> None:
    deep: Node = ("a", (("b", (("c", (("d", (("e", ()),)),)),)),))
    flat: Node = ("v", tuple((label, ()) for label in "wxyz"))
    assert our_distance(deep, flat) > 5
    assert similarity(TreeArrays(as_tree(deep)), TreeArrays(as_tree(flat))) == 0.0


def test_distance_of_queries_counts_nodes(fixture_schema: Schema) -> None:
    base = canonical_ast("SELECT name FROM singer WHERE age > 5", fixture_schema)
    relabelled = canonical_ast("SELECT name FROM singer WHERE age > 6", fixture_schema)
    wider = canonical_ast("SELECT name, country FROM singer WHERE age > 5 AND country = 'x'", fixture_schema)
    assert tree_edit_distance(base, base) == 0
    assert tree_edit_distance(base, relabelled) == 1
    assert tree_edit_distance(base, wider) == 4
    assert structure(base, base) == 1.0
    assert structure(base, relabelled) == pytest.approx(1 - 1 / len(labelled_tree(base)))


def test_a_tree_has_one_node_for_each_thing_a_reader_names(fixture_schema: Schema) -> None:
    ast = canonical_ast("SELECT s.name FROM singer AS s WHERE (s.age > 5) AND s.country = 'x'", fixture_schema)
    assert labelled_tree(ast).labels == (
        *("Select", "singer.name", "table singer", "Where"),
        *("EQ", "singer.country", "'x'", "GT", "singer.age", "5"),
    )


@pytest.mark.parametrize("case", read_cases("inclusion.txt", "gold")[:80], ids=lambda case: case.sql[:50])
def test_structure_is_a_share(case: object, fixture_schema: Schema) -> None:
    gold = canonical_ast(case.head, fixture_schema)  # type: ignore[attr-defined]
    step = canonical_ast(case.sql, fixture_schema)  # type: ignore[attr-defined]
    assert 0.0 <= structure(gold, step) <= 1.0
    assert structure(gold, step) == structure(step, gold)


@pytest.mark.parametrize(
    ("a", "b", "ratio"),
    [("", "", 1.0), ("abc", "abc", 1.0), ("kitten", "sitting", 1 - 3 / 7), ("", "ab", 0.0), ("größe", "grösse", 4 / 6)],
)
def test_edit_ratio(a: str, b: str, ratio: float) -> None:
    assert edit_ratio(a, b) == pytest.approx(ratio)


@pytest.mark.parametrize("damage", ["emptied index", "no folder"])
def test_the_kernels_compile_where_the_cache_is_of_no_use(damage: str, tmp_path: Path) -> None:
    """A full disk leaves an empty index behind, which must not stop every later process."""
    folder = tmp_path / "cache"
    if damage == "no folder":
        folder.write_text("a file where the folder should be")
    command = [sys.executable, "-c", _SECOND_COMPILATION, damage]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["3", "3"]


_SECOND_COMPILATION = """
import os, sys
from pathlib import Path
import numpy as np
from learnat.sql import kernels

def distance(function):
    kitten, sitting = (np.array([ord(letter) for letter in word]) for word in ("kitten", "sitting"))
    return function(kitten, sitting)

print(distance(kernels.text_distance))
if sys.argv[1] == "emptied index":
    indices = list(Path(os.environ["NUMBA_CACHE_DIR"]).rglob("*.nbi"))
    assert indices
    for index in indices:
        index.write_bytes(b"")
print(distance(kernels._compiled(kernels._text_distance, 2)))
"""
