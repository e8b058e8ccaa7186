"""The script of the calls curve: what it writes for answers that are known, and what it says about mistakes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from learnat.errors import LearnatError
from learnat.inference.engines.base import Prompt
from tests.inference.calls_scripts import FOLDER, ROOT, SIZES, imported, said, table
from tests.inference.music import Music, Scripted


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    with imported() as modules:
        yield modules


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    steps = [{"sub_question": "All?", "sql": "SELECT 1"}]
    path = tmp_path / "shown.jsonl"
    path.write_text(json.dumps({"question": "Which singers are older than 3?", "steps": steps}) + "\n")
    return path


def config(folder: Path, trees: Path, *overrides: str) -> DictConfig:
    places = [f"run_dir={folder}", f"cache_dir={folder}", f"inference.demonstrations.trees={trees}", "workers=1"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("calls", [*places, "label=one", *overrides])
    OmegaConf.resolve(cfg)
    return cfg


def by_key(path: Path) -> dict[tuple[str, str, int], dict[str, str]]:
    return {(row["label"], row["method"], int(row["n"])): row for row in table(path)}


# --- known answers ---------------------------------------------------------------------------------------------------

RIGHT = "-- All.\nSELECT name FROM singer WHERE age > 40;\n"
SAME = "-- All.\nSELECT name FROM singer WHERE age >= 41;\n"
WRONG = "-- All.\nSELECT name FROM singer WHERE country = 'France';\n"
EMPTY = "-- All.\nSELECT name FROM singer WHERE age > 90;\n"
BROKEN = "-- All.\nSELECT nam FROM singer;\n"
PROSE = "I do not know."
ANSWERS = {
    "Question 4": ([RIGHT, WRONG, SAME], PROSE),
    "Question 5": ([WRONG, WRONG, RIGHT], PROSE),
    "Question 6": ([BROKEN, RIGHT, WRONG], RIGHT),  # repaired, two are right
    "Question 7": ([BROKEN, EMPTY, BROKEN], PROSE),
}
"""Samples by question, and what is answered to anything said about them."""


def answer(prompt: Prompt, sample: int) -> str:
    asked = prompt.messages[0 if prompt.messages[0].role == "user" else 1].content
    (samples, repaired) = next(known for question, known in ANSWERS.items() if question in asked)
    return repaired if prompt.messages[-2:][0].role == "assistant" else samples[sample]


@pytest.fixture
def run(scripts: dict[str, ModuleType], tmp_path: Path, trees: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Measures the four questions with an engine, and returns the rows of calls.csv."""

    def measured(engine: Scripted, *overrides: str, ex_mode: str = "spider_bag") -> dict[tuple[str, str, int], Any]:
        monkeypatch.setattr(scripts["curve"], "open_engine", lambda cfg, benchmark: engine)
        monkeypatch.setattr(scripts["curve"], "instantiate", lambda node: Music(tmp_path, 4, ex_mode))
        scripts["curve"].curve(config(tmp_path, trees, "sizes=[3,1]", "subsets=20", *overrides))
        return by_key(tmp_path / "calls.csv")

    return measured


def figures(row: dict[str, str]) -> tuple[float, ...]:
    return tuple(float(row[name]) for name in ("ex", "any_right", "failed", "calls", "prompt_tokens"))


