"""Controlled mistakes: one word of a right step changed, the rest left as written. They are hard negatives.

Whether a mutant really is wrong is not decided here: the proposer discards those that are still included or final.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sqlglot import TokenType
from sqlglot.errors import TokenError

from learnat.benchmarks.schema_text import quote_name
from learnat.errors import LearnatError, nearest
from learnat.sql.schema import Column, Schema, Table
from learnat.synthesis.checks import check_number
from learnat.synthesis.proposers.tokens import Block, Word, read_words

_OPERATORS = {
    TokenType.EQ: ("!=", ">", "<"),
    TokenType.NEQ: ("=",),
    TokenType.GT: ("<", ">=", "="),
    TokenType.GTE: (">", "<"),
    TokenType.LT: (">", "<=", "="),
    TokenType.LTE: ("<", ">"),
    TokenType.UNION: ("INTERSECT", "EXCEPT"),
    TokenType.INTERSECT: ("UNION", "EXCEPT"),
    TokenType.EXCEPT: ("INTERSECT", "UNION"),
    TokenType.DESC: ("ASC",),
    TokenType.ASC: ("DESC",),
    TokenType.OR: ("AND",),
}
_AGGREGATES = ("count", "sum", "avg", "min", "max")
_NUMERIC = re.compile(r"int|real|num|float|double|dec", re.IGNORECASE)


@dataclass(frozen=True)
class Mutant:
    sql: str
    kind: str


@dataclass(frozen=True)
class Edit:
    """Replace ``sql[start:end]`` by ``text``."""

    start: int
    end: int
    text: str


def check_weights(weights: Mapping[str, float]) -> None:
    """Raise ``LearnatError`` for a mutation type that does not exist, and for a weight that is no number from 0 on."""
    for kind, weight in weights.items():
        if kind not in MUTATIONS:
            raise LearnatError(f"proposer.mutation_types: {kind!r} is no mutation. {nearest(str(kind), MUTATIONS)}")
        check_number(f"proposer.mutation_types.{kind}", weight, least=0.0)


class Mutator:
    """Draws mutants of one step; ``rng`` decides kind and place.

    Raises ``LearnatError`` as ``check_weights`` does.
    """

    def __init__(self, schema: Schema, weights: Mapping[str, float]) -> None:
        check_weights(weights)
        self._schema = schema
        self._weights = {kind: float(weight) for kind, weight in weights.items() if weight > 0}

    def mutants(self, sql: str, rng: random.Random) -> Iterator[Mutant]:
        """Mutants of ``sql`` without end of repetition: each edit at most once, kinds drawn by their weights."""
        try:
            words, blocks = read_words(sql, self._schema)
        except TokenError:
            return
        text = _Text(sql, words, blocks, self._schema)
        edits = {kind: list(MUTATIONS[kind](text, rng)) for kind in self._weights}
        edits = {kind: found for kind, found in edits.items() if found}
        while edits:
            kinds = list(edits)
            kind = rng.choices(kinds, [self._weights[name] for name in kinds])[0]
            edit = edits[kind].pop(rng.randrange(len(edits[kind])))
            if not edits[kind]:
                del edits[kind]
            yield Mutant(sql[: edit.start] + edit.text + sql[edit.end :], kind)


@dataclass(frozen=True)
class _Text:
    sql: str
    words: list[Word]
    blocks: list[Block]
    schema: Schema

    def before(self, i: int, kinds: set[TokenType], reach: int = 3) -> bool:
        """Whether one of ``kinds`` stands among the ``reach`` tokens before token ``i``."""
        return any(word.kind in kinds for word in self.words[max(i - reach, 0) : i])

    def spelled(self, name: str, like: Word) -> str:
        """``name`` quoted if it must be, in lower case if the word it replaces is."""
        if like.text.islower() and like.kind != TokenType.IDENTIFIER:
            name = name.lower()
        return quote_name(name)


def _wrong_column(text: _Text, rng: random.Random) -> Iterator[Edit]:
    """Another column of the same table, in any clause but the join."""
    for word in text.words:
        if word.column and word.table and word.clause != "on":
            yield from _other_columns(text, word, word.table, word.column, rng)


def _join_key(text: _Text, rng: random.Random) -> Iterator[Edit]:
    """Another column of the same table in a join condition."""
    for word in text.words:
        if word.column and word.table and word.clause == "on":
            yield from _other_columns(text, word, word.table, word.column, rng)


def _other_columns(text: _Text, word: Word, table: Table, column: Column, rng: random.Random) -> Iterator[Edit]:
    others = [other for other in table.columns if other is not column]
    for other in rng.sample(others, min(3, len(others))):
        yield Edit(word.start, word.end, text.spelled(other.name, word))


def _operator(text: _Text, rng: random.Random) -> Iterator[Edit]:
    """Another comparison, direction, connective or set operation; NOT left out."""
    for i, word in enumerate(text.words):
        if word.clause == "on":
            continue
        if word.kind == TokenType.NOT and not text.before(i, {TokenType.IS}, 1):
            follower = text.words[i + 1].start if i + 1 < len(text.words) else word.end
            yield Edit(word.start, follower, "")
        elif word.kind == TokenType.IN and not text.before(i, {TokenType.NOT}, 1):
            yield Edit(word.start, word.end, "NOT IN")
        elif word.kind in _OPERATORS:
            yield Edit(word.start, word.end, rng.choice(_OPERATORS[word.kind]))


def _value(text: _Text, rng: random.Random) -> Iterator[Edit]:
    """Another literal, for a string one that occurs in the compared column."""
    for i, word in enumerate(text.words):
        if word.clause in ("select", "from", "on", ""):
            continue
        if word.kind == TokenType.NUMBER:
            yield Edit(word.start, word.end, _other_number(word.text, rng))
        elif _is_string(text, i):
            quote = text.sql[word.start]
            value = _other_string(word.text, _compared(text, i), rng)
            yield Edit(word.start, word.end, quote + value.replace(quote, quote * 2) + quote)


def _is_string(text: _Text, i: int) -> bool:
    """Whether token ``i`` is a string, double-quoted ones that name nothing included."""
    word = text.words[i]
    if word.kind == TokenType.IDENTIFIER:
        names_something = word.column or word.table or any(w.kind == TokenType.DOT for w in text.words[i + 1 : i + 2])
        return text.sql[word.start] == '"' and not names_something
    return word.kind == TokenType.STRING and text.sql[word.start] in "'\""


def _compared(text: _Text, i: int) -> Column | None:
    """The column that the literal at token ``i`` is compared with."""
    for word in reversed(text.words[max(i - 8, 0) : i]):
        if word.column:
            return word.column
        if word.kind in (TokenType.AND, TokenType.OR, TokenType.WHERE, TokenType.HAVING):
            return None
    return None


def _other_number(number: str, rng: random.Random) -> str:
    if number.isdigit():
        value = int(number)
        return str(rng.choice([value + 1, value + 2, value * 10 or 5, max(value - 1, 0) or 3]))
    try:
        return f"{float(number) * rng.choice([0.5, 2, 10]):g}"
    except ValueError:
        return "0"


def _other_string(value: str, column: Column | None, rng: random.Random) -> str:
    bare = value.strip("%")
    samples = [sample for sample in (column.samples if column else ()) if sample.casefold() != bare.casefold()]
    if samples:
        other = rng.choice(samples)
    elif match := re.search(r"\d+", bare):
        other = bare[: match.start()] + str(int(match.group()) + 1) + bare[match.end() :]
    else:
        other = bare[:-1] if len(bare) > 1 else bare + "x"
    return value.replace(bare, other) if bare else other


def _aggregate(text: _Text, rng: random.Random) -> Iterator[Edit]:
    """Another aggregate function; count(*) has none."""
    for word, following, argument in zip(text.words, text.words[1:], text.words[2:], strict=False):
        name = word.text.casefold()
        if name in _AGGREGATES and following.kind == TokenType.L_PAREN and argument.kind != TokenType.STAR:
            others = [other for other in _AGGREGATES if other != name]
            if argument.kind == TokenType.DISTINCT:
                others = ["sum", "min", "max"]
            other = rng.choice(others)
            yield Edit(word.start, word.end, other.upper() if word.text.isupper() else other)


def _table(text: _Text, rng: random.Random) -> Iterator[Edit]:
    """Another table, preferably one that has columns of the same names, so that the query may still run."""
    used = {word.column.name.casefold() for word in text.words if word.column}
    for word in text.words:
        if word.table and not word.column:
            others = [table for table in text.schema.tables if table is not word.table]
            others.sort(key=lambda table: -sum(table.column(name) is not None for name in used))
            if others:
                yield Edit(word.start, word.end, text.spelled(rng.choice(others[:2]).name, word))


def _condition(text: _Text, rng: random.Random) -> Iterator[Edit]:
    """A condition nobody asked for, on a column of one of the block's tables."""
    for number, block in enumerate(text.blocks):
        words = [(i, word) for i, word in enumerate(text.words) if word.block == number]
        condition = _new_condition(block, rng)
        if not words or condition is None:
            continue
        where = next((word for _, word in words if word.kind == TokenType.WHERE), None)
        if where:
            yield Edit(where.end, where.end, f" {condition} AND")
        else:
            last = max((word for _, word in words if word.clause in ("from", "on")), key=lambda w: w.end, default=None)
            if last:
                yield Edit(last.end, last.end, f" WHERE {condition}")


def _new_condition(block: Block, rng: random.Random) -> str | None:
    choices = [(alias, column) for alias, table in block.aliases.items() for column in table.columns]
    if not choices:
        return None
    alias, column = rng.choice(choices)
    plain = len(block.aliases) == 1 and block.aliases[alias].name.casefold() == alias.casefold()
    qualifier = "" if plain else f"{quote_name(alias)}."
    name = quote_name(column.name)
    if not column.samples:
        bound = rng.randrange(1, 100)
        return f"{qualifier}{name} > {bound}" if _NUMERIC.search(column.type) else f"{qualifier}{name} LIKE '%{bound}%'"
    sample = rng.choice(column.samples)
    number = _NUMERIC.search(column.type) and re.fullmatch(r"-?\d+(\.\d+)?", sample)
    return f"{qualifier}{name} > {sample}" if number else f"{qualifier}{name} = '" + sample.replace("'", "''") + "'"


MUTATIONS: dict[str, Callable[[_Text, random.Random], Iterator[Edit]]] = {
    "column": _wrong_column,
    "operator": _operator,
    "value": _value,
    "aggregate": _aggregate,
    "table": _table,
    "join_key": _join_key,
    "condition": _condition,
}
