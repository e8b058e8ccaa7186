"""A part of a schema keeps what joins need."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.inference.music import SCHEMA

from learnat.benchmarks.schema_part import schema_part
from learnat.sql.schema import Column, ForeignKey, Schema, Table


def shape(schema: Schema) -> dict[str, list[str]]:
    return {table.name: [column.name for column in table.columns] for table in schema.tables}


def test_keys_come_with_the_columns() -> None:
    part = schema_part(SCHEMA, {"singer": {"name"}, "performs": {"fee"}})
    assert shape(part) == {"singer": ["id", "name"], "performs": ["singer_id", "fee"]}
    assert part.foreign_keys == (ForeignKey("performs", "singer_id", "singer", "id"),)


def test_tables_between_come_along() -> None:
    part = schema_part(SCHEMA, {"singer": {"name"}, "venue": {"city"}})
    assert shape(part) == {
        "singer": ["id", "name"],
        "concert": ["id", "venue_id"],
        "venue": ["id", "city"],
        "performs": ["singer_id", "concert_id"],
    }
    assert part.foreign_keys == SCHEMA.foreign_keys


def test_a_table_that_is_only_counted_is_shown_whole_where_it_has_no_key() -> None:
    schema = Schema((Table("log", (Column("line"), Column("day"))), *SCHEMA.tables))
    assert shape(schema_part(schema, {"log": ()})) == {"log": ["line", "day"]}
    assert shape(schema_part(schema, {"singer": ()})) == {"singer": ["id"]}


@st.composite
def schemas_with_columns(draw: st.DrawFn) -> tuple[Schema, dict[str, set[str]]]:
    """Any foreign keys, also in circles, to oneself and where names differ in case."""
    count = draw(st.integers(1, 6))
    columns = tuple(Column(name, primary_key=draw(st.booleans())) for name in "abc")
    tables = tuple(Table(f"T{number}", columns) for number in range(count))
    place, name = st.integers(0, count - 1), st.sampled_from("abc")
    ends = draw(st.lists(st.tuples(place, name, place, name), max_size=8))
    keys = tuple(ForeignKey(f"t{one}", a, f"T{other}", b) for one, a, other, b in ends)
    chosen = draw(st.dictionaries(st.sampled_from([table.name for table in tables]), st.sets(name), min_size=1))
    return Schema(tables, keys), chosen


def connected(schema: Schema, start: str) -> set[str]:
    found, queue = {start}, [start]
    for here in queue:
        for key in schema.foreign_keys:
            ends = {key.table.casefold(), key.ref_table.casefold()}
            if here in ends:
                queue += sorted(ends - found)
                found |= ends
    return found


@given(schemas_with_columns())
def test_what_could_be_joined_can_still_be(given_: tuple[Schema, dict[str, set[str]]]) -> None:
    schema, chosen = given_
    part = schema_part(schema, chosen)
    shown = shape(part)
    assert list(shown) == [table.name for table in schema.tables if table.name in shown]
    assert all(columns <= set(shown[table]) for table, columns in chosen.items())
    for table in chosen:
        reachable = connected(schema, table.casefold()) & {other.casefold() for other in chosen}
        assert reachable <= connected(part, table.casefold())
    for key in part.foreign_keys:
        ends = (part.table(key.table), key.column), (part.table(key.ref_table), key.ref_column)
        assert all(table is not None and table.column(column) for table, column in ends)
