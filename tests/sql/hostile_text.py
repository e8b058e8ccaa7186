"""Families of statements that would change a file, and of texts that are no statement."""

from __future__ import annotations

import random
from collections.abc import Callable

Family = Callable[[random.Random], str]


def _table(rng: random.Random) -> str:
    return rng.choice(["item", '"item"', "[item]", "main.item", "`ITEM`"])


# What writes.


def attach(rng: random.Random) -> str:
    file = rng.choice(["'{other}'", "':memory:'", "''", "'file:{other}?mode=rwc'", "'file::memory:?cache=shared'"])
    return rng.choice(
        [f"ATTACH {file} AS o", f"ATTACH DATABASE {file} AS main2", "DETACH main", "DETACH DATABASE temp"]
    )


def vacuum(rng: random.Random) -> str:
    return rng.choice(["VACUUM", "VACUUM main", "VACUUM INTO '{other}'", "VACUUM main INTO 'file:{other}?mode=rwc'"])


def pragma(rng: random.Random) -> str:
    name, value = rng.choice(
        [
            ("writable_schema", "ON"),
            ("writable_schema", "RESET"),
            ("query_only", "OFF"),
            ("journal_mode", "WAL"),
            ("journal_mode", "DELETE"),
            ("user_version", "7"),
            ("schema_version", "7"),
            ("application_id", "7"),
            ("hard_heap_limit", "0"),
            ("soft_heap_limit", "0"),
            ("temp_store", "FILE"),
            ("temp_store_directory", "'{other}'"),
            ("locking_mode", "EXCLUSIVE"),
            ("cache_size", "100000000"),
            ("mmap_size", "100000000000"),
            ("auto_vacuum", "FULL"),
            ("incremental_vacuum", "9"),
            ("wal_checkpoint", "TRUNCATE"),
            ("trusted_schema", "ON"),
            ("page_size", "512"),
            ("secure_delete", "ON"),
            ("busy_timeout", "1000000"),
        ]
    )
    schema = rng.choice(["", "main."])
    return rng.choice([f"PRAGMA {schema}{name} = {value}", f"PRAGMA {schema}{name}({value})"])


def pragma_function(rng: random.Random) -> str:
    name, value = rng.choice([("journal_mode", "WAL"), ("query_only", "0"), ("writable_schema", "1")])
    return rng.choice([f"SELECT * FROM pragma_{name}('{value}')", f"SELECT * FROM pragma_{name}, item"])


def extension(rng: random.Random) -> str:
    library = rng.choice(["'/lib/libm.so'", "'{other}'", "name"])
    call = rng.choice(
        [
            f"load_extension({library})",
            f"load_extension({library}, 'main')",
            "writefile('{other}', 'x')",
            "readfile('/etc/passwd')",
            "edit('x', 'touch {other}')",
            "fts3_tokenizer('simple', x'00')",
        ]
    )
    return rng.choice([f"SELECT {call} FROM item", f"SELECT * FROM item WHERE {call} IS NULL"])


def drop(rng: random.Random) -> str:
    return rng.choice(
        [
            f"DROP TABLE {_table(rng)}",
            "DROP TABLE IF EXISTS item",
            "DROP VIEW items",
            "DROP INDEX by_name",
            "DROP TRIGGER watched",
            f"ALTER TABLE {_table(rng)} RENAME TO thing",
            "ALTER TABLE item DROP COLUMN name",
            "ALTER TABLE item ADD COLUMN x",
        ]
    )


def change(rng: random.Random) -> str:
    table = _table(rng)
    core = rng.choice(
        [
            f"UPDATE {table} SET name = 'x'",
            f"UPDATE OR REPLACE {table} SET id = 1",
            f"DELETE FROM {table}",
            f"DELETE FROM {table} WHERE id = {rng.randint(1, 300)}",
            f"INSERT INTO {table} SELECT id + 1000, name FROM item",
            f"REPLACE INTO {table} VALUES (1, 'x')",
            f"INSERT INTO {table} VALUES (1, 'x') ON CONFLICT DO UPDATE SET name = 'y'",
            "UPDATE items SET name = 'through the view'",
        ]
    )
    cte = rng.choice(["", "", "WITH c(x) AS (SELECT 1) ", "WITH RECURSIVE c(x) AS (SELECT 1 UNION SELECT x FROM c) "])
    return cte + core + rng.choice(["", " RETURNING *"])


