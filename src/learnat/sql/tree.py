"""A canonical query as an ordered labelled tree: what the edit distance compares and coverage counts.

One node stands for one thing a reader would name: a table, a column, a literal, an operator, a clause.
Wrappers (parentheses, identifiers, aliases, FROM) have no node, and the conjuncts of a WHERE, HAVING or ON
are its children directly, so that dropping one costs that condition's own nodes and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from learnat.sql.fingerprint import conjuncts

_TRANSPARENT = (exp.Paren, exp.Alias, exp.Subquery, exp.From, exp.With)
_SKIPPED = frozenset({"alias", "big_int", "safe", "typed", "nulls_first", "copy"})
_FIRST = {key: place for place, key in enumerate(("with_", "this", "expression", "distinct", "expressions", "from_"))}
_LAST = {key: place + 10 for place, key in enumerate(("joins", "where", "group", "having", "windows", "order"))}


@dataclass(frozen=True)
class LabelledTree:
    """Nodes in preorder. ``sizes[i]`` counts node ``i`` and all below it, so a subtree is a range of indices."""

    labels: tuple[str, ...]
    sizes: tuple[int, ...]
    index: dict[int, int]
    """``id`` of a sqlglot node to its place; the canonical tree must be kept alive beside this one."""

    def __len__(self) -> int:
        return len(self.labels)

    def nodes(self, node: exp.Expr) -> range:
        """The places of ``node`` and all below it."""
        start = self.index[id(node)]
        return range(start, start + self.sizes[start])


def labelled_tree(root: exp.Expr) -> LabelledTree:
    labels: list[str] = []
    sizes: list[int] = []
    index: dict[int, int] = {}

    def visit(node: exp.Expr) -> None:
        if isinstance(node, _TRANSPARENT):
            index[id(node)] = len(labels)
            for child in children(node):
                visit(child)
            return
        place = len(labels)
        index[id(node)] = place
        labels.append(label(node))
        sizes.append(1)
        for child in children(node):
            visit(child)
        sizes[place] = len(labels) - place

    visit(root)
    return LabelledTree(tuple(labels), tuple(sizes), index)


def label(node: exp.Expr) -> str:
    if isinstance(node, exp.Column):
        name, table = node.this.this, node.args.get("table")
        return f"{table.this}.{name}" if table is not None else str(name)
    if isinstance(node, exp.Literal):
        return repr(node.this) if node.is_string else str(node.this)
    if isinstance(node, exp.Table):
        return f"table {node.name}"
    if isinstance(node, exp.DataType):
        return f"type {node.this}"
    flags = [f"{key}={value}" for key, value in node.args.items() if _is_flag(key, value)]
    return " ".join([type(node).__name__, *sorted(flags)])


def _is_flag(key: str, value: object) -> bool:
    if key in _SKIPPED or value is None or value is False or value == "":
        return False
    return not isinstance(value, (exp.Expr, list))


def children(node: exp.Expr) -> Iterator[exp.Expr]:
    """The nodes below ``node`` in reading order."""
    if isinstance(node, (exp.Column, exp.Literal, exp.DataType)):
        return
    if isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
        yield from node.args.get("joins") or ()
        return
    if isinstance(node, (exp.Where, exp.Having)):
        yield from conjuncts(node.this)
        return
    if type(node) in (exp.And, exp.Or):
        yield from _flat(node, type(node))
        return
    for key in sorted(node.args, key=_place):
        value = node.args[key]
        if key in _SKIPPED:
            continue
        if key == "on" and isinstance(node, exp.Join):
            yield from conjuncts(value)
        elif isinstance(value, exp.Expr):
            if not isinstance(value, (exp.Identifier, exp.TableAlias)):
                yield value
        elif isinstance(value, list):
            yield from (v for v in value if isinstance(v, exp.Expr) and not isinstance(v, exp.Identifier))


def _place(key: str) -> tuple[int, str]:
    return _FIRST.get(key, _LAST.get(key, 99)), key


def _flat(node: exp.Expr, kind: type[exp.Expr]) -> Iterator[exp.Expr]:
    for child in (node.this, node.expression):
        bare = child.unnest()
        if type(bare) is kind:
            yield from _flat(bare, kind)
        else:
            yield child
