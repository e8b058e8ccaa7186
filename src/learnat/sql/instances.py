"""Table instances and their names: CTEs used once are inlined, wrappers dropped, aliases made canonical.

An instance is called after its table (``singer``); the second of the same block, or one whose name an
enclosing block needs inside it, gets a number (``singer_2``). Which of two instances of one table comes
first is decided by how the block uses them, not by how the query was written, so that a self-join reads
the same with its aliases swapped.
"""

from __future__ import annotations

from sqlglot import exp

from learnat.sql.instance_order import ordered
from learnat.sql.parse import identifier
from learnat.sql.scopes import UID, branches_of
from learnat.sql.walk import nodes, select_nodes

_PLAIN_ONLY = ("joins", "where", "group", "having", "order", "limit", "offset", "distinct", "with_", "windows")


def inline_ctes(root: exp.Expr) -> None:
    """Put a CTE that is used once in the place of its use, and drop one that is never used."""
    for with_ in select_nodes(root, exp.With):
        if with_.args.get("recursive"):
            continue
        kept = []
        for cte in with_.expressions:
            name = cte.args["alias"].this.this
            uses = [table for table in select_nodes(root, exp.Table) if _table_name(table) == name]
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


def _name_outputs(cte: exp.Expr) -> bool:
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


def leftmost(query: exp.Expr) -> exp.Select | None:
    """The SELECT that names a query's output columns; None where ``*`` leaves them unknown."""
    while isinstance(query, (exp.SetOperation, exp.Subquery)):
        query = query.this
    if not isinstance(query, exp.Select):
        return None
    if any(item.is_star and not isinstance(item, exp.Count) for item in query.expressions):
        return None
    return query


def unwrap(root: exp.Expr) -> exp.Expr:
    """Replace ``SELECT <all columns in order> FROM (query)`` by ``query``."""
    for select in select_nodes(root, exp.Select):
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


def _is_from(item: exp.Expr, source: exp.Subquery) -> bool:
    return isinstance(item, exp.Column) and item.table == source.alias


def name_instances(root: exp.Expr) -> None:
    """Give every instance its canonical alias and every derived column its canonical name, in place."""
    found = nodes(root)
    names = _cte_names(found)
    _rename_derived_columns(root, found)
    _name_blocks([node for node in found if isinstance(node, exp.Select)], names)
    for node in nodes(root):
        if isinstance(node, exp.Column):
            if node.table in names:
                node.set("table", identifier(names[node.table]))
            if not isinstance(node.this, exp.Star):
                node.set("this", identifier(node.name))
        elif isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
            name = names.get(node.this.this, node.this.this)
            alias = names.get(node.alias, node.alias)
            node.set("this", identifier(name))
            node.set("alias", None if alias == name else exp.TableAlias(this=identifier(alias)))
        elif isinstance(node, exp.Subquery) and node.alias in names:
            node.set("alias", exp.TableAlias(this=identifier(names[node.alias])))
        elif isinstance(node, exp.CTE) and node.alias in names:
            node.args["alias"].set("this", identifier(names[node.alias]))


def _cte_names(found: list[exp.Expr]) -> dict[str, str]:
    ctes = [node for node in found if isinstance(node, exp.CTE)]
    taken = {_table_name(node) for node in found if isinstance(node, exp.Table)} if ctes else set()
    names: dict[str, str] = {}
    for cte in ctes:
        name = _free("cte", taken)
        taken.add(name)
        names[cte.alias] = name
    return names


def _rename_derived_columns(root: exp.Expr, found: list[exp.Expr]) -> None:
    """Canonical names for the outputs of derived tables and CTEs; no aliases anywhere else."""
    derived = [(node, branches) for node in _derived(found) if (branches := _naming(node))]
    naming = {id(branch) for _, branches in derived for branch in branches}
    # Taken before anything is renamed: an output may be called after a column that is renamed itself.
    outputs = {id(node): [item.output_name for item in branches[0].expressions] for node, branches in derived}
    for node, branches in derived:
        if isinstance(node, exp.CTE):
            readers = {table.alias for table in select_nodes(root, exp.Table) if _table_name(table) == node.alias}
        else:
            readers = {node.alias}
        renamed = dict(zip(reversed(outputs[id(node)]), reversed(_rename_outputs(branches)), strict=True))
        for column in select_nodes(root, exp.Column):
            if column.table in readers and column.name in renamed:
                column.set("this", identifier(renamed[column.name]))
    for select in found:
        if (
            isinstance(select, exp.Select)
            and id(select) not in naming
            and any(isinstance(item, exp.Alias) for item in select.expressions)
        ):
            select.set("expressions", [item.unalias() for item in select.expressions])


