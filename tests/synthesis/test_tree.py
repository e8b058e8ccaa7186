"""trees.jsonl: what is written is read back, a torn last line is no loss, anything else wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from learnat.errors import LearnatError
from learnat.synthesis.store import TreeStore
from learnat.synthesis.tree import (
    Node,
    SearchTree,
    TreeStats,
    children,
    path_to,
    read_trees,
    solved_paths,
    tree_from_json,
    tree_to_json,
)


def node(id: int, parent: int, included: bool = True, final: bool = False, pruned_by: str | None = None) -> Node:
    return Node(id, parent, f"q{id}", f"SELECT {id}", included, final, pruned_by, 0.5, 0.25, 1, 0.5, "ast")


def tree(example_id: str = "train/0", *nodes: Node) -> SearchTree:
    stats = TreeStats(True, 2, 3, 3, 0, 0, 0, 0.01)
    return SearchTree(1, example_id, "music", "Où?", "", "SELECT 1", nodes, stats)


BRANCHING = tree(
    "train/0",
    node(1, 0),
    node(2, 0, included=False, pruned_by="included"),
    node(3, 1, final=True),
    node(4, 0, final=True),
)


def test_a_tree_survives_the_round_trip() -> None:
    line = tree_to_json(BRANCHING)
    assert "\n" not in line
    assert tree_from_json(line) == BRANCHING


def test_children_and_paths() -> None:
    assert [n.id for n in children(BRANCHING)] == [1, 2, 4]
    assert [n.id for n in path_to(BRANCHING, 3)] == [1, 3]
    assert path_to(BRANCHING, 0) == []


def test_solved_paths_are_right_to_the_end_and_shortest_first() -> None:
    assert [[n.id for n in path] for path in solved_paths(BRANCHING)] == [[4], [1, 3]]
    wrong_prefix = tree("x", node(1, 0, included=False), node(2, 1, final=True))
    pruned = tree("x", node(1, 0, final=True, pruned_by="runs"))
    assert solved_paths(wrong_prefix) == solved_paths(pruned) == []


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"version": 2}',
        tree_to_json(BRANCHING).replace('"visits"', '"visitors"'),
        tree_to_json(BRANCHING).replace('"included": true', '"included": 1', 1),
        tree_to_json(BRANCHING).replace('"parent": 0', '"parent": 2', 1),
        tree_to_json(BRANCHING).replace('"id": 2', '"id": 1', 1),
    ],
    ids=range(8),
)
def test_a_corrupt_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "trees.jsonl"
    path.write_text(tree_to_json(BRANCHING) + "\n" + line + "\n" + tree_to_json(BRANCHING) + "\n")
    with pytest.raises(LearnatError, match=r"trees\.jsonl:2: "):
        list(read_trees(path))


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n\x00", b"{}\n", b"[1]\n", b"index,sql\n", b"[" * 100_000 + b"\n"]
)
def test_a_file_of_another_kind_is_no_tree_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trees.jsonl"
    path.write_bytes(content)
    with pytest.raises(LearnatError, match=rf"^{path} is no tree file: .* Give a trees\.jsonl"):
        list(read_trees(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LearnatError, match="nowhere"):
        list(read_trees(tmp_path / "nowhere.jsonl"))


SETTINGS = '{"seed": 1}'


def test_a_torn_last_line_is_passed_over_and_cut_off(tmp_path: Path) -> None:
    line = tree_to_json(BRANCHING)
    for cut in (1, len(line) // 2, len(line.encode())):
        with TreeStore(tmp_path, SETTINGS) as store:
            store.path.write_bytes(line.encode() + b"\n" + line.encode()[:cut])
        assert len(list(read_trees(store.path))) == 1
        with TreeStore(tmp_path, SETTINGS) as store:
            assert store.done == {"train/0"}
            store.append(tree("train/1"))
        assert [t.example_id for t in read_trees(store.path)] == ["train/0", "train/1"]


def test_other_settings_are_refused(tmp_path: Path) -> None:
    with TreeStore(tmp_path, SETTINGS) as store:
        store.append(BRANCHING)
    with pytest.raises(LearnatError, match="other settings: seed"):
        TreeStore(tmp_path, '{"seed": 2}')
    store.path.unlink()
    with TreeStore(tmp_path, '{"seed": 2}') as store:
        assert store.done == set()


def test_sorting_keeps_every_tree_and_appending_goes_on(tmp_path: Path) -> None:
    with TreeStore(tmp_path, SETTINGS) as store:
        for example_id in ("b", "c", "a"):
            store.append(tree(example_id))
        store.sort(["a", "b", "c"])
        store.append(tree("d"))
    assert [t.example_id for t in read_trees(store.path)] == ["a", "b", "c", "d"]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with TreeStore(tmp_path, SETTINGS), pytest.raises(LearnatError, match="another synthesis writes here"):
        TreeStore(tmp_path, SETTINGS)
    TreeStore(tmp_path, SETTINGS).__exit__(None, None, None)


def test_sorting_keeps_one_tree_of_each_question(tmp_path: Path) -> None:
    with TreeStore(tmp_path, SETTINGS) as store:
        for example_id in ("b", "x", "a", "b", "x"):
            store.append(tree(example_id))
        store.sort(["a", "b"])
    assert [t.example_id for t in read_trees(store.path)] == ["a", "b", "x"]


def test_trees_of_unknown_settings_are_not_adopted(tmp_path: Path) -> None:
    with TreeStore(tmp_path, SETTINGS) as store:
        store.append(BRANCHING)
    (tmp_path / "trees.settings.json").unlink()
    with pytest.raises(LearnatError, match=r"trees\.settings\.json"):
        TreeStore(tmp_path, SETTINGS)


def test_a_schema_that_changed_is_refused_and_a_new_one_is_welcome(tmp_path: Path) -> None:
    with TreeStore(tmp_path, '{"schemas": {"shop": "1"}}') as store:
        store.append(BRANCHING)
    with TreeStore(tmp_path, '{"schemas": {"farm": "1"}}') as store:
        assert store.done == {"train/0"}
    for changed in ("shop", "farm"):
        with pytest.raises(LearnatError, match=f"schema of {changed}"):
            TreeStore(tmp_path, f'{{"schemas": {{"{changed}": "2"}}}}')
