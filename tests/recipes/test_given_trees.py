"""``train.py trees=FILE``: only trees of the training questions are learned from, and a changed file is noticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from learnat.benchmarks.generated import GeneratedBenchmark
from learnat.errors import LearnatError
from learnat.recipes.given_trees import check_trees, trees_record
from learnat.synthesis.decompositions import content_digest
from learnat.synthesis.tree import SearchTree, TreeStats, tree_to_json

QUESTIONS = 6


@pytest.fixture(scope="module")
def benchmark_of_six(tmp_path_factory: pytest.TempPathFactory) -> GeneratedBenchmark:
    cache = tmp_path_factory.mktemp("cache")
    return GeneratedBenchmark(
        cache_dir=cache, num_databases=2, num_unseen_databases=1, train_questions=24, dev_questions=6, limit=QUESTIONS
    )


def write(path: Path, benchmark: GeneratedBenchmark, edit: Callable[[dict[str, Any]], object] = lambda _: None) -> Path:
    """A tree without nodes for each training question, the third edited; every second one counts as solved."""
    lines = []
    for index, example in enumerate(benchmark.examples("train")):
        stats = TreeStats(index % 2 == 0, 0, 0, 0, 0, 0, 0, 0.0)
        tree = SearchTree(
            1, example.example_id, example.db_id, example.question, example.evidence, example.gold_sql, (), stats
        )
        record = json.loads(tree_to_json(tree))
        if index == 2:
            edit(record)
        lines.append(json.dumps(record) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_trees_of_the_training_questions_are_counted(benchmark_of_six: GeneratedBenchmark, tmp_path: Path) -> None:
    path = write(tmp_path / "trees.jsonl", benchmark_of_six)
    assert check_trees(path, benchmark_of_six, "train") == f"trees: 6 of 6 questions, 3 solved, from {path}"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:4]))
    assert check_trees(path, benchmark_of_six, "train").startswith("trees: 4 of 6 questions, 2 solved")


def test_trees_of_questions_that_are_left_out_are_no_mistake(
    benchmark_of_six: GeneratedBenchmark, tmp_path: Path
) -> None:
    path = write(tmp_path / "trees.jsonl", benchmark_of_six)
    fewer = GeneratedBenchmark(benchmark_of_six.root, limit=2)
    assert check_trees(path, fewer, "train").startswith("trees: 2 of 2 questions")


@pytest.mark.parametrize(("key", "name"), [("question", "question"), ("gold_sql", "gold SQL"), ("db_id", "database")])
def test_trees_about_other_questions_are_refused(
    benchmark_of_six: GeneratedBenchmark, tmp_path: Path, key: str, name: str
) -> None:
    path = write(tmp_path / "trees.jsonl", benchmark_of_six, lambda record: record.update({key: "other"}))
    with pytest.raises(LearnatError, match=rf"trees={path} is about other .*: the {name} of train/2 is 'other' there"):
        check_trees(path, benchmark_of_six, "train")


def test_a_file_without_trees_of_the_split_is_refused(benchmark_of_six: GeneratedBenchmark, tmp_path: Path) -> None:
    path = write(tmp_path / "trees.jsonl", benchmark_of_six)
    with pytest.raises(LearnatError, match=r"no tree of a question of split dev_seen of generated \(dev_seen/0"):
        check_trees(path, benchmark_of_six, "dev_seen")
    path.write_text("")
    with pytest.raises(LearnatError, match="no tree of a question of split train of generated"):
        check_trees(path, benchmark_of_six, "train")


def test_a_question_that_is_there_twice_is_refused(benchmark_of_six: GeneratedBenchmark, tmp_path: Path) -> None:
    path = write(tmp_path / "trees.jsonl", benchmark_of_six)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[4]]))
    with pytest.raises(LearnatError, match=rf"trees={path} holds questions twice \(train/4\)\. Keep one line of each"):
        check_trees(path, benchmark_of_six, "train")
    assert check_trees(path, GeneratedBenchmark(benchmark_of_six.root, limit=2), "train").startswith("trees: 2 of 2")


@pytest.mark.parametrize("content", [b"{", b"\xff"])
def test_damaged_settings_are_one_message(benchmark_of_six: GeneratedBenchmark, tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "trees.jsonl", benchmark_of_six)
    (tmp_path / "trees.settings.json").write_bytes(content)
    with pytest.raises(LearnatError, match=rf"{tmp_path / 'trees.settings.json'}, which says .* cannot be read"):
        trees_record(path)


@pytest.mark.parametrize("name", ["nowhere.jsonl", "."])
def test_a_file_that_is_not_there_is_named(benchmark_of_six: GeneratedBenchmark, tmp_path: Path, name: str) -> None:
    with pytest.raises(LearnatError, match=f"{tmp_path / name}: no tree file can be read there"):
        check_trees(tmp_path / name, benchmark_of_six, "train")


def test_the_record_has_content_and_settings(benchmark_of_six: GeneratedBenchmark, tmp_path: Path) -> None:
    path = write(tmp_path / "trees.jsonl", benchmark_of_six)
    assert trees_record(path) == {"path": str(path), "digest": content_digest(path), "settings": None}
    (tmp_path / "trees.settings.json").write_text('{"seed": 1}')
    assert trees_record(path)["settings"] == {"seed": 1}
    before = content_digest(path)
    path.write_text(path.read_text().rstrip("\n"))
    assert content_digest(path) != before
