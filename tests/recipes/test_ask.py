"""ask.py as a user meets it: steps, SQL, result and cost of an answer, and one clear line for whatever goes wrong."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from tests.inference.conftest import counted_policy, settings

from learnat.errors import LearnatError
from learnat.recipes.ask import ask
from learnat.recipes.provenance import write_provenance
from learnat.training import models
from learnat.training.tokenizer import END_TOKEN

ROOT = Path(__file__).parents[2]

# What policies write to any prompt. A policy that counts which token follows which must meet none of them twice.
TWO_STEPS = (
    "-- Which singers are there?\nSELECT name, country FROM singer;\n"
    "/* how many concerts? */\nselect count(*) as n from concert ;\n"
)
COUNT = "-- How many?\nSELECT 2.0;\n"
ROWS = "-- All of it?\nSELECT * FROM singer;\n"
DELETE = "-- Remove all?\nDELETE FROM singer;\n"
DELETE_IN_CTE = "-- Remove all?\nWITH x AS (SELECT 1) DELETE FROM singer;\n"
NO_SUCH_COLUMN = "-- How old?\nSELECT age FROM singer;\n"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of policies, each of which always writes the given text."""
    home = tmp_path_factory.mktemp("checkpoints")

    def make(text: str) -> Path:
        folder = home / hashlib.sha256(text.encode()).hexdigest()[:8]
        if not folder.exists():
            models.export(counted_policy([text + END_TOKEN]), settings(), folder, "sft")
        return folder

    return make


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "concerts, 'new'.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            """
            CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT, country TEXT, photo BLOB);
            CREATE TABLE concert (id INTEGER PRIMARY KEY);
            INSERT INTO singer VALUES (1, 'Ada', 'Peru', NULL), (2, 'Bo' || char(27) || '[31m', NULL, x'00ff');
            INSERT INTO concert VALUES (1), (2);
            """
        )
        connection.executemany("INSERT INTO singer VALUES (?, 'Cy', 'Peru', NULL)", [(i,) for i in range(3, 30)])
        connection.commit()
    return path


@pytest.fixture
def asked(database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Asks in this process. Gives whether all answers ran, what was printed, and answers.json."""

    def run(*overrides: str, **config: Any) -> tuple[bool, str, Any]:
        with initialize_config_dir(config_dir=str(ROOT / "conf"), version_base="1.3"):
            cfg = compose("ask", ["engine.device=cpu", *overrides])
        cfg.update({"database": str(database), "question": "What, then?", "run_dir": str(tmp_path), **config})
        return ask(cfg), capsys.readouterr().out, json.loads((tmp_path / "answers.json").read_text())["answers"]

    return run


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """ask.py in ``folder``, on the device that every machine has."""
    return subprocess.run(
        [sys.executable, str(ROOT / "ask.py"), "engine.device=cpu", *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "100", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    assert done.returncode == code, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for part in parts:
        assert part in done.stderr


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def test_the_command_explains_every_step(checkpoint: Callable[[str], Path], database: Path, tmp_path: Path) -> None:
    question = 'How many concerts, and isn\'t it (roughly) "2" = two?'
    arguments = [f"database={database}", f"question={question}", "shown_rows=2", "run_dir=out"]
    done = command(tmp_path, f"checkpoint={checkpoint(TWO_STEPS)}", "--explain", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert lines(done.stdout) == [
        "Step 1: Which singers are there?",
        "  SELECT name, country FROM singer",
        "  ┏━━━━━━━━━━━━┳━━━━━━━━━┓",
        "  ┃ name       ┃ country ┃",
        "  ┡━━━━━━━━━━━━╇━━━━━━━━━┩",
        "  │ Ada        │ Peru    │",
        "  │ Bo\\x1b[31m │ NULL    │",
        "  └────────────┴─────────┘",
        "  … and 27 rows more",
        "Step 2: how many concerts?",
        "  select count(*) as n from concert",
        "  ┏━━━┓",
        "  ┃ n ┃",
        "  ┡━━━┩",
        "  │ 2 │",
        "  └───┘",
        "SQL",
        "select count(*) as n from concert",
        "The answer is the result of step 2.",
        lines(done.stdout)[-2],
        "Run folder: out",
    ]
    assert lines(done.stdout)[-2].startswith("Tokens: ") and lines(done.stdout)[-2].endswith(" completion")
    assert json.loads((tmp_path / "out" / "answers.json").read_text())["question"] == question


def test_the_answer_is_shown_as_a_table_that_is_cut(
    checkpoint: Callable[[str], Path], asked: Callable[..., Any]
) -> None:
    fine, printed, [answer] = asked(checkpoint=str(checkpoint(ROWS)), shown_rows=3)
    assert fine
    assert "│  1 │ Ada        │ Peru    │ NULL              │" in printed
    assert "│  2 │ Bo\\x1b[31m │ NULL    │ x'00ff' (2 bytes) │" in printed
    assert "… and 26 rows more" in printed and printed.count("Cy") == 1
    assert answer["rows"] == 29 and not answer["truncated"] and answer["finished"]
    assert f"Tokens: {answer['prompt_tokens']} prompt, {answer['completion_tokens']} completion" in printed
    assert answer["prompt_tokens"] > 50 and answer["completion_tokens"] > 5


def test_several_checkpoints_answer_in_turn_and_are_compared(
    checkpoint: Callable[[str], Path], asked: Callable[..., Any]
) -> None:
    folders = [str(checkpoint(text)) for text in (TWO_STEPS, ROWS, COUNT, NO_SUCH_COLUMN)]
    fine, printed, answers = asked(checkpoint=folders)
    assert not fine
    assert [answer["model"] for answer in answers] == folders
    # 2 is 2.0, whatever the column is called.
    assert [answer["same_as"] for answer in answers] == [0, 1, 0, None]
    assert answers[3]["error"] == "no such column: age" and not answers[0]["error"]
    agreement = printed[printed.index("Agreement") :]
    table = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines(agreement) if line.startswith("│")]
    assert [(row[0], row[2], row[3]) for row in table if row[0]] == [
        ("1", "1 row", "3"), ("2", "29 rows", "none"), ("3", "1 row", "1"), ("4", "no such column: age", "none"),
    ]  # fmt: skip


REFUSAL = "refused: DELETE singer: databases are opened for reading only"


def test_samples_vote_and_their_cost_is_that_of_all(
    checkpoint: Callable[[str], Path], asked: Callable[..., Any]
) -> None:
    folder = str(checkpoint(COUNT))
    _, _, [one] = asked(checkpoint=folder)
    ran, printed, [answer] = asked(
        "inference=vote", "inference.samples=3", "inference.early_stop=false", checkpoint=folder
    )
    assert ran and answer["sql"] == "SELECT 2.0"
    assert (answer["samples"], answer["votes"]) == (3, 3)
    assert (one["calls"], answer["calls"]) == (1, 3)
    assert answer["completion_tokens"] == 3 * one["completion_tokens"]
    assert f"{answer['completion_tokens']} completion, in 3 calls" in printed
    assert "Step 1: How many?" in printed and "Votes: 3 of 3 samples have this result." in printed
    assert (one["samples"], one["votes"]) == (1, None)


def test_a_statement_that_writes_is_refused(checkpoint: Callable[[str], Path], database: Path, tmp_path: Path) -> None:
    before = database.read_bytes()
    done = command(tmp_path, f"checkpoint={checkpoint(DELETE_IN_CTE)}", f"database={database}", "question=Remove them")
    assert_one_line(done, 1, REFUSAL)
    assert "DELETE FROM singer" in done.stdout
    assert database.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name != "runs"] == [database.name]


def test_an_answer_that_holds_no_query_is_refused_as_it_stands(
    checkpoint: Callable[[str], Path], asked: Callable[..., Any]
) -> None:
    fine, printed, [answer] = asked("explain=true", checkpoint=str(checkpoint(DELETE)))
    assert not fine and not answer["steps"] and answer["error"] == REFUSAL
    assert "DELETE FROM singer" in printed


def test_an_answer_that_is_cut_says_so(
    checkpoint: Callable[[str], Path], asked: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    fine, _, [answer] = asked("inference.max_new_tokens=3", checkpoint=str(checkpoint(COUNT)))
    assert not fine and not answer["finished"] and answer["completion_tokens"] == 3
    assert "The answer was cut at 3 tokens" in caplog.text


def test_an_answer_of_a_vote_that_is_cut_was_cut_where_its_own_sample_was(
    checkpoint: Callable[[str], Path], asked: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    vote = ["inference=vote", "inference.samples=4", "inference.early_stop=false"]
    _, _, [answer] = asked(*vote, "inference.max_new_tokens=3", checkpoint=str(checkpoint(COUNT)))
    assert not answer["finished"] and answer["completion_tokens"] == 12
    assert "The answer was cut at 3 tokens" in caplog.text


def test_a_prompt_that_does_not_fit_costs_nothing(asked: Callable[..., Any], tmp_path: Path) -> None:
    models.export(counted_policy([COUNT + END_TOKEN], 64), settings(64), tmp_path / "small", "sft")
    fine, printed, [answer] = asked(checkpoint=str(tmp_path / "small"))
    assert not fine and answer["error"] == "prompt fills the context"
    assert (answer["calls"], answer["prompt_tokens"], answer["completion_tokens"]) == (0, 0, 0)
    assert "Tokens: none" in printed


# --- databases that cannot be asked ----------------------------------------------------------------------------------


@pytest.fixture
def locked(database: Path) -> Iterator[Path]:
    """``database``, while another program writes to it."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield database


def test_a_database_that_is_not_there(tmp_path: Path) -> None:
    done = command(tmp_path, "database=nowhere.sqlite", "question=How many?")
    assert_one_line(done, 2, "No database at nowhere.sqlite: give the path of an existing SQLite file.")


def test_a_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "notes.sqlite").write_text("Not a database. " * 100)
    done = command(tmp_path, "database=notes.sqlite", "question=How many?")
    assert_one_line(done, 2, "notes.sqlite is not a SQLite database")


def test_a_database_that_is_a_folder(tmp_path: Path) -> None:
    done = command(tmp_path, "database=.", "question=How many?")
    assert_one_line(done, 2, "is not a file")


def test_a_database_that_is_locked(locked: Path, tmp_path: Path) -> None:
    done = command(tmp_path, f"database={locked}", "question=How many?")
    assert_one_line(done, 2, f"The database {locked} is locked", "work on a copy")


def test_a_database_of_another_engine(asked: Callable[..., Any], tmp_path: Path) -> None:
    duck = tmp_path / "shop.db"
    duck.write_bytes(b"\0" * 8 + b"DUCK" + b"\0" * 100)
    for given, what in (
        (str(duck), r"database=.*shop\.db is a DuckDB file"),
        ("shop.duckdb", r"database=shop\.duckdb is a DuckDB file"),
        ("postgresql://me:hush@host/shop", r"database=postgresql://me@host/shop is a PostgreSQL server's"),
    ):
        with pytest.raises(LearnatError, match=what + r": ask\.py reads SQLite files only") as caught:
            asked(database=given)
        assert "rename" not in str(caught.value) and "hush" not in str(caught.value)


def test_a_database_whose_name_is_digits(
    checkpoint: Callable[[str], Path], asked: Callable[..., Any], database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(database.parent)
    database.rename("5")
    Path("7").symlink_to(checkpoint(COUNT))
    fine, _, [answer] = asked(database=5, checkpoint=7)
    assert fine and answer["model"] == "7"


# --- other mistakes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ({"question": " "}, "Give what is asked"),
        ({"shown_rows": "none"}, "shown_rows=none must be"),
        ({"samples": -3}, "samples=-3 must be a whole number of at least 0"),
        ({"samples": 1.5}, "samples=1.5 must be a whole number of at least 0"),
        ({"checkpoint": None}, "Give what to ask: checkpoint="),
        ({"checkpoint": []}, "Give what to ask: checkpoint="),
        ({"checkpoint": ["."]}, "not a LearNAT checkpoint"),
        ({"checkpoint": True}, r"checkpoint=True must be a folder, or a list of folders"),
        ({"checkpoint": {"a": 1}}, r"checkpoint=\{'a': 1\} must be a folder, or a list"),
        ({"checkpoint": [["a"]]}, r"checkpoint=\['a'\] must be a folder, or a list"),
        ({"database": ["a"]}, r"database=\['a'\] must be one SQLite file"),
        ({"database": "a" * 300}, r"database aaa.*too long"),
        ({"schema_style": "m_shema"}, r"'m_shema' is not known \(schema_style\)\. Did you mean 'm_schema'"),
        ({"schema_style": None}, r"None is not known \(schema_style\)"),
    ],
)
def test_there_is_nothing_or_nobody_to_ask(asked: Callable[..., Any], mistake: dict[str, Any], message: str) -> None:
    with pytest.raises(LearnatError, match=message):
        asked(**mistake)


def test_a_question_without_gold_has_no_gold_schema(
    checkpoint: Callable[[str], Path], asked: Callable[..., Any]
) -> None:
    with pytest.raises(LearnatError, match=r"inference/schema=gold .* use full or retrieved"):
        asked("inference/schema=gold", checkpoint=str(checkpoint(COUNT)))


def test_another_commands_run_folder_is_left_alone(
    checkpoint: Callable[[str], Path], asked: Callable[..., Any], tmp_path: Path
) -> None:
    write_provenance(tmp_path, OmegaConf.create({"compare_with": None}))
    before = (tmp_path / "provenance.json").read_bytes()
    with pytest.raises(LearnatError, match=r"holds a run of .*Give another run_dir"):
        asked(checkpoint=str(checkpoint(COUNT)))
    assert (tmp_path / "provenance.json").read_bytes() == before