def test_known_answers_give_known_figures(run: Any) -> None:
    rows = run(Scripted(answer))
    assert {label for label, _, _ in rows} == {"one"} and {row["questions"] for row in rows.values()} == {"4"}
    # EX, some sample right, samples that fail or find nothing, calls, prompt tokens (10 a call).
    wanted = {
        ("greedy", 1): (0.25, 0.25, 0.5, 1.0, 10.0),
        ("greedy, repaired once", 1): (0.5, 0.5, 0.25, 1.5, 15.0),
        ("greedy, repaired twice", 1): (0.5, 0.5, 0.25, 1.8, 17.5),
        ("greedy, retrieved schema", 1): (0.25, 0.25, 0.5, 1.0, 10.0),
        ("greedy, demonstrations", 1): (0.25, 0.25, 0.5, 1.0, 10.0),
        ("vote", 3): (0.5, 0.75, 0.3333, 3.0, 30.0),
        ("vote, early stop", 3): (0.5, 0.5, 0.3333, 2.2, 22.5),
        ("vote, repaired once", 3): (0.5, 0.75, 0.25, 4.0, 40.0),
        ("vote, retrieved schema", 3): (0.5, 0.75, 0.3333, 3.0, 30.0),
        ("vote, demonstrations", 3): (0.5, 0.75, 0.3333, 3.0, 30.0),
    }
    assert {key: figures(rows[("one", *key)]) for key in wanted} == wanted
    votes = {method for method, n in wanted if n == 3}
    assert rows.keys() == {("one", *key) for key in wanted} | {("one", method, 1) for method in votes}
    for method in votes:
        single = rows["one", method, 1]
        assert float(single["ex"]) == float(single["any_right"]) and float(single["ex_sd"]) > 0
        assert float(rows["one", method, 3]["ex_sd"]) == 0
    # One sample of three: 2, 1, 1 and 0 of them are right; the same subsets, so the same figure, for every prompt.
    single_ex = {rows["one", method, 1]["ex"] for method in votes - {"vote, repaired once"}}
    assert len(single_ex) == 1 and float(single_ex.pop()) == pytest.approx(1 / 3, abs=0.1)


def test_samples_are_drawn_once(run: Any) -> None:
    first = Scripted(answer)
    rows = run(first)
    assert first.asked
    again = Scripted(answer)
    assert run(again) == rows and not again.asked


def test_the_comparison_is_the_one_that_is_asked_for(run: Any) -> None:
    # With each name twice: a set is the same, a bag is not.
    twice = "-- All.\nSELECT name FROM singer WHERE age > 40 UNION ALL SELECT name FROM singer WHERE age > 40;\n"
    assert run(Scripted(lambda prompt, sample: twice), "label=bag")["bag", "greedy", 1]["ex"] == "0.0000"
    rows = run(Scripted(lambda prompt, sample: twice), "label=set", "ex_mode=bird_set")
    assert rows["set", "greedy", 1]["ex"] == "1.0000" and rows["set", "vote", 3]["ex"] == "1.0000"


def test_queries_run_where_execute_on_says(run: Any, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(str(tmp_path / "music.duckdb")) as connection:
        connection.execute("CREATE TABLE singer (name VARCHAR, age INTEGER, country VARCHAR)")
        connection.execute("INSERT INTO singer VALUES ('Yann', 52, 'France')")
    rows = run(Scripted(answer), f"execute_on={tmp_path}/DB_ID.duckdb")
    # There the singers from France are those over 40.
    assert rows["one", "vote", 3]["ex"] == "0.7500"


def test_a_stopped_run_leaves_its_rows_and_goes_on(run: Any, tmp_path: Path) -> None:
    def failing(prompt: Prompt, sample: int) -> str:
        if prompt.messages[-2:][0].role == "assistant":
            raise LearnatError("The server is gone.")
        return answer(prompt, sample)

    with pytest.raises(LearnatError, match="The server is gone"):
        run(Scripted(failing))
    assert [row["method"] for row in table(tmp_path / "calls.csv")] == ["greedy"]
    rows = run(Scripted(answer))
    assert len(table(tmp_path / "calls.csv")) == len(rows) == 15


def test_rows_of_the_same_label_and_method_are_replaced(run: Any, tmp_path: Path) -> None:
    first = run(Scripted(answer))
    both = run(Scripted(lambda prompt, sample: RIGHT, "other"), "label=two")
    assert {key: row for key, row in both.items() if key[0] == "one"} == first
    assert [row["label"] for row in table(tmp_path / "calls.csv")] == ["one"] * 15 + ["two"] * 15
    assert both["two", "vote", 3]["ex"] == "1.0000"
    replaced = run(Scripted(lambda prompt, sample: WRONG, "third"), "sizes=[2]")
    assert {n for label, method, n in replaced if (label, method) == ("one", "vote")} == {2}
    assert replaced["one", "vote", 2]["ex"] == "0.0000"
    assert {key: row for key, row in replaced.items() if key[0] == "two"} == {
        key: row for key, row in both.items() if key[0] == "two"
    }


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ex_mode=nonsense", "Unknown comparison mode 'nonsense'"),
        ("execute_on=/nowhere.duckdb", "nowhere.duckdb"),
        ("execute_on=/nowhere.sqlite", "neither a PostgreSQL URL"),
        ("inference.demonstrations.trees=/nowhere", "/nowhere"),
        ("inference.demonstrations.size=0", "inference.demonstrations.size=0"),
        ("inference.schema.columns=0", "inference.schema.columns=0"),
        ("inference.temperature=0", "inference.temperature=0"),
        ("inference.top_p=2", "inference.top_p=2"),
        ("sizes=3", "sizes=3 must be a list"),
        ("sizes=[]", "must be a list"),
        ("sizes=[1,0]", "sizes=0"),
        ("subsets=0", "subsets=0"),
        ("label=''", "label is empty"),
        ("out=/dev/null/here", "out=/dev/null/here"),
    ],
)
def test_a_mistake_is_said_before_anything_is_drawn(run: Any, tmp_path: Path, override: str, message: str) -> None:
    engine = Scripted(answer)
    with pytest.raises(LearnatError, match=message):
        run(engine, override)
    assert not engine.asked and not (tmp_path / "calls.csv").exists()


