"""Fast walks over sqlglot trees: the library's own are generators over a queue, which dominate on small trees."""

from __future__ import annotations

from typing import TypeVar

from sqlglot import exp

Node = TypeVar("Node", bound=exp.Expr)


def nodes(root: exp.Expr) -> list[exp.Expr]:
    """``root`` and all below it, level by level."""
    found = [root]
    for node in found:
        for value in node.args.values():
            if isinstance(value, exp.Expr):
                found.append(value)
            elif isinstance(value, list):
                found += [item for item in value if isinstance(item, exp.Expr)]
    return found


def select_nodes(root: exp.Expr, kind: type[Node]) -> list[Node]:
    """Those of ``nodes(root)`` that are of ``kind``."""
    return [node for node in nodes(root) if isinstance(node, kind)]
