"""Solved questions in a prompt: near ones, in the trained format, and never the answer that is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from learnat.errors import LearnatError
from learnat.inference.demonstrations import HEADING, NearestDemonstrations
from learnat.inference.repair import Repair
from learnat.inference.schema_filters import FullSchema
from learnat.inference.strategy import Strategy
from learnat.training.prompts import PromptStyle
from tests.inference.music import SCHEMA, Music


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def solved(example_id: str, question: str, sql: str, db_id: str = "music") -> dict[str, Any]:
    steps = [{"sub_question": "First?", "sql": "SELECT 1"}, {"sub_question": question, "sql": sql}]
    return {"example_id": example_id, "db_id": db_id, "question": question, "steps": steps}


TRAIN = [
    solved("train/0", "Question 1: which venues are larger than 9000?", "SELECT city FROM venue WHERE seats > 9000"),
    solved("train/1", "How many concerts are there in each year?", "SELECT year, count(*) FROM concert GROUP BY year"),
    solved("train/2", "Whose age is above 40?", "SELECT singer.name FROM singer WHERE 40 < singer.age"),
    solved("train/3", "Which pets are older than 3?", "SELECT name FROM pet WHERE age > 3", "pets"),
]


def test_prompts_show_the_nearest_in_the_trained_format(tmp_path: Path) -> None:
    trees = write(tmp_path / "train.jsonl", *TRAIN)
    music = Music(tmp_path)
    (example, *_) = music.examples("dev")
    shown = NearestDemonstrations(trees, size=1)
    near = "Question: Which pets are older than 3?\n-- First?\nSELECT 1;\n"
    assert shown.text(example, SCHEMA).startswith(HEADING + near)
    strategy = Strategy(FullSchema(), shown, 32, 0.0, 1.0, 1, 1, True, Repair())
    prompt = strategy.prompt(PromptStyle(), music.database("music"), example)
    text = prompt.messages[-1].content
    assert text.startswith(prompt.shared + HEADING) and text.endswith(f"Question: {example.question}")
    assert "concerts" in NearestDemonstrations(trees).text(example, SCHEMA)
    assert "concerts" not in NearestDemonstrations(trees, same_database=False).text(example, SCHEMA)


def test_the_answer_is_never_shown(tmp_path: Path) -> None:
    (example, *_) = Music(tmp_path).examples("dev")
    own = [
        solved("train/7", example.question, "SELECT name FROM singer"),  # the question itself, under another id
        solved("train/8", "Who is it?", example.gold_sql + " ;"),  # another question with its gold SQL
        TRAIN[2],  # the same query, written otherwise
    ]
    shown = NearestDemonstrations(write(tmp_path / "own.jsonl", *own), size=4)
    assert shown.text(example, SCHEMA) == ""
    both = NearestDemonstrations(write(tmp_path / "both.jsonl", *own, *TRAIN), size=9).text(example, SCHEMA)
    assert both.count("Question: ") == 2 and example.question not in both and "Whose age" not in both


ASKED = "Question 5: which singers are older than 40?"


@pytest.mark.parametrize(
    ("record", "refused"),
    [
        (solved("dev/5", ASKED, "SELECT 1"), True),
        (solved("mini_dev/3", ASKED, "SELECT 1"), True),  # the same question in another split of the benchmark
        ({"question": f" {ASKED.upper()}  ", "steps": TRAIN[0]["steps"]}, True),  # nothing but the question is known
        (solved("dev/5", "Which?", "SELECT 1"), False),  # another benchmark's dev/5
        (solved("train/5", ASKED, "SELECT 1", "pets"), False),  # asked of another database
    ],
)
def test_questions_of_the_asked_split_are_refused(tmp_path: Path, record: dict[str, Any], refused: bool) -> None:
    shown = NearestDemonstrations(write(tmp_path / "trees.jsonl", *TRAIN, record))
    if refused:
        with pytest.raises(
            LearnatError, match=r"holds 1 question of 'dev', the split that is asked, with its gold SQL"
        ):
            shown.check(Music(tmp_path), "dev")
    else:
        shown.check(Music(tmp_path), "dev")


def test_other_databases_alone_can_be_shown_only_if_databases_are_known(tmp_path: Path) -> None:
    unnamed = {key: value for key, value in TRAIN[0].items() if key != "db_id"}
    trees = write(tmp_path / "trees.jsonl", TRAIN[1], unnamed, unnamed)
    NearestDemonstrations(trees)
    with pytest.raises(LearnatError, match=r"2 of its 3 solved questions have no db_id.*same_database=false"):
        NearestDemonstrations(trees, same_database=False)


def test_what_was_shown_is_told_by_its_text_and_number(tmp_path: Path) -> None:
    music = Music(tmp_path)
    trees, copy = (write(tmp_path / name, *TRAIN) for name in ("train.jsonl", "copy.jsonl"))
    shown = NearestDemonstrations(trees, size=2).record(music, "dev")
    assert shown["count"] == 2 * len(music.examples("dev")) and len(shown["digest"]) == 16
    assert NearestDemonstrations(copy, size=2).record(music, "dev") == shown
    fewer = NearestDemonstrations(trees, size=1).record(music, "dev")
    assert fewer["digest"] != shown["digest"]
    # Of other databases there is but that one: what was shown counts, not the settings.
    assert NearestDemonstrations(trees, size=2, same_database=False).record(music, "dev") == fewer


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(LearnatError, match=r"give inference\.demonstrations\.trees=FILE"):
        NearestDemonstrations(None)
    with pytest.raises(LearnatError, match=r"inference\.demonstrations\.size=0"):
        NearestDemonstrations(tmp_path / "trees.jsonl", size=0)
    with pytest.raises(LearnatError, match=r"inference\.demonstrations\.same_database=maybe"):
        NearestDemonstrations(tmp_path / "trees.jsonl", same_database="maybe")  # type: ignore[arg-type]
    with pytest.raises(LearnatError, match="can be read there"):
        NearestDemonstrations(tmp_path / "trees.jsonl")
