"""Which of two instances of one table comes first: told by how their block uses them, not by how it was written."""

from __future__ import annotations

import re

from sqlglot import exp

from learnat.sql.fingerprint import conjuncts, fingerprint, sort_keys, unlike
from learnat.sql.scopes import UID

_UID = re.compile(UID + r"\d+")


def ordered(select: exp.Select, sources: list[exp.Expr], labels: dict[str, str]) -> list[str]:
    """Instance aliases, those of one table ordered by their use in the block (two rounds of refinement)."""
    aliases = [source.alias for source in sources]
    if len(set(labels.values())) == len(aliases):
        return sorted(aliases, key=labels.__getitem__)
    items = [*conjuncts(select.args["where"].this if select.args.get("where") else None)]
    for join in select.args.get("joins") or ():
        items += conjuncts(join.args.get("on"))
    # What is repeated, here and in the clauses below, is dropped later and must not count before.
    items = unlike(items)
    group, having, order = (select.args.get(name) for name in ("group", "having", "order"))
    keys = unlike(group.expressions) if group else []
    kept = unlike(conjuncts(having.this)) if having else []
    sorting = sort_keys(order) if order else []
    fixed = [f"{i} {{}}" for i, _ in enumerate(select.expressions)]
    known = dict(labels)
    for _ in range(2):
        signatures = {}
        for source in sources:
            view = {**known, source.alias: UID}
            texts = sorted(_anonymous(fingerprint(item, view)) for item in items)
            texts += [f.format(fingerprint(item, view)) for f, item in zip(fixed, select.expressions, strict=True)]
            texts += sorted(_anonymous(fingerprint(key, view)) for key in keys)
            texts += ["", *sorted(_anonymous(fingerprint(part, view)) for part in kept)]
            texts += ["", *(_anonymous(fingerprint(key, view)) for key in sorting)]
            if isinstance(source, exp.Subquery):
                texts.append(_anonymous(fingerprint(source.this, view)))
            signatures[source.alias] = (labels[source.alias], "\n".join(texts))
        ranks = {signature: rank for rank, signature in enumerate(sorted(set(signatures.values())))}
        known = {alias: f"{labels[alias]}~{ranks[signatures[alias]]}" for alias in aliases}
    return sorted(aliases, key=signatures.__getitem__)


def _anonymous(text: str) -> str:
    return _UID.sub("~", text)
