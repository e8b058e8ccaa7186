"""Is a proposed step on the way to the gold query?

The principle: a step is right when a person could need its answer on the way to the gold answer, and gold's
own clauses prove it. So the step's root block must map into a block of gold such that every condition and
key of the step occurs there; it may leave out what gold has, and it may look up a key that gold never selects.
A nested query is only a part of the answer around it, so it keeps what decides that answer: its limit, the branches
of its set operation and, where its rows are counted, its groups and DISTINCT. What is only style (aliases, case,
quoting, the order of operands and joins, a comma for JOIN, which of two joined columns is named, an extra key) plays no
part.

Modes: ``clause`` is this rule; ``strict`` also wants every projection to be one of gold's own in that block;
``text`` is the token-tree test of the script that the authors published, kept as a baseline.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from sqlglot import exp

from learnat.sql.block_builder import QueryView, view
from learnat.sql.blocks import NONE, Block
from learnat.sql.matching import Matcher
from learnat.sql.parse import SqlParseError
from learnat.sql.schema import Schema


@dataclass(frozen=True)
class Inclusion:
    """The verdict on one step; true when it is included.

    ``covered`` are the ids of gold's AST nodes (places in its labelled tree) that the step accounts for: under
    the inclusion map or, for a step that is not included, the best multiset overlap. ``total`` counts gold's nodes,
    so the coverage of a path is the size of the union over its steps, divided by ``total``.
    """

    included: bool
    covered: frozenset[int]
    total: int
    failure: str = ""
    part: exp.Expr | None = field(default=None, repr=False, compare=False)
    """What of the step the failure is about."""

    def __bool__(self) -> bool:
        return self.included

    @property
    def reason(self) -> str:
        """Why the step is not included; empty when it is."""
        return self.failure if self.part is None else f"{self.failure}: {self.part.sql('sqlite')}"

    @property
    def coverage(self) -> float:
        return len(self.covered) / self.total if self.total else 0.0


def includes(
    gold: str, step: str, schema: Schema | None = None, dialect: str = "sqlite", mode: str = "clause"
) -> Inclusion:
    """Whether ``step`` is a right step towards ``gold``. Cached.

    A step that does not parse is not included and covers nothing.

    Raises:
        SqlParseError: gold is not one query.
        ValueError: an unknown mode.
    """
    if mode not in ("clause", "strict", "text"):
        raise ValueError(f"unknown inclusion mode {mode!r}: use clause, strict or text")
    return _includes(gold, step, schema, dialect, mode)


@lru_cache(maxsize=10_000)
def _includes(gold: str, step: str, schema: Schema | None, dialect: str, mode: str) -> Inclusion:
    whole = view(gold, schema, dialect)
    total = len(whole.tree)
    try:
        part = view(step, schema, dialect)
    except SqlParseError as error:
        return Inclusion(False, NONE, total, f"does not parse: {error}")
    if mode == "text":
        from learnat.sql.token_tree import is_subtree

        included = is_subtree(gold, step)
        return Inclusion(included, overlap(whole, part), total, "" if included else "no subtree of gold's tokens")
    if whole.form.sql == part.form.sql:
        return Inclusion(True, frozenset(range(total)), total)
    matcher = Matcher(strict=mode == "strict")
    try:
        found = [match.covered for block in whole.blocks if (match := matcher.root(part.root, block)) is not None]
        if not found:
            found = [match.covered for s, g in _unnested(whole, part) if (match := matcher.root(s, g)) is not None]
    except RecursionError:
        return Inclusion(False, overlap(whole, part), total, "nested too deeply")
    if not found:
        return Inclusion(False, overlap(whole, part), total, matcher.failure, matcher.part)
    return Inclusion(True, max(found, key=len), total)


def _unnested(whole: QueryView, part: QueryView) -> Iterator[tuple[Block, Block]]:
    """Pairs of a step's root block and a block of gold, of which at least one has its subqueries merged."""
    step = part.merged[0]
    for block, merged, relaxed in zip(whole.blocks, whole.merged, whole.relaxed, strict=True):
        if merged is not None:
            yield part.root, merged
        if step is not None:
            yield step, block
        if step is not None and merged is not None:
            yield step, merged
        for weaker in relaxed:
            yield part.root, weaker
            if step is not None:
                yield step, weaker


def overlap(whole: QueryView, part: QueryView) -> frozenset[int]:
    """The places of gold's nodes that find a partner of the same label in the step, one for one."""
    left = Counter(part.tree.labels)
    covered = []
    for place, label in enumerate(whole.tree.labels):
        if left[label] > 0:
            left[label] -= 1
            covered.append(place)
    return frozenset(covered)
