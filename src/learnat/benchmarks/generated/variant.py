"""Draws a concrete database from a domain: which tables and columns, under which names, with which rows."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from datetime import date, timedelta

from learnat.benchmarks.generated.model import Derived, Edge, GenColumn, GenDatabase, GenTable, Link, Value
from learnat.benchmarks.generated.spec import ColumnSpec, Domain, TableSpec
from learnat.benchmarks.generated.words import invented_words, plural

TABLE_COUNTS = {3: 4, 4: 4, 5: 2, 6: 1}
"""How many tables a variant takes of its domain, with weights."""
DROP_COLUMN = 0.2
"""Probability that a variant lacks a column that nothing else needs."""
POOL_SIZE = 6
"""Distinct values a database uses of a long pool (cities, countries): columns over one pool share them."""
NAME_WORDS = 10
"""Distinct first and second words of the names in one table (more where it has more rows than they can name)."""


def draw_database(domain: Domain, db_id: str, rng: random.Random, *, rename: bool = False) -> GenDatabase:
    """A database over ``domain``. ``rename`` gives tables, columns and terms invented words in place of their own."""
    return _Variant(domain, rng, rename).build(db_id)


class _Variant:
    def __init__(self, domain: Domain, rng: random.Random, rename: bool) -> None:
        self.domain = domain
        self.rng = rng
        self.rename = rename
        self.invented = invented_words(rng) if rename else iter(())
        self.prefixed_keys = rng.random() < 0.75
        self.plural_tables = rng.random() < 0.3
        self.pools: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.tables: dict[str, GenTable] = {}
        self.edges: list[Edge] = []

    def build(self, db_id: str) -> GenDatabase:
        for spec in self._chosen_tables():
            self._add(spec)
        links = []
        for link in self.domain.links:
            sides = [edge for edge in self.edges if self._is(edge.child, link.bridge)]
            left = next((edge for edge in sides if self._is(edge.parent, link.left)), None)
            right = next((edge for edge in sides if self._is(edge.parent, link.right)), None)
            if left is not None and right is not None:
                forward, backward = ("linked to", "linked to") if self.rename else (link.forward, link.backward)
                links += [Link(left, right, forward), Link(right, left, backward)]
        return GenDatabase(
            db_id,
            self.domain.name,
            self.rename,
            tuple(self.tables.values()),
            tuple(self.edges),
            tuple(links),
            tuple(self._derived()),
        )

    def _is(self, table: GenTable, name: str) -> bool:
        return self.tables.get(name) is table

    def _chosen_tables(self) -> list[TableSpec]:
        """Tables that hang together, a many-to-many relation among them where the domain has one."""
        neighbours: dict[str, list[str]] = {spec.name: [] for spec in self.domain.tables}
        for spec in self.domain.tables:
            for column in spec.columns:
                if column.kind == "ref":
                    neighbours[spec.name].append(column.parent)
                    neighbours[column.parent].append(spec.name)
        if self.domain.links:
            link = self.rng.choice(self.domain.links)
            chosen = [link.bridge, link.left, link.right]
        else:
            chosen = [self.rng.choice([name for name, others in neighbours.items() if others])]
        wanted = self.rng.choices(list(TABLE_COUNTS), list(TABLE_COUNTS.values()))[0]
        while len(chosen) < wanted:
            frontier = [name for name in neighbours if name not in chosen and set(neighbours[name]) & set(chosen)]
            if not frontier:
                break
            chosen.append(self.rng.choice(frontier))
        return [spec for spec in self.domain.tables if spec.name in chosen]

    def _derived(self) -> list[Derived]:
        found = []
        for item in self.domain.derived:
            table = self.tables.get(item.table)
            if table is None:
                continue
            left = next((column for column in table.columns if column.spec.names[0] == item.left), None)
            right = next((column for column in table.columns if column.spec.names[0] == item.right), None)
            if left is not None and right is not None:
                found.append(Derived(table, self._term(item.term), left, item.operator, right))
        return found

    # Names.

    def _add(self, spec: TableSpec) -> None:
        names = list(spec.names)
        if len(names) > 1 and self.rng.random() < 0.35:
            names.reverse()
        if self.rename:
            names = [next(self.invented)]
        nouns = tuple((name.replace("_", " "), plural(name.replace("_", " "))) for name in names)
        identifier = plural(names[0]) if self.plural_tables else names[0]
        size = self.rng.randint(*spec.rows)
        kept = [column for column in spec.columns if self._is_kept(column, spec)]
        key_name = f"{names[0]}_id" if self.prefixed_keys else "id"
        key_spec = ColumnSpec((key_name,), (), "key")
        columns = [
            GenColumn(identifier, key_name, key_spec, (key_name.replace("_", " "),), (), tuple(range(1, size + 1)))
        ]
        taken = {key_name}
        values: dict[str, tuple[Value, ...]] = {}
        drafts: list[tuple[ColumnSpec, str, tuple[str, ...]]] = []
        for column in kept:
            name, phrases = self._name(column, spec, nouns[0][0], taken)
            taken.add(name)
            drafts.append((column, name, phrases))
        shared = Counter(phrase for _, _, phrases in drafts for phrase in set(phrases))
        for column, name, phrases in drafts:
            values[column.names[0]] = self._values(column, size, values)
            own = tuple(phrase for phrase in phrases if shared[phrase] == 1) or phrases[:1]
            terms = tuple(term[0] + self._term(term[1:]) for term in column.terms)
            columns.append(GenColumn(identifier, name, column, own, terms, values[column.names[0]]))
        table = GenTable(identifier, nouns, tuple(columns))
        self.tables[spec.name] = table
        for reference in table.of_kind("ref"):
            origin = reference.spec
            down, up = ("linked to", "linked to") if self.rename else (origin.down, origin.up)
            self.edges.append(Edge(table, reference, self.tables[origin.parent], down, up))

    def _is_kept(self, column: ColumnSpec, spec: TableSpec) -> bool:
        if column.kind == "ref":
            return column.parent in self.tables
        needed = column.kind == "label" or any(other.base == column.names[0] for other in spec.columns)
        readable = [other for other in spec.columns if other.kind != "ref"]
        return needed or len(readable) <= 3 or self.rng.random() >= DROP_COLUMN

    def _name(self, column: ColumnSpec, spec: TableSpec, noun: str, taken: set[str]) -> tuple[str, tuple[str, ...]]:
        if column.kind == "ref":
            parent = self.tables[column.parent]
            name = f"{parent.nouns[0][0].replace(' ', '_')}_id"
            return name, (name.replace("_", " "),)
        if self.rename:
            word = next(self.invented)
            return word, (word.replace("_", " "),)
        free = [name for name in column.names if name not in taken]
        name = free[0] if self.rng.random() < 0.6 else self.rng.choice(free)
        phrases = dict.fromkeys([name.replace("_", " "), *(self._with_noun(word, spec, noun) for word in column.words)])
        return name, tuple(phrases)

    @staticmethod
    def _with_noun(phrase: str, spec: TableSpec, noun: str) -> str:
        # "city of the store" must not stay where the database calls its stores shops.
        for name in spec.names:
            phrase = re.sub(rf"\bthe {name}\b", f"the {noun}", phrase)
        return phrase

    def _term(self, term: str) -> str:
        return next(self.invented) if self.rename else term

    # Rows.

    def _pool(self, values: tuple[str, ...], size: int) -> tuple[str, ...]:
        if values not in self.pools:
            self.pools[values] = tuple(self.rng.sample(values, min(size, len(values))))
        return self.pools[values]

    def _values(self, spec: ColumnSpec, size: int, others: dict[str, tuple[Value, ...]]) -> tuple[Value, ...]:
        rng = self.rng
        values: list[Value]
        if spec.kind == "ref":
            # Some parents stay without children: questions about what is missing need them.
            parents = self.tables[spec.parent].size
            used = rng.sample(range(1, parents + 1), max(2, round(parents * 0.8)))
            weights = [rng.randint(1, 4) for _ in used]
            values = list(rng.choices(used, weights, k=size))
        elif spec.kind == "label":
            firsts = _name_words(spec.values, size / min(NAME_WORDS, len(spec.seconds)), rng)
            seconds = _name_words(spec.seconds, size / len(firsts), rng)
            pairs = [f"{first} {second}" for first in firsts for second in seconds]
            values = list(rng.sample(pairs, size))
        elif spec.kind == "category":
            pool = self._pool(spec.values, POOL_SIZE)
            weights = [rng.randint(1, 3) for _ in pool]
            values = list(rng.choices(pool, weights, k=size))
        elif spec.kind == "date":
            first = date(int(spec.low), 1, 1)
            span = (date(int(spec.high), 12, 31) - first).days
            values = [(first + timedelta(days=rng.randint(0, span))).isoformat() for _ in range(size)]
        elif spec.base:
            values = [_below(base, spec.step, rng) for base in others[spec.base]]
        else:
            steps = round((spec.high - spec.low) / spec.step)
            values = [_tidy(spec.low + spec.step * rng.randint(0, steps), spec.step) for _ in range(size)]
        return tuple(None if spec.nulls and rng.random() < spec.nulls else value for value in values)


def _name_words(pool: tuple[str, ...], least: float, rng: random.Random) -> list[str]:
    return rng.sample(pool, min(max(NAME_WORDS, math.ceil(1.5 * least)), len(pool)))


def _below(base: Value, step: float, rng: random.Random) -> float | int:
    assert isinstance(base, (int, float))
    return _tidy(max(1, round(base * rng.uniform(0.4, 0.95) / step)) * step, step)


def _tidy(value: float, step: float) -> float | int:
    return int(value) if step == int(step) else round(value, 2)
