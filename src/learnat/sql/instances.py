"""Table instances and their names: CTEs used once are inlined, wrappers dropped, aliases made canonical.

An instance is called after its table (``singer``); the second of the same block, or one whose name an
enclosing block needs inside it, gets a number (``singer_2``). Which of two instances of one table comes
first is decided by how the block uses them, not by how the query was written, so that a self-join reads
the same with its aliases swapped.
"""

from __future__ import annotations

import re

from sqlglot import exp

from learnat.sql.names import UID
from learnat.sql.parse import identifier
from learnat.sql.rewrite import conjuncts, fingerprint

_UID = re.compile(UID + r"\d+")
_PLAIN_ONLY = ("joins", "where", "group", "having", "order", "limit", "offset", "distinct", "with_", "windows")


def inline_ctes(root: exp.Expression) -> None:
    """Put a CTE that is used once in the place of its use, and drop one that is never used."""
    for with_ in list(root.find_all(exp.With)):
        if with_.args.get("recursive"):
            continue
        kept = []
        for cte in with_.expressions:
            name = cte.args["alias"].this.this
            uses = [table for table in root.find_all(exp.Table) if _table_name(table) == name]
            outputs = leftmost(cte.this)
            if not uses:
                continue
            if len(uses) > 1 or outputs is None or not _name_outputs(cte):
                kept.append(cte)
                continue
            uses[0].replace(exp.Subquery(this=cte.this, alias=uses[0].args["alias"]))
        if len(kept) == len(with_.expressions):
            continue
        with_.set("expressions", kept)
        if not kept and with_.parent is not None:
            with_.parent.set("with_", None)


def _name_outputs(cte: exp.Expression) -> bool:
    """Move a CTE's column list into its query; False where the lengths differ."""
    given = cte.args["alias"].args.get("columns") or []
    query = leftmost(cte.this)
    if not given or query is None:
        return True
    if len(given) != len(query.expressions):
        return False
    items = [exp.Alias(this=item.unalias(), alias=name) for item, name in zip(query.expressions, given, strict=True)]
    query.set("expressions", items)
    cte.args["alias"].set("columns", None)
    return True


def _table_name(table: exp.Table) -> str:
    return str(table.this.this) if isinstance(table.this, exp.Identifier) else ""


def leftmost(query: exp.Expression) -> exp.Select | None:
    """The SELECT that names a query's output columns; None where ``*`` leaves them unknown."""
    while isinstance(query, (exp.SetOperation, exp.Subquery)):
        query = query.this
    if not isinstance(query, exp.Select):
        return None
    if any(item.is_star and not isinstance(item, exp.Count) for item in query.expressions):
        return None
    return query


def unwrap(root: exp.Expression) -> exp.Expression:
    """Replace ``SELECT <all columns in order> FROM (query)`` by ``query``."""
    for select in list(root.find_all(exp.Select)):
        from_ = select.args.get("from_")
        inner = from_.this if from_ is not None else None
        if not isinstance(inner, exp.Subquery) or not isinstance(inner.this, exp.Query):
            continue
        if any(select.args.get(key) for key in _PLAIN_ONLY) or any(
            inner.args.get(key) for key in ("order", "limit", "offset")
        ):
            continue
        outputs = leftmost(inner.this)
        if outputs is None or [item.output_name for item in outputs.expressions] != [
            item.unalias().name if _is_from(item.unalias(), inner) else None for item in select.expressions
        ]:
            continue
        nested = isinstance(select.parent, exp.SetOperation)
        if nested and (not isinstance(inner.this, exp.Select) or any(inner.this.args.get(k) for k in _ENDS)):
            continue
        for item, outer in zip(outputs.expressions, select.expressions, strict=True):
            if isinstance(outer, exp.Alias):
                item.replace(exp.Alias(this=item.unalias().copy(), alias=outer.args["alias"]))
        query = inner.this
        if select is root:
            query.pop()
            root = query
        else:
            select.replace(query)
    return root


_ENDS = ("order", "limit", "offset", "with_")


def _is_from(item: exp.Expression, source: exp.Subquery) -> bool:
    return isinstance(item, exp.Column) and item.table == source.alias


def name_instances(root: exp.Expression) -> None:
    """Give every instance its canonical alias and every derived column its canonical name, in place."""
    cte_names = _cte_names(root)
    columns = _derived_columns(root, cte_names)
    names: dict[str, str] = dict(cte_names)
    _name_block(root, names)
    for node in list(root.walk()):
        if isinstance(node, exp.Column):
            table, name = node.table, node.name
            name = columns.get(table, {}).get(name, name)
            if table in names:
                node.set("table", identifier(names[table]))
            if not isinstance(node.this, exp.Star):
                node.set("this", identifier(name))
        elif isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
            name = names.get(node.this.this, node.this.this)
            alias = names.get(node.alias, node.alias)
            node.set("this", identifier(name))
            node.set("alias", None if alias == name else exp.TableAlias(this=identifier(alias)))
        elif isinstance(node, exp.Subquery) and node.alias in names:
            node.set("alias", exp.TableAlias(this=identifier(names[node.alias])))
        elif isinstance(node, exp.CTE) and node.alias in names:
            node.args["alias"].set("this", identifier(names[node.alias]))


