"""Demonstrations: solved questions of a similar shape are shown, and never the answer to the question asked."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from learnat.benchmarks.spider import SpiderBenchmark
from learnat.benchmarks.types import Example
from learnat.errors import LearnatError
from learnat.sql.schema import Schema
from learnat.synthesis.demonstrations import Demonstration, DemonstrationPool, MaskedQuestionPool
from learnat.synthesis.masking import mask_query
from learnat.synthesis.settings import describe
from learnat.synthesis.tree import Node, SearchTree, Step, TreeStats, tree_to_json
from tests.synthesis.conftest import SCHEMA

STATS = TreeStats(True, 1, 1, 1, 0, 0, 0, 0.0)
ASKED = Example(7, "train/7", "train", "music", "How many singers are there?", "", "SELECT count(*) FROM singer")


def node(number: int, sql: str, parent: int = 0, *, final: bool = True, pruned_by: str | None = None) -> Node:
    return Node(number, parent, f"Step {number}?", sql, True, final, pruned_by, 1.0, 1.0, 1, 1.0, "ast")


def tree(number: int, question: str, *sql: str, db_id: str = "zoo") -> SearchTree:
    """A solved tree whose only path has the steps ``sql``."""
    nodes = tuple(node(i + 1, text, i, final=text is sql[-1]) for i, text in enumerate(sql))
    return SearchTree(1, f"train/{number}", db_id, question, "", sql[-1], nodes, STATS)


def questions(pool: DemonstrationPool, example: Example = ASKED, schema: Schema = SCHEMA) -> list[str]:
    return [demonstration.question for demonstration in pool.similar(example, schema)]


def pool_of(*trees: SearchTree, **settings: bool | int) -> MaskedQuestionPool:
    pool = MaskedQuestionPool(**settings)  # type: ignore[arg-type]
    pool.add(trees)
    return pool


LIONS = tree(1, "How many lions are there?", "SELECT count(*) FROM lion")
OLD = tree(
    2, "Names of keepers older than the average?", "SELECT name FROM keeper WHERE age > (SELECT avg(age) FROM k)"
)
CAGES = tree(3, "Which cages hold each lion?", "SELECT id FROM lion", "SELECT cage, lion FROM cages GROUP BY lion")


def test_the_nearest_shape_stands_last() -> None:
    pool = pool_of(LIONS, CAGES, OLD)
    shown = pool.similar(ASKED, SCHEMA)
    assert [demonstration.question for demonstration in shown][-1] == LIONS.question and len(shown) == 3
    average = replace(ASKED, question="Names of singers older than the average?", gold_sql="SELECT 1")
    assert questions(pool, average)[-1] == OLD.question
    assert shown[-1] == Demonstration(LIONS.question, "", (Step("Step 1?", "SELECT count(*) FROM lion"),))
    assert len(pool_of(LIONS, CAGES, OLD, size=2).similar(ASKED, SCHEMA)) == 2
    assert MaskedQuestionPool().similar(ASKED, SCHEMA) == []


def test_the_shortest_verified_path_of_solved_trees_joins() -> None:
    nodes = (
        node(1, "SELECT id FROM lion", final=False),
        node(2, "SELECT count(*) FROM lion", parent=1),
        node(3, "SELECT name FROM lion", pruned_by="included", final=False),
        node(4, "SELECT count(id) FROM lion"),
    )
    unsolved = replace(OLD, nodes=(replace(OLD.nodes[0], final=False),))
    pool = pool_of(replace(LIONS, nodes=nodes), unsolved, replace(CAGES, nodes=()))
    (shown,) = pool.similar(ASKED, SCHEMA)
    assert shown.steps == (Step("Step 4?", "SELECT count(id) FROM lion"),)


def test_the_answer_asked_for_is_never_shown() -> None:
    counted = "SELECT count(*) FROM singer"
    itself = tree(7, "Number of singers", "SELECT count(singer_id) FROM singer", db_id="music")
    same_text = tree(8, "how many  Singers are there?", "SELECT count(DISTINCT singer_id) FROM singer", db_id="band")
    same_gold = tree(9, "How many people sing?", counted.replace("FROM", "from\n") + " ;", db_id="band")
    same_canonical = tree(10, "How many sing?", "SELECT count(*) FROM singer AS s", db_id="music")
    gold_only = replace(tree(11, "How many voices?", "SELECT count(x) FROM voice"), gold_sql=counted)
    assert questions(pool_of(itself, same_text, same_gold, same_canonical, gold_only)) == []
    assert questions(pool_of(replace(itself, db_id=""), replace(same_canonical, db_id=""))) == []
    # The same words elsewhere, and other values in the same query, are no answer to this question.
    other_id = replace(itself, example_id="dev/7", db_id="band", question="How many voices are there?")
    assert questions(pool_of(other_id)) == [other_id.question]
    french = replace(ASKED, gold_sql="SELECT name FROM singer WHERE country = 'Peru'", question="Who is from Peru?")
    similar = tree(12, "Who is from France?", "SELECT name FROM singer WHERE country = 'France'", db_id="music")
    assert questions(pool_of(similar), french) == [similar.question]
    assert questions(pool_of(similar, same_database=False), french) == []


def test_of_one_skeleton_only_the_nearest_is_shown() -> None:
    tigers = tree(4, "How many of the tigers live here?", "SELECT COUNT(*) FROM tiger AS t")
    assert questions(pool_of(tigers, LIONS, OLD)) == [OLD.question, LIONS.question]
    # Equally near: what joined first counts as nearer.
    bears = tree(5, "How many bears are there?", "SELECT count(*) FROM bear")
    assert questions(pool_of(bears, LIONS)) == [bears.question]
    assert questions(pool_of(LIONS, bears)) == [LIONS.question]


def test_rounds_add_up_and_a_full_pool_stays_as_it_is() -> None:
    pool = MaskedQuestionPool(max_size=2)
    pool.add([OLD])
    assert questions(pool) == [OLD.question]
    pool.add([replace(OLD, question="Another wording?"), LIONS, CAGES])
    assert len(pool) == 2
    assert questions(pool) == [OLD.question, LIONS.question]


def test_threads_may_ask_at_once() -> None:
    pool = pool_of(LIONS, CAGES, OLD)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: questions(pool), range(64)))
    assert answers == [questions(pool)] * 64


def test_a_pool_may_begin_with_a_file(tmp_path: Path) -> None:
    file = tmp_path / "initial.jsonl"
    written = {
        "question": "How many are there?",
        "evidence": "all",
        "steps": [{"sub_question": "?", "sql": "SELECT 1"}],
    }
    file.write_text(f"{json.dumps(written)}\n{tree_to_json(OLD)}\n{tree_to_json(replace(LIONS, nodes=()))}\n", "utf-8")
    pool = MaskedQuestionPool(initial=file)
    assert len(pool) == 2
    assert pool.similar(ASKED, SCHEMA)[-1] == Demonstration("How many are there?", "all", (Step("?", "SELECT 1"),))
    # Settings that trees depend on: the content, wherever it lies, and none of what was learnt.
    moved = MaskedQuestionPool(initial=file.rename(tmp_path / "moved.jsonl"))
    moved.add([LIONS])
    assert describe(pool) == describe(moved) != describe(MaskedQuestionPool())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"initial\.jsonl: no file of decompositions"),
        ("nonsense\n", r"initial\.jsonl:1: .*Mend or delete"),
        (
            '{"index": 1, "steps": [{"sub_question": "?", "sql": "SELECT 1"}]}\n',
            r":1: a demonstration needs a question",
        ),
        ("\n", "nothing to demonstrate"),
        (tree_to_json(replace(LIONS, nodes=())) + "\n", "none of its trees is solved"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "initial.jsonl"
    if text is not None:
        file.write_text(text, "utf-8")
    with pytest.raises(LearnatError, match=message):
        MaskedQuestionPool(initial=file)


@pytest.mark.parametrize("name", ["size", "round_size", "max_size"])
def test_counts_are_checked(name: str) -> None:
    with pytest.raises(LearnatError, match=rf"proposer\.demonstrations\.{name}=0"):
        MaskedQuestionPool(**{name: 0})  # type: ignore[arg-type]


def test_the_config_s_defaults_are_the_class_s_own() -> None:
    conf = Path(__file__).parents[2] / "conf" / "proposer" / "demonstrations" / "masked_question.yaml"
    pool: DemonstrationPool = instantiate(OmegaConf.load(conf))
    assert vars(pool) == vars(MaskedQuestionPool())


# --- on real questions ----------------------------------------------------------------------------------------------


def gold_trees(examples: Sequence[Example]) -> list[SearchTree]:
    """Trees whose only step is gold: all that retrieval looks at."""
    nodes = [node(1, example.gold_sql) for example in examples]
    return [
        SearchTree(1, e.example_id, e.db_id, e.question, "", e.gold_sql, (n,), STATS)
        for e, n in zip(examples, nodes, strict=True)
    ]


def shape(sql: str) -> str:
    """The key words and operators of ``sql``, read without ``masking``."""
    sql = re.sub(r"'[^']*'|\"[^\"]*\"", " ", sql.upper())
    words = "SELECT FROM WHERE JOIN GROUP ORDER BY HAVING LIMIT UNION INTERSECT EXCEPT DISTINCT NOT IN AND OR LIKE"
    words += " BETWEEN DESC COUNT SUM AVG MIN MAX"
    return " ".join(re.findall(rf"\b(?:{'|'.join(words.split())})\b|[,(<>=!*]+", sql))


def test_retrieval_finds_questions_of_the_same_shape(learnat_data: Path) -> None:
    benchmark = SpiderBenchmark(learnat_data / "spider", missing="skip")
    asked, known = benchmark.examples("dev"), benchmark.examples("train")
    pool = MaskedQuestionPool()
    start = time.perf_counter()
    pool.add(gold_trees(known))
    fitted = time.perf_counter()
    shown = [pool.similar(example, benchmark.database(example.db_id).schema) for example in asked]
    print(
        f"{len(pool)} trees in {fitted - start:.1f} s, {(time.perf_counter() - fitted) / len(asked) * 1e3:.1f} ms each"
    )

    draw = random.Random(0)
    drawn = [draw.choice(known).gold_sql for _ in range(20) for _ in asked]
    for name, skeleton, least in (("skeleton", mask_query, 12.0), ("key words", shape, 12.0)):
        wanted = [skeleton(example.gold_sql) for example in asked]
        nearest = [skeleton(demonstrations[-1].steps[-1].sql) for demonstrations in shown]
        found = sum(a == b for a, b in zip(nearest, wanted, strict=True)) / len(asked)
        by_chance = sum(skeleton(a) == b for a, b in zip(drawn, wanted * 20, strict=True)) / len(drawn)
        print(f"{name}: nearest {found:.3f}, by chance {by_chance:.4f}, ratio {found / by_chance:.1f}")
        assert found / by_chance > least


def test_no_real_question_is_shown_its_own_answer(learnat_data: Path) -> None:
    benchmark = SpiderBenchmark(learnat_data / "spider", missing="skip", limit=1000)
    asked = benchmark.examples("train")
    pool = pool_of(*gold_trees(asked), size=5)
    for example in asked:
        shown = pool.similar(example, benchmark.database(example.db_id).schema)
        assert len(shown) == len({mask_query(demonstration.steps[-1].sql) for demonstration in shown}) == 5
        for demonstration in shown:
            assert demonstration.question != example.question
            assert demonstration.steps[-1].sql.casefold() != example.gold_sql.casefold()
