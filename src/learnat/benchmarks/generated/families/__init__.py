"""The constructs of the question grammar, and how often each is drawn."""

from __future__ import annotations

from collections.abc import Callable

from learnat.benchmarks.generated.families import compared, grouped, ordered, plain, related, sets
from learnat.benchmarks.generated.families.common import Composer, Draft

Family = Callable[[Composer], Draft | None]

FAMILIES: dict[str, tuple[Family, float]] = {
    "select": (plain.select_rows, 17),
    "distinct": (plain.distinct_values, 4),
    "count": (plain.count_rows, 9),
    "count_distinct": (plain.count_distinct, 3),
    "aggregate": (plain.aggregate, 8),
    "arithmetic": (plain.arithmetic, 3),
    "sorted": (ordered.sorted_rows, 3),
    "top": (ordered.top_rows, 8),
    "group_count": (grouped.count_per_group, 5),
    "group_aggregate": (grouped.aggregate_per_group, 5),
    "having_count": (grouped.having_count, 4),
    "having_aggregate": (grouped.having_aggregate, 3),
    "top_group": (grouped.top_group, 5),
    "versus_average": (compared.versus_average, 4),
    "extreme": (compared.equals_extreme, 3),
    "in": (related.member_of, 5),
    "not_in": (related.not_member_of, 4),
    "exists": (related.exists, 3),
    "in_having": (related.member_by_count, 2),
    "named_row": (compared.versus_named_row, 3),
    "own_group": (compared.versus_own_group, 1),
    "set": (sets.one_table, 4),
    "set_tables": (sets.two_tables, 2),
}
"""Each family with its weight; one that a database cannot serve (no derived quantity, say) gives way to the others."""
