"""Statements that mean harm, generated from a seed: families of attacks, each in many variants.

``{other}`` in a text stands for a path beside the database.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["error", "timeout", "bounded"]


@dataclass(frozen=True)
class Statement:
    """``expected``: an error, a time-out, or anything that ends in time and within the caps."""

    family: str
    sql: str
    expected: Outcome


def statements(seed: int, count: int) -> list[Statement]:
    """``count`` statements, a fixed number of the endless ones among them, in random order."""
    rng = random.Random(seed)
    found = [Statement(family, make(rng), "timeout") for family, make in ENDLESS.items() for _ in range(5)]
    found += [Statement("uninterruptible", one_instruction(rng), "timeout") for _ in range(4)]
    # What is refused at once comes three times as often as what may use up its time.
    quick = [(family, make, outcome) for outcome, group in QUICK.items() for family, make in group.items()]
    quick += 2 * [entry for entry in quick if entry[2] == "error"]
    while len(found) < count:
        family, make, outcome = quick[len(found) % len(quick)]
        found.append(
            Statement(
                family, make(rng) if family == "prose" or outcome == "bounded" else disguised(make(rng), rng), outcome
            )
        )
    rng.shuffle(found)
    return found


def disguised(sql: str, rng: random.Random) -> str:
    """The statement with noise around it that must not get it past a guard."""
    before = rng.choice(["", "", "  \n\t", "-- harmless\n", "/* SELECT 1 */ ", ";", "\ufeff"])
    after = rng.choice(["", "", ";", " -- done", ";;", "; SELECT 1", "\n"])
    text = before + sql + after
    return text.swapcase() if rng.random() < 0.2 and "{other}" not in text else text


def _table(rng: random.Random) -> str:
    return rng.choice(["item", '"item"', "[item]", "main.item", "`ITEM`"])


def _number(rng: random.Random) -> str:
    return str(rng.choice([2**31 - 1, 2**31, 10**9, 2 * 10**9, 2**63 - 1, 3 * 10**7, -1]))


def _size(rng: random.Random) -> int:
    return rng.choice([10**5, 10**6, 5 * 10**6, 16 * 10**6, 17 * 10**6])


# What never ends.


def recursive_cte(rng: random.Random) -> str:
    step = rng.choice(["x + 1", "x", "-x", "x * 1.1", "abs(x) % 7"])
    union = "UNION" if step == "x + 1" and rng.random() < 0.5 else "UNION ALL"  # the others come to an end with UNION
    what = rng.choice(["count(*)", "sum(x)", "max(x)", "min(x + 1)"])
    return f"WITH RECURSIVE c(x) AS (SELECT 1 {union} SELECT {step} FROM c) SELECT {what} FROM c"


def recursive_without_rows(rng: random.Random) -> str:
    return (
        f"WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x FROM c) SELECT x FROM c WHERE x = {rng.randint(2, 99)}"
    )


def mutual_recursion(rng: random.Random) -> str:
    inner = f"WITH RECURSIVE d(y) AS (SELECT 1 UNION ALL SELECT y + {rng.randint(1, 9)} FROM d) SELECT count(*) FROM d"
    return f"SELECT id, ({inner}) FROM item"


def cross_join(rng: random.Random) -> str:
    names = [f"t{i}" for i in range(rng.randint(5, 9))]
    tables = rng.choice([", ", " CROSS JOIN ", " JOIN "]).join(f"item {name}" for name in names)
    what = rng.choice(["count(*)", "sum(t0.id * t1.id)", "max(t1.name || t2.name)", "count(DISTINCT t0.id + t4.id)"])
    return f"SELECT {what} FROM {tables}"


def ordered_cross_join(rng: random.Random) -> str:
    return f"SELECT a.id FROM item a, item b, item c, item d ORDER BY a.id * b.id % {rng.randint(2, 99)}, d.id DESC"


def correlated(rng: random.Random) -> str:
    sign = rng.choice("<>")
    inner = f"SELECT count(*) FROM item e, item f WHERE e.id {sign} a.id + b.id"
    return f"SELECT sum(({inner})) FROM item a, item b, item c"


def endless_cells(rng: random.Random) -> str:
    size = rng.randint(2, 9) * 100_000
    what = f"sum(length(hex(zeroblob({size}))))"
    return f"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT {what} FROM c"


def one_instruction(rng: random.Random) -> str:
    return f"SELECT hex(zeroblob({rng.randint(7, 8)}000000)) LIKE '%{'0' * rng.randint(800, 950)}x'"


ENDLESS: dict[str, Callable[[random.Random], str]] = {
    "recursive CTE": recursive_cte,
    "recursive CTE without rows": recursive_without_rows,
    "recursive subquery": mutual_recursion,
    "cross join": cross_join,
    "ordered cross join": ordered_cross_join,
    "correlated subquery": correlated,
    "blobs without end": endless_cells,
}

# What fills memory.


def blob_bomb(rng: random.Random) -> str:
    function = rng.choice(["zeroblob", "randomblob", "length(randomblob", "hex(zeroblob", "quote(zeroblob"])
    return f"SELECT {function}({_number(rng)})" + ")" * function.count("(")


def printf_bomb(rng: random.Random) -> str:
    width, kind = _number(rng), rng.choice("dsfcxg")
    return rng.choice(
        [
            f"SELECT printf('%{width}{kind}', 1)",
            f"SELECT printf('%.{width}f', 1.5)",
            f"SELECT printf('%*d', {width}, 1)",
            f"SELECT format('%,{width}d', 1)",
            f"SELECT printf('%.*c', {width}, 'x')",
        ]
    )


def growing_text(rng: random.Random) -> str:
    text = f"hex(zeroblob({_size(rng)}))"
    for _ in range(rng.randint(1, 3)):
        text = rng.choice([f"replace({text}, '0', 'xxxxxxxx')", f"{text} || {text}", f"hex({text})", f"quote({text})"])
    return f"SELECT {text}"


def gathered(rng: random.Random) -> str:
    function = rng.choice(["group_concat", "json_group_array", "max", "total"])
    return f"SELECT {function}(hex(zeroblob({_size(rng)}))) FROM item a, item b"


def blob_rows(rng: random.Random) -> str:
    value = rng.choice(["zeroblob", "randomblob"])
    order = rng.choice(["", " ORDER BY 1", " ORDER BY 2 DESC", " GROUP BY 1, 2"])
    return f"SELECT {value}({_size(rng)}), a.id FROM item a, item b{order}"


def wide_result(rng: random.Random) -> str:
    return f"SELECT {', '.join(['*'] * rng.randint(50, 900))} FROM item a, item b"


def many_rows(rng: random.Random) -> str:
    end = rng.randint(10**6, 10**9)
    return f"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < {end}) SELECT x FROM c"


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


def many_parts(rng: random.Random) -> str:
    count = rng.randint(600, 3_000)
    return rng.choice(
        [
            " UNION ALL ".join(["SELECT 1"] * count),
            "SELECT 1 FROM item" + ", item" * count,
            "SELECT " + "1," * 30_000 + "1",
            f"SELECT name LIKE '{'%a' * 2_000}' FROM item",
            f"SELECT name GLOB '{'*a' * 2_000}' FROM item",
            "SELECT json_extract('" + "[" * 20_000 + "', '$')",
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


QUICK: dict[Outcome, dict[str, Callable[[random.Random], str]]] = {
    "error": {
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
    },
    "bounded": {
        "blob bomb": blob_bomb,
        "printf bomb": printf_bomb,
        "growing text": growing_text,
        "gathered blobs": gathered,
        "rows of blobs": blob_rows,
        "wide result": wide_result,
        "many rows": many_rows,
        "many parts": many_parts,
    },
}


def invalid_bytes(seed: int, count: int) -> Iterator[bytes]:
    """Statements that are bytes and no UTF-8, as a caller that read a file wrongly would pass them."""
    rng = random.Random(seed)
    for _ in range(count):
        yield b"SELECT '" + bytes(rng.randint(128, 255) for _ in range(rng.randint(1, 30))) + b"' FROM item"