def schema_table(rng: random.Random) -> str:
    table = rng.choice(["sqlite_master", "sqlite_schema", "sqlite_temp_master", "sqlite_sequence", "sqlite_stat1"])
    return rng.choice(
        [f"UPDATE {table} SET sql = ''", f"DELETE FROM {table}", f"INSERT INTO {table} VALUES (1, 2, 3, 4, 5)"]
    )


def create(rng: random.Random) -> str:
    temporary = rng.choice(["", "TEMP "])
    return rng.choice(
        [
            f"CREATE {temporary}TABLE t AS SELECT * FROM item",
            f"CREATE {temporary}TABLE IF NOT EXISTS t (x)",
            f"CREATE {temporary}VIEW v AS SELECT 1",
            f"CREATE {temporary}TRIGGER r AFTER INSERT ON item BEGIN DELETE FROM item; END",
            "CREATE UNIQUE INDEX i ON item (name)",
            "CREATE VIRTUAL TABLE t USING fts5(x)",
            "CREATE VIRTUAL TABLE t USING rtree(a, b, c)",
            "CREATE VIRTUAL TABLE temp.t USING dbstat",
        ]
    )


def transaction(rng: random.Random) -> str:
    return rng.choice(
        "BEGIN|BEGIN EXCLUSIVE|BEGIN IMMEDIATE|COMMIT|END|ROLLBACK|SAVEPOINT a|RELEASE a"
        "|ANALYZE|ANALYZE item|REINDEX|REINDEX item".split("|")
    )


def second_statement(rng: random.Random) -> str:
    return f"SELECT {rng.randint(1, 9)}; {rng.choice([drop, change, attach, vacuum])(rng)}"


# What no parser should take.


def nested(rng: random.Random) -> str:
    depth = rng.choice([1_500, 5_000, 20_000])
    return rng.choice(
        [
            "SELECT " + "(" * depth + "1" + ")" * depth,
            "SELECT " + "1+" * depth + "1",
            "SELECT " + "NOT " * depth + "1",
            "SELECT " + "abs(" * depth + "1" + ")" * depth,
            "SELECT * FROM " + "(SELECT * FROM " * depth + "item" + ")" * depth,
            "SELECT " + "CASE WHEN 1 THEN " * depth + "1" + " END" * depth,
        ]
    )


def long_text(rng: random.Random) -> str:
    size = 2**20 + rng.randint(0, 2**18)
    return rng.choice(
        [
            "SELECT '" + "x" * size + "'",
            "SELECT /*" + "x" * size + "*/ 1",
            "SELECT " + "1," * (size // 2) + "1",
            "SELECT 1 WHERE 1 IN (" + "1," * (size // 2) + "1)",
            " " * size + "SELECT 1",
        ]
    )


def nul(rng: random.Random) -> str:
    text = rng.choice(["SELECT 1 FROM item", "SELECT 'a' FROM item", "DROP TABLE item"])
    place = rng.randint(0, len(text))
    return text[:place] + "\0" + text[place:]


def surrogate(rng: random.Random) -> str:
    return f"SELECT '{chr(rng.randint(0xD800, 0xDFFF))}' FROM item"


def garbage(rng: random.Random) -> str:
    return "SELECT " + bytes(rng.randint(128, 255) for _ in range(rng.randint(1, 40))).decode("latin-1") + " FROM"


def prose(rng: random.Random) -> str:
    return rng.choice(["", ";", "-- nothing", "/* open", "SELECT 'open", "The answer is 7.", "```sql\nSELECT 1\n```"])


REFUSED: dict[str, Family] = {
    "ATTACH": attach,
    "VACUUM": vacuum,
    "PRAGMA": pragma,
    "pragma function": pragma_function,
    "extension": extension,
    "DROP": drop,
    "UPDATE": change,
    "sqlite_master": schema_table,
    "CREATE": create,
    "transaction": transaction,
    "second statement": second_statement,
    "nesting": nested,
    "length": long_text,
    "NUL": nul,
    "surrogate": surrogate,
    "garbage": garbage,
    "prose": prose,
}
