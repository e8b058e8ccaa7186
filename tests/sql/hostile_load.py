"""Families of queries that only read, and would never end or fill the memory."""

from __future__ import annotations

import random
from collections.abc import Callable

Family = Callable[[random.Random], str]


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


ENDLESS: dict[str, Family] = {
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


HEAVY: dict[str, Family] = {
    "blob bomb": blob_bomb,
    "printf bomb": printf_bomb,
    "growing text": growing_text,
    "gathered blobs": gathered,
    "rows of blobs": blob_rows,
    "wide result": wide_result,
    "many rows": many_rows,
    "many parts": many_parts,
}
