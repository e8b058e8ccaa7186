"""What a name means while blocks are built: the instance behind an alias, the expression behind a derived column."""

from __future__ import annotations

from sqlglot import exp

from learnat.sql.blocks import Block, Instance
from learnat.sql.terms import Term


class Scope:
    def __init__(self, outer: Scope | None, ctes: dict[str, Block]) -> None:
        self.outer = outer
        self.ctes = ctes
        self.instances: dict[str, Instance] = {}


def with_ctes(scope: Scope) -> Scope:
    """The same scope with room for more CTEs."""
    inner = Scope(scope.outer, dict(scope.ctes))
    inner.instances = scope.instances
    return inner


def column_term(node: exp.Column, scope: Scope) -> Term:
    name = str(node.name)
    level: Scope | None = scope if node.table else None
    while level is not None:
        instance = level.instances.get(node.table)
        if instance is not None:
            return ("column", instance.number, _meaning(instance.block, name))
        level = level.outer
    return ("column", None, name)


def _meaning(block: Block | None, name: str) -> str | Term:
    """What a column of a derived table stands for, so that it does not matter how it is called there."""
    if block is None or name not in block.outputs:
        return name
    place = block.outputs.index(name)
    return ("place", place) if block.operation else block.projections[place].term


_AROUND_FUNCTIONS = (exp.Filter, exp.IgnoreNulls, exp.RespectNulls)
"""What may stand between a window and its function."""


def over_window(node: exp.Expr) -> bool:
    """Whether ``node`` is the function of a window, which computes something else without the window."""
    while isinstance(node.parent, _AROUND_FUNCTIONS) and node.parent.this is node:
        node = node.parent
    return isinstance(node.parent, exp.Window) and node.parent.this is node


def aggregates(node: exp.Expr) -> bool:
    """Whether an aggregate function (no window) is computed in this block for ``node``."""
    if isinstance(node, exp.Query):
        return False
    if isinstance(node, exp.Window):
        function = node.this
        while isinstance(function, _AROUND_FUNCTIONS):
            function = function.this
        parts = (child for child in node.iter_expressions() if child is not node.this)
        return any(aggregates(part) for part in (*function.iter_expressions(), *parts))
    if is_aggregate(node):
        return True
    return any(aggregates(child) for child in node.iter_expressions())


def is_aggregate(node: exp.Expr) -> bool:
    if isinstance(node, exp.Anonymous):
        return str(node.this).upper() in ("TOTAL", "GROUP_CONCAT", "STRING_AGG")
    return isinstance(node, exp.AggFunc)


def counts_repeats(node: exp.Expr) -> bool:
    """Whether something computed in this block for ``node`` depends on how often each row occurs."""
    if isinstance(node, exp.Query):
        return False
    if isinstance(node, exp.Window) or (is_aggregate(node) and not _blind_to_repeats(node)):
        return True
    return any(counts_repeats(child) for child in node.iter_expressions())


def _blind_to_repeats(aggregate: exp.Expr) -> bool:
    return isinstance(aggregate, (exp.Min, exp.Max)) or isinstance(aggregate.this, exp.Distinct)
