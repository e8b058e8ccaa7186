"""Expressions as texts to compare and sort by, and conditions taken apart and put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlglot import exp

MIRROR: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.GT: exp.LT,
    exp.LT: exp.GT,
    exp.GTE: exp.LTE,
    exp.LTE: exp.GTE,
}
"""The comparison that means the same with its operands exchanged."""

_FLAT = frozenset({exp.And, exp.Or})
_UNORDERED = frozenset({exp.And, exp.Or, exp.EQ, exp.NEQ, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Add, exp.Mul})
_SKIPPED = frozenset({"big_int", "safe", "typed", "copy"})


def fingerprint(node: exp.Expr, names: Mapping[str, str] | None = None) -> str:
    """A text that is equal for trees equal up to the order of commutative operands.

    ``names`` replaces instance aliases.
    """
    if isinstance(node, exp.Column):
        table = node.table
        return f"{names.get(table, table) if names else table}.{node.name}"
    if isinstance(node, exp.Literal):
        return repr(node.this) if node.is_string else node.this
    if isinstance(node, exp.Identifier):
        return str(names.get(node.this, node.this) if names else node.this)
    if isinstance(node, exp.Paren):
        return fingerprint(node.this, names)
    kind = type(node)
    if kind in _UNORDERED:
        parts = (
            [fingerprint(part, names) for part in operands(node, kind)]
            if kind in _FLAT
            else [
                fingerprint(node.this, names),
                fingerprint(node.expression, names),
            ]
        )
        return f"{kind.__name__}({' '.join(sorted(parts))})"
    if kind in (exp.GT, exp.GTE):
        return f"{MIRROR[kind].__name__}({fingerprint(node.expression, names)} {fingerprint(node.this, names)})"
    if kind in (exp.LT, exp.LTE):
        return f"{kind.__name__}({fingerprint(node.this, names)} {fingerprint(node.expression, names)})"
    parts = []
    for key, value in sorted(node.args.items()):
        if value is None or value is False or value == [] or key in _SKIPPED:
            continue
        if isinstance(value, exp.Expr):
            parts.append(f"{key}={fingerprint(value, names)}")
        elif isinstance(value, list):
            inner = ",".join(fingerprint(v, names) if isinstance(v, exp.Expr) else str(v) for v in value)
            parts.append(f"{key}=[{inner}]")
        else:
            parts.append(f"{key}={str(value).upper()}")
    return f"{kind.__name__}({' '.join(parts)})"


def conjuncts(node: exp.Expr | None) -> list[exp.Expr]:
    """The operands of nested ANDs, from left to right; ``TRUE`` is no condition."""
    return [] if node is None else [part for part in operands(node, exp.And) if not is_true(part)]


def conjunction(parts: Iterable[exp.Expr]) -> exp.Expr | None:
    """Sorted, without repeats, nested to the left; None for no parts."""
    return combine(list(parts), exp.And)


def operands(node: exp.Expr, kind: type[exp.Expr]) -> list[exp.Expr]:
    found: list[exp.Expr] = []
    stack = [node]
    while stack:
        top = stack.pop()
        top = top.unnest() if isinstance(top, exp.Paren) else top
        if type(top) is kind:
            stack += [top.expression, top.this]
        else:
            found.append(top)
    return found


def combine(parts: list[exp.Expr], kind: type[exp.Expr]) -> exp.Expr | None:
    unique = {fingerprint(part): part for part in parts}
    result: exp.Expr | None = None
    for key in sorted(unique):
        result = unique[key] if result is None else kind(this=result, expression=unique[key])
    return result


def unlike(parts: Iterable[exp.Expr]) -> list[exp.Expr]:
    """``parts`` without repeats."""
    return list({fingerprint(part): part for part in parts}.values())


def sort_keys(order: exp.Expr) -> list[exp.Expr]:
    """The keys of ORDER BY that sort: one that is constant, or sorts again by what came before, does not."""
    keys: dict[str, exp.Expr] = {}
    for key in order.expressions:
        if not isinstance(key.this, (exp.Literal, exp.Null)):
            keys.setdefault(fingerprint(key.this), key)
    return list(keys.values())


def is_true(node: exp.Expr) -> bool:
    return isinstance(node, exp.Boolean) and bool(node.this)


def is_constant(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) or (isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal))


def rank(node: exp.Expr) -> tuple[int, str]:
    """Columns before other expressions, before subqueries, before constants; then by text."""
    if is_constant(node) or isinstance(node, (exp.Null, exp.Boolean)):
        place = 3
    elif isinstance(node, exp.Query):
        place = 2
    else:
        place = 0 if isinstance(node, exp.Column) else 1
    return place, fingerprint(node)
