"""Whether gold's block proves each clause of a step's block, once its tables are mapped and its conditions checked.

Each check returns the places of gold's tree that the clause accounts for, or None where gold does not prove it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from sqlglot import exp

from learnat.sql.blocks import NONE, Block, Item, Nodes
from learnat.sql.terms import Term, distinct_operands, mapped

Sigma = Mapping[int, int]
"""Instance numbers of the step to those of gold."""

ItemMatcher = Callable[[Item, Mapping[Term, list[Item]], Block, Sigma], "Nodes | None"]
"""The places of the gold items, among those given by normal term, that equal an item of the step."""

_READS = (exp.Column, exp.Star, exp.AggFunc, exp.Window)
"""One of these stands in every expression that is no constant."""


class ClauseMatcher:
    """``strict``: every projection must be one of gold's own."""

    def __init__(self, item: ItemMatcher, strict: bool) -> None:
        self.item = item
        self.strict = strict

    def having(self, step: Block, gold: Block, sigma: Sigma) -> Nodes | None:
        covered: set[int] = set()
        for item in step.having:
            nodes = self.item(item, gold.clauses["having"], gold, sigma)
            if nodes is None:
                return None
            covered |= nodes
        return frozenset(covered)

    def grouping(self, step: Block, gold: Block, sigma: Sigma, counted: bool) -> Nodes | None:
        """Gold's keys, give or take columns of gold that a primary key among the step's own keys decides.

        Aggregates are computed for each group, so a step that has any needs all of gold's keys; so does a nested
        query whose groups are counted outside. A window runs over the groups, so it needs them too.
        """
        keys = {gold.normal(mapped(item.term, sigma)) for item in step.group}
        gold_keys = set(gold.clauses["group"])
        if not all(key in gold_keys or (key in gold.parts and gold.decides(keys & gold_keys, key)) for key in keys):
            return None
        whole = step.aggregates or step.having or step.windows or counted
        if whole and not all(gold.decides(keys, key) for key in gold_keys):
            return None
        matched = (item for key in keys for item in gold.clauses["group"].get(key, ()))
        return frozenset().union(*(item.nodes for item in matched))

    def ordering(self, step: Block, gold: Block, sigma: Sigma) -> Nodes | None:
        places: list[int] = []
        covered: set[int] = set()
        for item in step.order:
            nodes = self.item(item, gold.clauses["order"], gold, sigma)
            if nodes is None:
                return None
            covered |= nodes
            places.append(next(p for p, g in enumerate(gold.order) if g.nodes <= nodes and g.flag == item.flag))
        if places != sorted(set(places)):
            return None
        if step.limit is not None:
            if gold.limit is None or step.limit.term != gold.limit.term or len(places) != len(gold.order):
                return None
            if step.limit.blocks:
                return None  # computed limits are not compared: gold has none
            covered |= gold.limit.nodes
        return frozenset(covered)

    def projections(self, step: Block, gold: Block, sigma: Sigma, root: bool) -> Nodes | None:
        own = gold.clauses["projections"]
        covered: set[int] = set()
        # What is read from a derived table is compared where it is read, so a table without DISTINCT may offer more
        # or less; elsewhere below the root the values compared are part of the meaning.
        free = root or step.role == "exists" or (step.role == "from" and step.distinct is None)
        if not free:
            return self._same_projections(step, gold, sigma)
        if self._repeats(step, gold, sigma):
            return None
        for item in step.projections:
            nodes = self.item(item, own, gold, sigma)
            if nodes is None and not self.strict:
                nodes = self._looked_up(item, step, gold, sigma)
            if nodes is None:
                return None
            covered |= nodes
        return frozenset(covered)

    def _repeats(self, step: Block, gold: Block, sigma: Sigma) -> bool:
        """Whether the step projects something more often than once and than gold: then it stands in another's place."""
        own = Counter(item.term for item in gold.projections)
        terms = Counter(mapped(item.term, sigma) for item in step.projections if not item.blocks)
        if any(count > max(1, own[term]) for term, count in terms.items()):
            return True
        nested = [item for item in step.projections if item.blocks]
        if len(nested) < 2:
            return False
        used = (*gold.projections, *(item for items in gold.parts.values() for item in items))
        once = {(item.nodes, item.blocks): item for item in used if item.blocks}
        return self.pair_off(nested, tuple(once.values()), gold, sigma) is None

    def pair_off(self, items: Sequence[Item], others: Sequence[Item], gold: Block, sigma: Sigma) -> Nodes | None:
        """The places of ``others``, of which each of ``items`` equals one of its own; None where one equals none."""
        free = list(others)
        covered: Nodes = NONE
        for item in items:
            for other in free:
                nodes = self.item(item, {gold.normal(other.term): [other]}, gold, sigma)
                if nodes is not None:
                    break
            else:
                return None
            free.remove(other)
            covered |= nodes
        return covered

    def _looked_up(self, item: Item, step: Block, gold: Block, sigma: Sigma) -> Nodes | None:
        """A projection that gold does not select, but uses: a column, an aggregate or expression, a primary key."""
        if item.node is not None and not item.blocks and item.node.find(*_READS) is None:
            return None  # a constant answers nothing
        nodes = self.item(item, gold.parts, gold, sigma)
        if item.term[0] == "column":
            return NONE if nodes is not None or self._is_key(item.term, step) else None
        # Columns beside MAX come from any row that has the largest value; gold's further keys choose among those.
        alone = len(step.projections) == 1 or len(gold.order) == 1
        if nodes is None and step.limit is None and gold.largest is not None and alone:
            return NONE if gold.normal(mapped(item.term, sigma)) == ("Max", ("this", gold.largest)) else None
        return nodes

    def _same_projections(self, step: Block, gold: Block, sigma: Sigma) -> Nodes | None:
        """Gold's own projections, one for one and in order."""
        if len(step.projections) != len(gold.projections):
            return None
        covered: set[int] = set()
        for item, other in zip(step.projections, gold.projections, strict=True):
            nodes = self.item(item, {gold.normal(other.term): [other]}, gold, sigma)
            if nodes is None:
                return None
            covered |= nodes
        return frozenset(covered)

    def _is_key(self, term: Term, step: Block) -> bool:
        return term[0] == "column" and any(
            instance.number == term[1] and term[2] in instance.primary_key for instance in step.instances
        )

    def distinct(self, step: Block, gold: Block, sigma: Sigma, counted: bool) -> Nodes | None:
        """DISTINCT may be dropped where no block around counts; added only where repeats play no part in gold."""
        if step.distinct is None:
            return None if counted and gold.distinct is not None else NONE
        if gold.distinct is not None:
            return gold.distinct
        terms = {gold.normal(mapped(item.term, sigma)) for item in step.projections}
        if self._names_groups(terms, step, gold, sigma, counted):
            return NONE
        if counted or step.several:
            return None
        told_apart = {part for term in gold.parts for part in distinct_operands(term)}
        if terms <= told_apart:
            return NONE
        if gold.several:
            return None
        if gold.role in ("in", "exists", "branch") or _joins_semijoined(step, gold, sigma):
            return NONE
        one_row = gold.single or (gold.aggregates and not gold.group)
        return NONE if one_row and not gold.counts_repeats and gold.role != "from" else None

    def _names_groups(self, terms: set[Term], step: Block, gold: Block, sigma: Sigma, counted: bool) -> bool:
        """Whether the step projects keys of gold's groups, and all of them where DISTINCT would merge groups it has."""
        keys = set(gold.clauses["group"])
        own = keys if counted or step.several else {gold.normal(mapped(item.term, sigma)) for item in step.group}
        return bool(keys) and terms <= keys and all(gold.decides(terms, key) for key in own)


def _joins_semijoined(step: Block, gold: Block, sigma: Sigma) -> bool:
    """Whether the step joins a table that gold has in a subquery: DISTINCT undoes the repeats that the join adds."""
    joined = {sigma[instance.number] for instance in step.instances if instance.number not in step.semijoined}
    return bool(joined & gold.semijoined)
