"""Builds the block view of a query from its canonical tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from sqlglot import exp

from learnat.sql.block_scopes import Scope, aggregates, column_term, counts_repeats, over_window, with_ctes
from learnat.sql.blocks import NONE, Block, Instance, Item, Nodes, Part, all_nodes
from learnat.sql.canonical import Canonical, canonical
from learnat.sql.fingerprint import conjuncts
from learnat.sql.parse import SqlParseError, fold
from learnat.sql.schema import Schema
from learnat.sql.similarity import TreeArrays
from learnat.sql.terms import BLOCK, Term, columns
from learnat.sql.tree import LabelledTree, children, labelled_tree
from learnat.sql.unnest import relaxed, unnest

_UNORDERED = (exp.EQ, exp.NEQ, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Add, exp.Mul)
_ROLES: dict[type[exp.Expr], str] = {exp.In: "in", exp.Exists: "exists"}
_SKIPPED = frozenset({"big_int", "safe", "typed", "copy"})


@dataclass(frozen=True, eq=False)
class QueryView:
    """All that is known of one query, prepared once: canonical form, labelled tree, blocks."""

    form: Canonical
    tree: LabelledTree
    root: Block

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(self.root.all())

    @cached_property
    def merged(self) -> tuple[Block | None, ...]:
        """For each of ``blocks`` the block with its subqueries merged into it; None where there is nothing to merge."""
        return tuple(unnest(block) for block in self.blocks)

    @cached_property
    def relaxed(self) -> tuple[tuple[Block, ...], ...]:
        """For each of ``blocks`` what it also proves as gold: ``IN`` in the place of ``=``, as such and merged."""
        found = (relaxed(block) for block in self.blocks)
        return tuple(() if block is None else (block, unnest(block) or block) for block in found)

    @cached_property
    def arrays(self) -> TreeArrays:
        return TreeArrays(self.tree)


@lru_cache(maxsize=2_000)
def view(sql: str, schema: Schema | None = None, dialect: str = "sqlite") -> QueryView:
    """The block view of a query, cached.

    Raises:
        SqlParseError: the text is not one query.
    """
    form = canonical(sql, schema, dialect)
    try:
        tree = labelled_tree(form.ast)
        return QueryView(form, tree, _Builder(tree, schema).query(form.ast, Scope(None, {}), "root"))
    except RecursionError:
        raise SqlParseError("nested too deeply", 1, 1) from None


class _Builder:
    """Builds blocks from a canonical tree, in which every alias is unique where it can be seen."""

    def __init__(self, tree: LabelledTree, schema: Schema | None) -> None:
        self.tree = tree
        self.schema = schema
        self.count = 0
        self.parts: list[Part] = []

    def query(self, node: exp.Expr, outer: Scope, role: str) -> Block:
        """The block of ``node``, which stands within ``outer``."""
        while isinstance(node, exp.Subquery):
            node = node.this
        with_ = node.args.get("with_")
        if with_ is not None:
            outer = with_ctes(outer)
            for cte in with_.expressions:
                block = self.query(cte.this, outer, "from")
                block.nodes |= {self.tree.index[id(cte)]}
                given = tuple(column.name for column in cte.args["alias"].columns)
                block.outputs = given or block.outputs
                outer.ctes[cte.alias] = block
        if isinstance(node, exp.SetOperation):
            return self._operation(node, outer, role)
        if isinstance(node, exp.Select):
            return self._select(node, outer, role)
        return Block(role, nodes=frozenset(self.tree.nodes(node)), fixed=("query", node.sql()))

    def _operation(self, node: exp.SetOperation, outer: Scope, role: str) -> Block:
        own: set[int] = set()
        flat: list[exp.Expr] = []
        left: exp.Expr = node
        while type(left) is type(node) and left.args.get("distinct") == node.args.get("distinct"):
            own.add(self.tree.index[id(left)])
            flat.append(left.expression)
            left = left.this
            if isinstance(node, exp.Except):
                break
        merges = bool(node.args.get("distinct"))
        kind = "branch" if merges else "branch all"
        branches = tuple(self.query(branch, outer, kind) for branch in (left, *reversed(flat)))
        scope = Scope(outer, outer.ctes)
        return Block(
            role,
            operation=type(node).__name__ + ("" if merges else " ALL"),
            branches=branches,
            nodes=frozenset(own),
            outputs=branches[0].outputs,
            order=self._order(node, scope),
            limit=self._limit(node, scope),
            outside=frozenset().union(*(branch.outside for branch in branches)),
        )

    def _select(self, node: exp.Select, outer: Scope, role: str) -> Block:
        parts, self.parts = self.parts, []
        scope = Scope(outer, outer.ctes)
        block = Block(role)
        conditions, fixed = self._from(node, scope)
        block.instances = tuple(scope.instances.values())
        block.conditions = (*conditions, *self._clause(node.args.get("where"), scope))
        block.projections = tuple(self._item(part, scope) for part in node.expressions)
        block.outputs = tuple(part.output_name for part in node.expressions)
        block.group = self._clause(node.args.get("group"), scope)
        block.having = self._clause(node.args.get("having"), scope)
        block.order = self._order(node, scope)
        block.limit = self._limit(node, scope)
        distinct = node.args.get("distinct")
        block.distinct = frozenset(self.tree.nodes(distinct)) if distinct is not None else None
        block.nodes = frozenset({self.tree.index[id(node)]})
        for window in node.args.get("windows") or ():
            block.nodes |= frozenset(self.tree.nodes(window))
            fixed.append(self._item(window, scope).term)
        block.fixed = tuple(fixed)
        spoken = (*node.expressions, node.args.get("having"), node.args.get("order"))
        block.aggregates = any(aggregates(part) for part in spoken if part is not None)
        block.counts_repeats = any(counts_repeats(part) for part in spoken if part is not None)
        block.expressions, self.parts = tuple(self.parts), parts
        seen = {column[1] for item in block.items() for column in columns(item.term)}
        seen = seen.union(*(nested.outside for nested in block.nested()))
        block.outside = frozenset(seen - {None} - {instance.number for instance in block.instances})
        if any(instance.block is not None for instance in block.instances):
            inner = {n for i in block.instances if i.block is not None for n in _numbers(i.block)}
            block.outside -= inner
        return block

    def _from(self, node: exp.Select, scope: Scope) -> tuple[list[Item], list[Term]]:
        """Fills ``scope``; the conditions of inner joins, and what cannot be taken apart."""
        fixed: list[Term] = []
        conditions: list[Item] = []
        from_ = node.args.get("from_")
        if from_ is not None:
            self._instance(from_.this, scope, NONE, fixed)
        joins = node.args.get("joins") or []
        for join in joins:
            self._instance(join.this, scope, frozenset({self.tree.index[id(join)]}), fixed)
        for join in joins:
            items = tuple(self._item(part, scope) for part in conjuncts(join.args.get("on")))
            alias, side = join.this.alias_or_name, join.args.get("side")
            if side == "LEFT" and alias in scope.instances:
                on = join.args.get("on")
                rest = frozenset(self.tree.nodes(on)) if not items and id(on) in self.tree.index else NONE
                old = scope.instances[alias]
                scope.instances[alias] = replace(old, nodes=old.nodes | rest, outer_on=items)
                continue
            conditions += items
            if side or join.args.get("method") or join.args.get("using"):
                fixed.append(("join", str(side), str(join.args.get("method")), join.sql()))
        return conditions, fixed

    def _instance(self, source: exp.Expr, scope: Scope, nodes: Nodes, fixed: list[Term]) -> None:
        self.count += 1
        number, alias = self.count, source.alias_or_name
        if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier):
            nodes |= {self.tree.index[id(source)]}
            cte = scope.ctes.get(source.name)
            if cte is not None:
                scope.instances[alias] = Instance(number, "", nodes, cte)
            else:
                table = self.schema.table(source.name) if self.schema is not None else None
                key = tuple(fold(column.name) for column in table.primary_key) if table is not None else ()
                scope.instances[alias] = Instance(number, source.name, nodes, None, key)
            if source.args.get("joins"):
                fixed.append(("from", source.sql()))
        elif isinstance(source, exp.Subquery) and isinstance(source.this, exp.Query):
            block = self.query(source, scope.outer or scope, "from")
            scope.instances[alias] = Instance(number, "", nodes, block)
        else:
            fixed.append(("from", source.sql()))
            nodes |= frozenset(self.tree.nodes(source)) if id(source) in self.tree.index else NONE
            scope.instances[alias] = Instance(number, source.sql(), nodes)

    def _clause(self, clause: exp.Expr | None, scope: Scope) -> tuple[Item, ...]:
        """The items of WHERE, HAVING or GROUP BY; each also accounts for the clause's own node."""
        if clause is None:
            return ()
        head = frozenset({self.tree.index[id(clause)]})
        return tuple(_equality(self._item(part, scope, head)) for part in children(clause))

    def _order(self, node: exp.Expr, scope: Scope) -> tuple[Item, ...]:
        order = node.args.get("order")
        if order is None:
            return ()
        found = []
        for key in order.expressions:
            head = frozenset({self.tree.index[id(order)], self.tree.index[id(key)]})
            flag = f"{'DESC' if key.args.get('desc') else 'ASC'} {bool(key.args.get('nulls_first'))}"
            found.append(self._item(key.this, scope, head, flag))
        return tuple(found)

    def _limit(self, node: exp.Expr, scope: Scope) -> Item | None:
        clauses = [node.args[key] for key in ("limit", "offset") if node.args.get(key) is not None]
        if not clauses:
            return None
        nodes = frozenset().union(*(self.tree.nodes(clause) for clause in clauses))
        blocks: list[Block] = []
        terms = tuple((type(c).__name__, self._term(c.expression, scope, blocks)) for c in clauses)
        return Item(("limit", *terms), nodes, tuple(blocks))

    def _item(self, node: exp.Expr, scope: Scope, head: Nodes = NONE, flag: str = "") -> Item:
        blocks: list[Block] = []
        term = self._term(node, scope, blocks)
        return Item(term, self._own_nodes(node, blocks) | head, tuple(blocks), node, flag)

    def _own_nodes(self, node: exp.Expr, blocks: list[Block]) -> Nodes:
        nodes = frozenset(self.tree.nodes(node)) if id(node) in self.tree.index else NONE
        return nodes - all_nodes(blocks) if blocks else nodes

    def _term(self, node: exp.Expr, scope: Scope, blocks: list[Block], role: str = "scalar") -> Term:
        if isinstance(node, exp.Literal):
            return ("literal", node.this, bool(node.is_string))
        if isinstance(node, (exp.Paren, exp.Alias)):
            return self._term(node.this, scope, blocks, role)
        if isinstance(node, exp.Query):
            blocks.append(self.query(node, scope, role))
            return BLOCK
        if isinstance(node, (exp.Identifier, exp.Var, exp.DataType)):
            return (type(node).__name__, str(node.this).lower())
        first = len(blocks)
        term = column_term(node, scope) if isinstance(node, exp.Column) else self._operator(node, scope, blocks)
        own = blocks[first:]
        start = self.tree.index.get(id(node), 0)
        size = self.tree.sizes[start] if id(node) in self.tree.index else 0
        if not over_window(node):
            self.parts.append(Part(term, range(start, start + size), tuple(own)))
        return term

    def _operator(self, node: exp.Expr, scope: Scope, blocks: list[Block]) -> Term:
        kind, first = type(node), len(blocks)
        if isinstance(node, (exp.And, exp.Or, *_UNORDERED)):
            operands = children(node) if isinstance(node, (exp.And, exp.Or)) else (node.this, node.expression)
            terms = [self._term(operand, scope, blocks) for operand in operands]
            # Placeholders of nested blocks count by position, so their operator keeps its (sorted) order.
            return (kind.__name__, frozenset(terms)) if len(blocks) == first else (kind.__name__, *terms)
        if isinstance(node, (exp.GT, exp.GTE)):
            left = self._term(node.this, scope, blocks)
            right = self._term(node.expression, scope, blocks)
            mirrored = "LT" if kind is exp.GT else "LTE"
            return (mirrored, right, left) if len(blocks) == first else (kind.__name__, left, right)
        parts: list[Any] = [kind.__name__]
        for key, value in sorted(node.args.items()):
            if value is None or value is False or value == [] or key in _SKIPPED:
                continue
            if isinstance(value, exp.Expr):
                parts.append((key, self._term(value, scope, blocks, _ROLES.get(kind, "scalar"))))
            elif isinstance(value, list):
                inner = (self._term(v, scope, blocks) for v in value if isinstance(v, exp.Expr))
                parts.append((key, *inner))
            else:
                parts.append((key, str(value).upper()))
        return tuple(parts)


def _equality(condition: Item) -> Item:
    """``x IN (SELECT ...)`` where that is one row says ``x = (SELECT ...)``."""
    if condition.term[:2] != ("In", ("query", BLOCK)) or len(condition.blocks) != 1:
        return condition
    block = condition.blocks[0]
    if not block.single and (block.group or not block.aggregates):
        return condition
    block.role = "scalar"
    return replace(condition, term=("EQ", condition.term[2][1], BLOCK))


def _numbers(block: Block) -> Iterator[int]:
    for inner in block.all():
        for instance in inner.instances:
            yield instance.number