def test_rows_about_other_questions_are_not_mixed_with_new_ones(run: Any, tmp_path: Path) -> None:
    recorded = (FOLDER / "calls.csv").read_bytes()
    (tmp_path / "calls.csv").write_bytes(recorded)
    engine = Scripted(answer)
    with pytest.raises(LearnatError, match=r"rows about \d+ questions .*, and 4 are asked now: give another out="):
        run(engine)
    assert (tmp_path / "calls.csv").read_bytes() == recorded and not engine.asked


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("curve.py", ["label=1"], "inference.demonstrations.trees has no value: give one, inference.demon"),
        ("curve.py", ["inference.demonstrations.trees=x"], "label has no value: give one, label="),
        ("curve.py", ["engine.batchsize=3"], "Unknown key 'engine.batchsize'. Did you mean 'engine.batch_size'?"),
        ("curve.py", ["inference.samples=3"], "Unknown key 'inference.samples'."),
        ("curve.py", ["engine=openai", "label=1", "inference.demonstrations.trees=x"], "engine.model has no value"),
        ("recall.py", ["data.splt=dev"], "Unknown key 'data.splt'. Did you mean 'data.split'?"),
        ("recall.py", ["checkpoint=x"], "Unknown key 'checkpoint'."),
        ("recall.py", ["data.root=nowhere"], "nowhere"),
        ("report.py", ["nowhere"], "nowhere/calls.csv is not there"),
    ],
)  # fmt: skip
def test_a_mistake_on_the_command_line_is_one_message(
    tmp_path: Path, script: str, arguments: Sequence[str], message: str
) -> None:
    done = said(tmp_path, script, *arguments)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2 and "Traceback" not in done.stderr


@pytest.mark.parametrize(("script", "shown"), [("curve.py", "subsets: 40"), ("recall.py", "data: bird, generated")])
def test_help_shows_the_keys(tmp_path: Path, script: str, shown: str) -> None:
    done = said(tmp_path, script, "--help")
    assert done.returncode == 0 and shown in done.stdout, done.stderr


def test_a_trained_checkpoint_is_asked_by_the_command(tmp_path: Path, checkpoint: Path, trees: Path) -> None:
    arguments = [
        f"checkpoint={checkpoint}", f"cache_dir={tmp_path}", f"run_dir={tmp_path}", "label=1", "sizes=[1,2]",
        f"inference.demonstrations.trees={trees}", "inference.max_new_tokens=12", "engine.batch_size=256", "workers=1",
        *SIZES,
    ]  # fmt: skip
    done = said(tmp_path, "curve.py", *arguments)
    assert done.returncode == 0, done.stderr
    rows = by_key(tmp_path / "calls.csv")
    # What this checkpoint writes runs on no generated database: each sample is repaired once.
    assert figures(rows["1", "vote, repaired once", 2])[:4] == (0.0, 0.0, 1.0, 4.0)
    assert json.loads((tmp_path / "provenance.json").read_text())["decoding"]["vote"]["temperature"] == 0.8