def _derived(everything: list[exp.Expr]) -> list[exp.Expr]:
    """Derived tables and CTEs, each after those it reads: its column names may come from theirs."""
    found = [n for n in everything if isinstance(n, (exp.Subquery, exp.CTE)) and n.alias.startswith(UID)]
    ctes = {node.alias: node for node in found if isinstance(node, exp.CTE)}
    done: list[exp.Expr] = []
    seen: set[int] = set()

    def visit(node: exp.Expr) -> None:
        if id(node) in seen:
            return
        seen.add(id(node))
        for inner in nodes(node.this):
            if not isinstance(inner, (exp.Subquery, exp.CTE, exp.Table)):
                continue
            if inner.alias.startswith(UID) and not isinstance(inner, exp.Table):
                visit(inner)
            elif isinstance(inner, exp.Table) and _table_name(inner) in ctes:
                visit(ctes[_table_name(inner)])
        done.append(node)

    for node in found:
        visit(node)
    return done


def _naming(node: exp.Expr) -> list[exp.Select]:
    """The SELECTs that name the columns of a derived table or CTE, or may do so once the branches are sorted."""
    first = leftmost(node.this)
    if first is None or (isinstance(node, exp.CTE) and node.args["alias"].args.get("columns")):
        return []
    branches = [branch for each in branches_of(node.this) if (branch := leftmost(each)) is not None]
    return [branch for branch in branches if len(branch.expressions) == len(first.expressions)]


def _rename_outputs(branches: list[exp.Select]) -> list[str]:
    """Call each output after its column, if it is one and no other has that name, else by its position.

    Those of a set operation are called by their position in each branch: columns may differ from branch to branch.
    """
    query = branches[0]
    bare = [item.unalias() for item in query.expressions]
    if len(branches) > 1:
        names = [f"c{place + 1}" for place in range(len(bare))]
        for branch in branches:
            named = zip(branch.expressions, names, strict=True)
            branch.set("expressions", [exp.Alias(this=item.unalias(), alias=identifier(name)) for item, name in named])
        return names
    plain = [item.name if isinstance(item, exp.Column) else "" for item in bare]
    taken = {name for name in plain if name}
    names, items = [], []
    for place, (item, column) in enumerate(zip(bare, plain, strict=True)):
        name = column if column and plain.count(column) == 1 else _free(f"c{place + 1}", taken)
        names.append(name)
        items.append(item if name == column else exp.Alias(this=item, alias=identifier(name)))
    query.set("expressions", items)
    return names


def _name_blocks(selects: list[exp.Select], names: dict[str, str]) -> None:
    """Name instances from the outermost block inwards, so that inner names can avoid the outer ones they use."""
    for select in selects:
        sources = block_sources(select)
        if not sources:
            continue
        own = {source.alias for source in sources}
        taken = set()
        if names:
            outer = (column.table for column in select_nodes(select, exp.Column))
            taken = {names[alias] for alias in outer if alias not in own and alias in names}
        labels = {source.alias: _label(source, names) for source in sources}
        order = ordered(select, sources, labels)
        for alias in order:
            names[alias] = _free(labels[alias], taken)
            taken.add(names[alias])


def block_sources(select: exp.Select) -> list[exp.Expr]:
    """The instances in a block's own FROM, those in parenthesised joins included, in the order written."""
    from_ = select.args.get("from_")
    if from_ is None:
        return []
    found: list[exp.Expr] = []
    stack = [from_.this, *(join.this for join in select.args.get("joins") or ())][::-1]
    while stack:
        node = stack.pop()
        if isinstance(node, exp.Subquery) and not isinstance(node.this, exp.Query):
            stack.append(node.this)
        elif node.alias.startswith(UID):
            found.append(node)
            stack += [join.this for join in reversed(node.args.get("joins") or ())]
    return found


def _label(source: exp.Expr, names: dict[str, str]) -> str:
    if isinstance(source, exp.Table):
        return names.get(_table_name(source), _table_name(source))
    return "sub"


def _free(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"
