"""Hashes that stand for results too large to be sent and kept: equal exactly when the comparison calls rows equal.

Each way to compare results (``learnat.sql.results``) has its digest, computed while the rows stream by:

* ``set``: the set of rows. A row is kept as a 64-bit hash, 8 bytes of memory for each distinct row.
* ``sequence``: the rows in order.
* ``spider_sequence``: Spider's rule where gold orders its rows: the rows with their cells sorted as text, in order, and
  the bag of columns.
* ``spider_bag``: Spider's rule otherwise: the set of rows with their cells sorted as text, and the bag of rows under a
  column order that does not depend on the given one. That order is known only after all rows were seen, so the query
  runs twice.

"Exactly" is up to a collision: of two sets that differ in one of ten million rows, with a probability of 5e-13.
Cells count as equal where Python's ``==`` says so (1 and 1.0), as in a comparison of rows.
"""

from __future__ import annotations

import marshal
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from hashlib import blake2b
from itertools import permutations, product
from math import factorial, prod
from typing import Any, Literal

Row = tuple[Any, ...]
DigestKind = Literal["set", "sequence", "spider_sequence", "spider_bag"]
Passes = Callable[[], Iterable[Sequence[Row]]]
"""Starts a pass over all rows, in batches."""

MAX_ORDERS = 24
"""Column orders that are tried where columns hold the same values: with more, the result has no digest."""

_PLAIN = {int, str, bytes, type(None)}
_MODULUS = 2**128


def digest(kind: DigestKind, passes: Passes) -> str | None:
    """The digest of the rows that ``passes`` yields, or None where too many columns are alike (``MAX_ORDERS``)."""
    value = _DIGESTS[kind](passes)
    return None if value is None else f"{kind}:{value}"


def sorted_cells(row: Row) -> Row:
    """The cells sorted as the official Spider evaluator sorts them: as text, so that "1.0" stands before "10"."""
    return row if len(row) == 1 else tuple(sorted(row, key=lambda cell: str(cell) + str(type(cell))))


def _encode(row: Row) -> bytes:
    """Bytes that are equal exactly for rows that are equal. Version 2 of the format has no references."""
    return marshal.dumps(row if _PLAIN.issuperset(map(type, row)) else tuple(map(_plain, row)), 2)


def _plain(cell: Any) -> Any:
    if type(cell) in _PLAIN:
        return cell
    if isinstance(cell, (bool, float, Decimal)):
        if cell != cell or cell in (float("inf"), float("-inf")):
            return float(cell)
        if cell == int(cell):
            return int(cell)
        return float(cell) if cell == float(cell) else ("ratio", *Decimal(cell).as_integer_ratio())
    if isinstance(cell, tuple):
        return ("tuple", *map(_plain, cell))
    return type(cell).__name__, repr(cell)


def _number(data: bytes) -> int:
    """A 128-bit hash."""
    return int.from_bytes(blake2b(data, digest_size=16).digest(), "little")


class _Distinct:
    """The distinct rows of a stream, as 64-bit hashes that are spread over buckets and deduplicated one by one."""

    def __init__(self) -> None:
        self._buckets = [array("Q") for _ in range(256)]
        self._added = 0
        self._deduplicate_at = 2**20

    def add(self, encoded: Iterable[bytes]) -> None:
        buckets, number = self._buckets, int.from_bytes
        for row in encoded:
            value = number(blake2b(row, digest_size=8).digest(), "little")
            buckets[value & 255].append(value)
        self._added = sum(map(len, buckets))
        if self._added >= self._deduplicate_at:
            self._buckets = [array("Q", set(bucket)) for bucket in self._buckets]
            self._added = sum(map(len, self._buckets))
            self._deduplicate_at = max(2 * self._added, 2**20)

    def hexdigest(self) -> str:
        whole = blake2b(digest_size=16)
        for bucket in self._buckets:
            whole.update(array("Q", sorted(set(bucket))).tobytes())
        return whole.hexdigest()


def _set(passes: Passes) -> str:
    distinct = _Distinct()
    for batch in passes():
        distinct.add(set(map(_encode, batch)))
    return distinct.hexdigest()


def _sequence(passes: Passes) -> str:
    whole = blake2b(digest_size=16)
    for batch in passes():
        whole.update(b"".join(map(_encode, batch)))
    return whole.hexdigest()


def _spider_sequence(passes: Passes) -> str:
    rows = blake2b(digest_size=16)
    columns: list[Any] = []
    for batch in passes():
        columns = columns or [blake2b(digest_size=16) for _ in batch[0]]
        rows.update(b"".join([_encode(sorted_cells(row)) for row in batch]))
        for column, cells in zip(columns, zip(*batch, strict=True), strict=True):
            column.update(b"".join([_encode((cell,)) for cell in cells]))
    return ",".join([rows.hexdigest(), *sorted(column.hexdigest() for column in columns)])


def _spider_bag(passes: Passes) -> str | None:
    rows = _Distinct()
    bags: list[int] = []
    for batch in passes():
        bags = bags or [0] * len(batch[0])
        rows.add({_encode(sorted_cells(row)) for row in batch})
        columns = list(zip(*batch, strict=True))
        bags = [(bag + _bag(zip(cells, strict=True))) % _MODULUS for bag, cells in zip(bags, columns, strict=True)]
    groups = [[i for i, bag in enumerate(bags) if bag == value] for value in sorted(set(bags))]
    if prod(factorial(len(group)) for group in groups) > MAX_ORDERS:
        return None
    orders = [[i for part in parts for i in part] for parts in product(*map(permutations, groups))]
    sums = [0] * len(orders)
    for batch in passes():
        columns = list(zip(*batch, strict=True))
        sums = [
            (total + _bag(zip(*[columns[i] for i in order], strict=True))) % _MODULUS
            for total, order in zip(sums, orders, strict=True)
        ]
    return ",".join([rows.hexdigest(), *(f"{bag:x}" for bag in sorted(bags)), f"{min(sums):x}"])


def _bag(rows: Iterable[Row]) -> int:
    """A sum that is equal for equal bags of rows."""
    return sum(count * _number(_encode(row)) for row, count in Counter(rows).items())


_DIGESTS: dict[str, Callable[[Passes], str | None]] = {
    "set": _set,
    "sequence": _sequence,
    "spider_sequence": _spider_sequence,
    "spider_bag": _spider_bag,
}
