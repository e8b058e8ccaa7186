"""Random queries over the fixture database as data, and ways to write one and the same query."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from hypothesis import strategies as st

COLUMNS = {
    "singer": ("singer_id", "name", "country", "age"),
    "singer_in_concert": ("concert_id", "singer_id"),
    "concert": ("concert_id", "concert_name", "theme", "stadium_id", "year"),
    "stadium": ("stadium_id", "location", "name", "capacity"),
    "song": ("song_id", "title", "singer_id", "sales"),
    "employee": ("emp_id", "name", "salary", "manager_id", "city"),
    "friend": ("emp_id", "friend_id", "since"),
    "schools": ("CDSCode", "School", "Größe", "Straße"),
    "frpm": ("CDSCode", "School Name", "Enrollment (K-12)"),
}
LINKS = (
    ("singer", "singer_id", "singer_in_concert", "singer_id"),
    ("singer_in_concert", "concert_id", "concert", "concert_id"),
    ("concert", "stadium_id", "stadium", "stadium_id"),
    ("singer", "singer_id", "song", "singer_id"),
    ("employee", "emp_id", "employee", "manager_id"),
    ("employee", "emp_id", "friend", "emp_id"),
    ("employee", "emp_id", "friend", "friend_id"),
    ("schools", "CDSCode", "frpm", "CDSCode"),
)
VALUES = ("5", "41", "'France'", "'Ayr'", "'2014'", "2014", "'Free'", "70", "1.5", "'Elm'", "'it''s'")


@dataclass(frozen=True)
class Ref:
    """A column of the n-th table instance."""

    place: int
    name: str


@dataclass(frozen=True)
class Test:
    """``kind`` is an operator, or one of between, in, like, null, or, in-query, exists."""

    kind: str
    left: Ref
    values: tuple[str, ...] = ()
    right: Ref | None = None
    parts: tuple[Test, ...] = ()
    negated: bool = False


@dataclass(frozen=True)
class Spec:
    tables: tuple[str, ...]
    links: tuple[tuple[Ref, Ref], ...]
    tests: tuple[Test, ...]
    projections: tuple[Ref, ...]
    distinct: bool = False
    aggregate: tuple[str, Ref] | None = None
    """With it, the projections are the group keys."""
    having: int | None = None
    order: tuple[tuple[int, bool], ...] = ()
    """Positions among the projections, and whether descending."""


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    tables = [draw(st.sampled_from(sorted(COLUMNS)))]
    links: list[tuple[Ref, Ref]] = []
    for _ in range(draw(st.integers(0, 3))):
        options = [
            (Ref(place, mine), other, theirs)
            for a, x, b, y in LINKS
            for first, mine, other, theirs in ((a, x, b, y), (b, y, a, x))
            for place, table in enumerate(tables)
            if table == first
        ]
        near, other, column = draw(st.sampled_from(options))
        tables.append(other)
        links.append((near, Ref(len(tables) - 1, column)))
    refs = st.sampled_from([Ref(place, name) for place, table in enumerate(tables) for name in COLUMNS[table]])
    values = st.sampled_from(VALUES)
    simple = st.one_of(
        st.builds(Test, st.sampled_from(("=", "!=", "<", ">", "<=", ">=")), refs, st.tuples(values)),
        st.builds(Test, st.just("between"), refs, st.tuples(values, values), negated=st.booleans()),
        st.builds(
            Test, st.just("in"), refs, st.lists(values, min_size=1, max_size=3).map(tuple), negated=st.booleans()
        ),
        st.builds(Test, st.just("like"), refs, st.just(("'%a%'",)), negated=st.booleans()),
        st.builds(Test, st.just("null"), refs, negated=st.booleans()),
        st.builds(Test, st.sampled_from(("=", "<", "!=")), refs, right=refs),
    )
    nested = st.builds(
        lambda ref, table, values, negated: Test("in-query", ref, (table, *values), negated=negated),
        *(refs, st.sampled_from(("singer", "stadium", "employee")), st.tuples(values), st.booleans()),
    )
    either = st.builds(Test, st.just("or"), refs, parts=st.lists(simple, min_size=2, max_size=3).map(tuple))
    tests = tuple(draw(st.lists(st.one_of(simple, simple, either, nested), max_size=3)))
    projections = tuple(draw(st.lists(refs, min_size=1, max_size=3, unique=True)))
    aggregate = draw(st.none() | st.tuples(st.sampled_from(("count", "sum", "max", "count distinct")), refs))
    having = draw(st.none() | st.integers(0, 2)) if aggregate else None
    order = draw(st.lists(st.tuples(st.integers(0, len(projections) - 1), st.booleans()), max_size=2))
    return Spec(tuple(tables), tuple(links), tests, projections, draw(st.booleans()), aggregate, having, tuple(order))


def smaller(spec: Spec, choose: random.Random) -> Spec:
    """A part of ``spec`` that is still a right step: some conditions, projections and keys fewer."""
    kept = tuple(test for test in spec.tests if choose.random() < 0.5)
    spec = replace(spec, tests=kept, having=None, order=(), distinct=False)
    if spec.aggregate is None and choose.random() < 0.5:
        spec = replace(spec, projections=(choose.choice(spec.projections),))
    return spec


class Style:
    """One way to write a query: aliases, quotes, case, operand and join order, comma or JOIN, ordinals."""

    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)

    def write(self, spec: Spec) -> str:
        choose = self.choose
        order = list(range(len(spec.tables)))
        choose.shuffle(order)
        names = {place: f"{choose.choice('abT')}{n}" for n, place in enumerate(order)}
        self.names = names
        joined: list[str] = []
        conditions = [self._equal(*link) for link in spec.links]
        tests = [self._test(test) for test in spec.tests]
        comma = choose.random() < 0.4
        seen: set[int] = set()
        for n, place in enumerate(order):
            seen.add(place)
            table = self._case(spec.tables[place]) + choose.choice((" AS ", " ")) + names[place]
            if n == 0:
                joined.append(table)
            elif comma:
                joined.append(f", {table}")
            else:
                ready = [c for link, c in zip(spec.links, conditions, strict=True) if {r.place for r in link} <= seen]
                used = [c for c in ready if not any(c in part for part in joined)]
                on = f" ON {' AND '.join(used)}" if used else ""
                joined.append(f"{choose.choice((' JOIN ', ' INNER JOIN '))}{table}{on}")
        where = ([*conditions] if comma else []) + tests
        choose.shuffle(where)
        items = [self._ref(ref) for ref in spec.projections]
        keys = list(items)
        if spec.aggregate is not None:
            items.append(self._aggregate(*spec.aggregate))
        sql = f"{self._case('select')} {'DISTINCT ' if spec.distinct else ''}{', '.join(items)} FROM {''.join(joined)}"
        if where:
            sql += " WHERE " + " AND ".join(where)
        if spec.aggregate is not None:
            choose.shuffle(keys)
            sql += " GROUP BY " + ", ".join(keys)
            if spec.having is not None:
                sql += f" HAVING {self._flip('count(*)', '>', str(spec.having))}"
        if spec.order:
            sql += " ORDER BY " + ", ".join(self._order(spec, *key) for key in spec.order)
        return sql

    def _order(self, spec: Spec, place: int, descending: bool) -> str:
        term = str(place + 1) if self.choose.random() < 0.5 else self._ref(spec.projections[place])
        return term + (" DESC" if descending else self.choose.choice(("", " ASC")))

    def _aggregate(self, kind: str, ref: Ref) -> str:
        if kind == "count":
            return self.choose.choice(("COUNT(*)", "count(1)"))
        if kind == "count distinct":
            return f"COUNT(DISTINCT {self._ref(ref)})"
        return f"{self._case(kind)}({self._ref(ref)})"

    def _case(self, word: str) -> str:
        return self.choose.choice((word, word.upper(), word.capitalize()))

    def _ref(self, ref: Ref) -> str:
        quotes = ("``", '""', "[]") if not ref.name.isidentifier() else ("", "``", '""')
        chosen = self.choose.choice(quotes)
        name = self._case(ref.name) if ref.name.isascii() else ref.name
        return f"{self.names[ref.place]}.{chosen[:1]}{name}{chosen[1:]}"

    def _equal(self, left: Ref, right: Ref) -> str:
        return self._flip(self._ref(left), "=", self._ref(right))

    def _flip(self, left: str, operator: str, right: str) -> str:
        mirror = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
        if self.choose.random() < 0.5:
            left, operator, right = right, mirror.get(operator, operator), left
        if operator == "!=":
            operator = self.choose.choice(("!=", "<>"))
        return f"{left} {operator} {right}"

    def _test(self, test: Test) -> str:
        text = self._plain(test)
        return f"({text})" if self.choose.random() < 0.2 else text

    def _plain(self, test: Test) -> str:
        left, choose = self._ref(test.left), self.choose
        if test.kind == "between":
            low, high = test.values
            if choose.random() < 0.5:
                return f"{left} {'NOT ' if test.negated else ''}BETWEEN {low} AND {high}"
            if test.negated:
                return f"({self._flip(left, '<', low)} OR {self._flip(left, '>', high)})"
            return f"({self._flip(left, '>=', low)} AND {self._flip(left, '<=', high)})"
        if test.kind == "in":
            values = list(test.values)
            choose.shuffle(values)
            if choose.random() < 0.5:
                return f"{left} {'NOT ' if test.negated else ''}IN ({', '.join(values)})"
            either = " OR ".join(self._flip(left, "=", value) for value in values)
            return f"NOT ({either})" if test.negated else f"({either})"
        if test.kind == "like":
            return (
                choose.choice((f"NOT {left} LIKE", f"{left} NOT LIKE")) + f" {test.values[0]}"
                if test.negated
                else (f"{left} LIKE {test.values[0]}")
            )
        if test.kind == "null":
            return choose.choice((f"{left} IS NOT NULL", f"NOT {left} IS NULL")) if test.negated else f"{left} IS NULL"
        if test.kind == "or":
            parts = [self._test(part) for part in test.parts]
            choose.shuffle(parts)
            return f"({' OR '.join(parts)})"
        if test.kind == "in-query":
            table, value = test.values
            inner = choose.choice(("x", "y"))
            column = {"singer": "age", "stadium": "capacity", "employee": "salary"}[table]
            query = f"SELECT {inner}.name FROM {table} AS {inner} WHERE {self._flip(f'{inner}.{column}', '<', value)}"
            return f"{left} {'NOT ' if test.negated else ''}IN ({query})"
        return self._flip(left, test.kind, self._ref(test.right) if test.right is not None else test.values[0])
