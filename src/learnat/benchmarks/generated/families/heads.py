"""Questions of the form "what of the rows …": what is asked, before a clause that says which rows."""

from __future__ import annotations

from learnat.benchmarks.generated.families.common import Composer, Draft
from learnat.benchmarks.generated.model import GenTable
from learnat.benchmarks.generated.scope import Scope, Where, joined
from learnat.benchmarks.generated.words import plural

COUNTED = 0.22
"""How often the rows are counted rather than shown."""


def asked_of(
    c: Composer,
    table: GenTable,
    outer: Where,
    clause: str,
    condition: str,
    evidence: tuple[str, ...] = (),
    *,
    alias: str = "",
) -> Draft | None:
    """A question about the rows of ``table`` that meet ``outer`` and ``condition``, which ``clause`` words."""
    if outer.evidence and evidence:
        return None  # the same adjective could be explained in two ways
    scope = Scope(table)
    comma = "," if outer.filters and not outer.filters[0].adjective else ""
    rows, one = c.say.rows(scope, outer), c.say.rows(scope, outer, one=True)
    if c.chance(COUNTED):
        select = "COUNT(*)"
        question = c.words(
            f"How many {rows} are there {clause}?",
            f"Count the {rows}{comma} {clause}.",
            f"What is the number of {rows}{comma} {clause}?",
            f"Give the count of {rows}{comma} {clause}.",
        )
    else:
        shown = c.shown(table)
        if shown is None or any(item.column is shown for item in outer.filters):
            return None
        select, asked = f"{alias}.{shown.name}" if alias else shown.name, c.say.phrase(shown)
        question = c.words(
            f"List the {asked} of all {rows}{comma} {clause}.",
            f"What are the {plural(asked)} of the {rows}{comma} {clause}?",
            f"Show the {asked} of every {one}{comma} {clause}.",
            f"Find the {plural(asked)} of {rows}{comma} {clause}.",
            f"Give the {asked} of each {one}{comma} {clause}.",
        )
    source = f"{table.name} AS {alias}" if alias else table.name
    where = outer.sql(scope) + (" AND " if outer.filters else " WHERE ")
    sql = f"SELECT {select} FROM {source}{where}{condition}"
    return Draft(sql, question, joined([*outer.evidence, *evidence]), fewer_than=table.size)