def _cte_names(root: exp.Expression) -> dict[str, str]:
    taken = {_table_name(table) for table in root.find_all(exp.Table)}
    names: dict[str, str] = {}
    for cte in root.find_all(exp.CTE):
        name = _free("cte", taken)
        taken.add(name)
        names[cte.alias] = name
    return names


def _derived_columns(root: exp.Expression, ctes: dict[str, str]) -> dict[str, dict[str, str]]:
    """Rename the outputs of derived tables and CTEs, drop all other aliases; old to new name by instance."""
    renamed: dict[str, dict[str, str]] = {}
    by_cte: dict[str, dict[str, str]] = {}
    naming: set[int] = set()
    for node in root.find_all(exp.Subquery, exp.CTE):
        if isinstance(node, exp.Subquery) and not node.alias.startswith(UID):
            continue
        query = leftmost(node.this)
        if query is None:
            continue
        naming.add(id(query))
        given = node.args["alias"].args.get("columns") if isinstance(node, exp.CTE) else None
        new = {} if given else _rename_outputs(query)
        (by_cte if isinstance(node, exp.CTE) else renamed)[node.alias] = new
    for table in root.find_all(exp.Table):
        if _table_name(table) in by_cte:
            renamed[table.alias] = by_cte[_table_name(table)]
    for select in root.find_all(exp.Select):
        if id(select) not in naming and any(isinstance(item, exp.Alias) for item in select.expressions):
            select.set("expressions", [item.unalias() for item in select.expressions])
    return renamed


def _rename_outputs(query: exp.Select) -> dict[str, str]:
    plain = [item.unalias().name if isinstance(item.unalias(), exp.Column) else "" for item in query.expressions]
    new_names: dict[str, str] = {}
    items = []
    for position, (item, column) in enumerate(zip(query.expressions, plain, strict=True), 1):
        name = column if column and plain.count(column) == 1 else f"c{position}"
        new_names.setdefault(item.output_name, name)
        bare = item.unalias()
        items.append(bare if name == column else exp.Alias(this=bare, alias=identifier(name)))
    query.set("expressions", items)
    return new_names


def _name_block(root: exp.Expression, names: dict[str, str]) -> None:
    """Name instances from the outermost block inwards, so that inner names can avoid the outer ones they use."""
    for select in root.find_all(exp.Select, bfs=True):
        sources = block_sources(select)
        if not sources:
            continue
        own = {source.alias for source in sources}
        taken = {names[c.table] for c in select.find_all(exp.Column) if c.table not in own and c.table in names}
        labels = {source.alias: _label(source, names) for source in sources}
        order = _ordered(select, sources, labels)
        for alias in order:
            names[alias] = _free(labels[alias], taken)
            taken.add(names[alias])


def block_sources(select: exp.Select) -> list[exp.Expression]:
    """The instances in a block's own FROM, those in parenthesised joins included, in the order written."""
    from_ = select.args.get("from_")
    if from_ is None:
        return []
    found: list[exp.Expression] = []
    stack = [from_.this, *(join.this for join in select.args.get("joins") or ())][::-1]
    while stack:
        node = stack.pop()
        if isinstance(node, exp.Subquery) and not isinstance(node.this, exp.Query):
            stack.append(node.this)
        elif node.alias.startswith(UID):
            found.append(node)
            stack += [join.this for join in reversed(node.args.get("joins") or ())]
    return found


def _label(source: exp.Expression, names: dict[str, str]) -> str:
    if isinstance(source, exp.Table):
        return names.get(_table_name(source), _table_name(source))
    return "sub"


def _ordered(select: exp.Select, sources: list[exp.Expression], labels: dict[str, str]) -> list[str]:
    """Instance aliases, those of one table ordered by their use in the block (two rounds of refinement)."""
    aliases = [source.alias for source in sources]
    if len(set(labels.values())) == len(aliases):
        return sorted(aliases, key=labels.__getitem__)
    items = [*conjuncts(select.args["where"].this if select.args.get("where") else None)]
    for join in select.args.get("joins") or ():
        items += conjuncts(join.args.get("on"))
    fixed = [f"{i} {{}}" for i, _ in enumerate(select.expressions)]
    known = dict(labels)
    for _ in range(2):
        signatures = {}
        for source in sources:
            view = {**known, source.alias: UID}
            texts = sorted(_anonymous(fingerprint(item, view)) for item in items)
            texts += [f.format(fingerprint(item, view)) for f, item in zip(fixed, select.expressions, strict=True)]
            for key in ("group", "having", "order"):
                clause = select.args.get(key)
                texts.append(fingerprint(clause, view) if clause is not None else "")
            if isinstance(source, exp.Subquery):
                texts.append(_anonymous(fingerprint(source.this, view)))
            signatures[source.alias] = (labels[source.alias], "\n".join(texts))
        ranks = {signature: rank for rank, signature in enumerate(sorted(set(signatures.values())))}
        known = {alias: f"{labels[alias]}~{ranks[signatures[alias]]}" for alias in aliases}
    return sorted(aliases, key=signatures.__getitem__)


def _anonymous(text: str) -> str:
    return _UID.sub("~", text)


def _free(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"
