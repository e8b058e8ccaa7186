"""Maps the blocks of a step into blocks of gold: the search behind inclusion.

A map sends table instances of the step to table instances of gold, no two to the same, and is built by
backtracking: a condition is checked as soon as all its instances are mapped. ``covered`` collects the places of
gold's tree that the mapped parts account for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp

from learnat.sql.blocks import NONE, UNION_ALL, Block, Instance, Item, Nodes
from learnat.sql.clause_matching import ClauseMatcher, Sigma
from learnat.sql.terms import Term, columns, equated, mapped, null_readers

_MAX_MAPS = 64
"""Complete maps tried for one pair of blocks: more would only look for higher coverage."""
_MAX_VISITS = 20_000
"""Partial maps tried for one step. Only a step that lists one table many times without linking it gets there."""


@dataclass(frozen=True)
class Match:
    sigma: Sigma
    covered: Nodes


class Matcher:
    """Compares one step with gold. After a failure, ``failure`` and ``part`` tell where the best attempt ended."""

    def __init__(self, strict: bool) -> None:
        self.clauses = ClauseMatcher(self._item, strict)
        self.failure = "gold has no block of this kind"
        self.part: exp.Expr | None = None
        self._progress = -1
        self._visits = 0

    def root(self, step: Block, gold: Block) -> Match | None:
        """The map of a step's root block into ``gold`` that accounts for most of it."""
        if gold.outside:
            self._fail(0, "the gold block cannot stand alone: it refers to a block around it")
            return None
        return self._best(step, gold, {}, root=True)

    def _best(self, step: Block, gold: Block, sigma: Sigma, root: bool = False, counted: bool = False) -> Match | None:
        """``counted``: a block around these counts their rows."""
        best: Match | None = None
        for count, match in enumerate(self._block(step, gold, sigma, root, counted)):
            if best is None or len(match.covered) > len(best.covered):
                best = match
            if count >= _MAX_MAPS:
                break
        return best

    def _block(self, step: Block, gold: Block, sigma: Sigma, root: bool, counted: bool) -> Iterator[Match]:
        if not root and gold.limit is not None and step.limit is None:
            self._fail(1, "a nested query has lost its limit")
            return
        # Which rows a limit of several cuts off depends on how often each occurs, as a count does.
        counted = counted or (step.several and not root)
        if step.operation or gold.operation:
            if step.operation == gold.operation:
                match = self._operation(step, gold, sigma, root, counted)
                if match is not None:
                    yield match
            return
        if step.fixed != gold.fixed:
            self._fail(1, "FROM differs in a part that can only be the same")
            return
        if not step.instances and gold.instances and not (root and all(item.blocks for item in step.projections)):
            self._fail(1, "reads from no table")
            return
        if not root and not gold.outside <= {sigma.get(number) for number in step.outside}:
            self._fail(1, "a subquery is not linked with the query around it as in gold")
            return
        pending = list(step.conditions)
        below = step.passes_repeats(counted)
        for found, covered in self._instances(step, gold, sigma, 0, frozenset(), pending, NONE, below):
            rest = self._clauses(step, gold, found, root, counted)
            if rest is not None:
                yield Match(found, covered | rest | gold.nodes)

    # -- table instances and conditions ------------------------------------------------------------------

    def _instances(
        self,
        step: Block,
        gold: Block,
        sigma: Sigma,
        place: int,
        used: frozenset[int],
        pending: list[Item],
        covered: Nodes,
        counted: bool,
    ) -> Iterator[tuple[Sigma, Nodes]]:
        """``counted``: the step depends on how often each row of its derived tables occurs."""
        self._visits += 1
        if self._visits > _MAX_VISITS:
            return
        # Nested blocks may refer to any instance around them, so conditions with such blocks come last.
        ready = [item for item in pending if not item.blocks and all(c[1] in sigma for c in columns(item.term))]
        if place == len(step.instances):
            ready = pending
        for item in ready:
            nodes = self._condition(item, step, gold, sigma)
            if nodes is None:
                self._fail(2 + place, "condition not in gold", item)
                return
            covered |= nodes
        if place == len(step.instances):
            if self._connected(step, gold, sigma):
                yield sigma, covered
            else:
                self._fail(2 + place, "a join condition is missing: the tables are not linked as in gold")
            return
        later = [item for item in pending if not any(item is done for done in ready)]
        instance = step.instances[place]
        candidates = [g for g in gold.instances if g.number not in used and g.table == instance.table]
        if not candidates:
            self._fail(2 + place, f"gold's block has no further {instance.table or 'derived table'}")
        for candidate in candidates:
            for extended, nodes in self._instance(instance, candidate, gold, sigma, counted):
                yield from self._instances(
                    step, gold, extended, place + 1, used | {candidate.number}, later, covered | nodes, counted
                )

    def _instance(
        self, step: Instance, candidate: Instance, gold: Block, sigma: Sigma, counted: bool
    ) -> Iterator[tuple[Sigma, Nodes]]:
        """Map one instance, its derived table and its LEFT JOIN conditions."""
        if (step.block is None) != (candidate.block is None):
            return
        extended = {**sigma, step.number: candidate.number}
        nodes = candidate.nodes
        if step.block is not None and candidate.block is not None:
            inner = self._best(step.block, candidate.block, extended, counted=counted)
            if inner is None:
                return
            extended, nodes = {**inner.sigma, **extended}, nodes | inner.covered
        if step.outer_on is not None:
            # Dropping a condition of a LEFT JOIN would change which rows are padded, so they must agree in full.
            if candidate.outer_on is None or len(step.outer_on) != len(candidate.outer_on):
                return
            found = self.clauses.pair_off(step.outer_on, candidate.outer_on, gold, extended)
            if found is None:
                return
            nodes |= found
        yield extended, nodes

    def _condition(self, item: Item, step: Block, gold: Block, sigma: Sigma) -> Nodes | None:
        if any(_padded_in_gold_only(column[1], step, gold, sigma) for column in null_readers(item.term)):
            return None
        pair = equated(item.term)
        if pair is None:
            term = mapped(item.term, sigma)
            if term[0] == "EQ" and len(term) == 2 and len(term[1]) == 1:
                # x = x looks like any join equality once both sides stand for one class.
                same = [g.nodes for g in gold.conditions if g.term == term]
                return frozenset().union(*same) if same else None
            return self._item(item, gold.clauses["conditions"], gold, sigma)
        left, right = (mapped(column, sigma) for column in pair)
        if left == right or gold.classes.get(left, left) != gold.classes.get(right, right):
            return None
        wanted = ("EQ", frozenset((left, right)))
        return frozenset().union(*(g.nodes for g in gold.conditions if g.term == wanted))

    def _connected(self, step: Block, gold: Block, sigma: Sigma) -> bool:
        """Whether the step links its inner-joined tables as far as gold does: a cross product answers nothing."""
        if len(step.instances) < 2:
            return True
        of_gold = gold.components()
        of_step = step.components()
        return len(set(of_step.values())) <= len({of_gold[sigma[number]] for number in of_step})

    # -- the other clauses -------------------------------------------------------------------------------

    def _clauses(self, step: Block, gold: Block, sigma: Sigma, root: bool, counted: bool) -> Nodes | None:
        covered: set[int] = set()
        stage = 3 + len(step.instances)
        if (gold.semijoined or step.semijoined) and (counted or step.counts_repeats or step.several):
            self._fail(stage, "a join in place of a subquery repeats rows, which this step counts")
            return None
        checks: tuple[tuple[str, Callable[[], Nodes | None]], ...] = (
            ("grouping differs", lambda: self.clauses.grouping(step, gold, sigma, counted)),
            ("HAVING condition not in gold", lambda: self.clauses.having(step, gold, sigma)),
            ("order or limit not gold's", lambda: self.clauses.ordering(step, gold, sigma)),
            ("projection not in gold's block", lambda: self.clauses.projections(step, gold, sigma, root)),
            ("DISTINCT not in gold", lambda: self.clauses.distinct(step, gold, sigma, counted)),
        )
        for place, (reason, check) in enumerate(checks):
            nodes = check()
            if nodes is None:
                self._fail(stage + place, reason)
                return None
            covered |= nodes
        return frozenset(covered)

    def _item(self, item: Item, candidates: Mapping[Term, list[Item]], gold: Block, sigma: Sigma) -> Nodes | None:
        """The places of the gold items equal to ``item``, with nested blocks that include the item's, or None."""
        wanted = gold.normal(mapped(item.term, sigma))
        found: Nodes | None = None
        for other in candidates.get(wanted, ()):
            if item.flag != other.flag:
                continue
            covered = other.nodes
            for inner, outer in zip(item.blocks, other.blocks, strict=True):
                match = self._best(inner, outer, sigma)
                if match is None:
                    break
                covered |= match.covered
            else:
                found = covered if found is None else found | covered
        return found

    # -- set operations ----------------------------------------------------------------------------------

    def _operation(self, step: Block, gold: Block, sigma: Sigma, root: bool, counted: bool) -> Match | None:
        """Branches of a chain may be left out at the root; those kept project what gold's project."""
        if not root and len(step.branches) != len(gold.branches):
            self._fail(1, "a nested set operation has lost a branch")
            return None
        ordering = self.clauses.ordering(step, gold, sigma)
        if ordering is None:
            self._fail(1, "order or limit not gold's")
            return None
        covered = ordering | gold.nodes
        below = step.operation == UNION_ALL and (counted or step.several)
        free = list(gold.branches)
        for place, branch in enumerate(step.branches):
            candidates = [gold.branches[place]] if step.operation.startswith("Except") else list(free)
            matches = [(c, m) for c in candidates if (m := self._best(branch, c, sigma, counted=below)) is not None]
            if not matches:
                self._fail(1, "a branch of the set operation is not gold's")
                return None
            chosen, match = max(matches, key=lambda pair: len(pair[1].covered))
            free = [other for other in free if other is not chosen]
            covered |= match.covered
        return Match(dict(sigma), covered)

    def _fail(self, progress: int, failure: str, item: Item | None = None) -> None:
        """Keep the failure of the attempt that came furthest."""
        if progress > self._progress:
            self._progress, self.failure = progress, failure
            self.part = item.node if item is not None else None


def _padded_in_gold_only(number: int | None, step: Block, gold: Block, sigma: Sigma) -> bool:
    """Whether a LEFT JOIN pads the instance in gold only: the step lacks the rows that a test for NULL asks for."""
    return any(
        own.number == number and own.outer_on is None and other.number == sigma[number] and other.outer_on is not None
        for own in step.instances
        for other in gold.instances
    )
