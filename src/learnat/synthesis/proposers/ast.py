"""The proposer that needs no language model: gold's own steps, and controlled mistakes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from learnat.benchmarks.types import Example
from learnat.errors import LearnatError, nearest
from learnat.sql import SqlParseError, canonicalize, includes, is_final
from learnat.sql.schema import Schema
from learnat.synthesis.checks import check_count, check_number
from learnat.synthesis.proposers.base import Proposal, Proposals, Proposer, Request
from learnat.synthesis.proposers.binding import bind, render
from learnat.synthesis.proposers.chain import GRANULARITIES, ORDERS, Order, cuts, shorten
from learnat.synthesis.proposers.mutations import Mutator, check_weights
from learnat.synthesis.proposers.wording import sub_question
from learnat.synthesis.tree import Step

MUTANT_TRIES = 6
"""Mutants drawn before a slot stays empty, since some turn out to be right."""


def _default_types() -> dict[str, float]:
    return {
        "column": 1.0,
        "operator": 1.0,
        "value": 1.0,
        "aggregate": 1.0,
        "table": 0.5,
        "join_key": 0.5,
        "condition": 1.0,
    }


@dataclass
class AstProposer(Proposer):
    """Derives chains of steps from the gold AST and words each from the schema (design: proposer ``ast``).

    A chain ends with the question and gold's own text; every step before it is included in gold and adds to what the
    steps before it cover. Of the ``k`` proposals of a call each is a mutant of the next right step with probability
    ``mutation_rate``; the others are the next steps of the chains that agree with the path, the first order first.
    Right steps do not repeat, so a call may answer with fewer than ``k``.

    Args:
        granularity: ``clause`` or ``block``, see ``chain``.
        orders: how many of the orders in which gold can be taken apart are proposed (1–4).
        max_steps: the longest chain; clauses of nested blocks are left out first.
        mutation_rate: in [0, 1).
        mutation_types: the weight of each kind of mutation; kinds left out or at 0 are not drawn.

    Raises ``LearnatError`` for a value outside these bounds.
    """

    granularity: str = "clause"
    orders: int = 1
    max_steps: int = 4
    mutation_rate: float = 0.5
    mutation_types: Mapping[str, float] = field(default_factory=_default_types)
    _plan: tuple[Example, Schema, list[list[Step]]] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.granularity not in GRANULARITIES:
            hint = nearest(str(self.granularity), GRANULARITIES)
            raise LearnatError(f"proposer.granularity={self.granularity!r} is unknown. {hint}")
        check_count("proposer.orders", self.orders, most=len(ORDERS))
        check_count("proposer.max_steps", self.max_steps)
        check_number("proposer.mutation_rate", self.mutation_rate, least=0.0, below=1.0)
        self.mutation_types = dict(self.mutation_types or {})
        check_weights(self.mutation_types)

    def propose(self, request: Request) -> Proposals:
        example, schema, rng = request.example, request.schema, request.rng
        steps = next_steps(self.chains(example, schema), request.path)
        mutants = self._mutants(steps[0], example, schema, rng)
        right = iter(steps)
        proposals = []
        for _ in range(request.k):
            if rng.random() < self.mutation_rate:
                proposals.append(next(mutants, None))
            elif (step := next(right, None)) is not None:
                proposals.append(Proposal(step.sub_question, step.sql, "ast"))
        return Proposals(tuple(proposal for proposal in proposals if proposal is not None))

    def chains(self, example: Example, schema: Schema) -> list[list[Step]]:
        """The distinct chains of ``example``, the first order's first; the last one asked for is remembered."""
        plan = self._plan  # read once: another thread may ask about another question
        if plan is None or plan[0] != example or plan[1] is not schema:
            chains = [self._chain(example, schema, order) for order in ORDERS[: self.orders]]
            distinct = {tuple(step.sql for step in chain): chain for chain in reversed(chains)}
            self._plan = plan = example, schema, list(distinct.values())[::-1]
        return plan[2]

    def _chain(self, example: Example, schema: Schema, order: Order) -> list[Step]:
        gold = example.gold_sql.strip().rstrip("; \n\t")
        last = Step(example.question.strip(), gold)
        try:
            steps = cuts(bind(gold, schema), schema, self.granularity, order)
        except SqlParseError:
            return [last]
        useful = []
        covered: frozenset[int] = frozenset()
        seen: set[str] = set()
        for cut in steps:
            sql = render(cut.query)
            if sql in seen:
                continue
            seen.add(sql)
            verdict = includes(gold, sql, schema)
            if verdict and not verdict.covered <= covered and not is_final(gold, sql, schema):
                covered |= verdict.covered
                useful.append((cut, sql))
        kept = shorten([cut for cut, _ in useful], self.max_steps - 1)
        return [*(Step(sub_question(cut.query, schema), sql) for cut, sql in useful if cut in kept), last]

    def _mutants(self, step: Step, example: Example, schema: Schema, rng: random.Random) -> Iterator[Proposal]:
        """Distinct mutants of ``step`` that are neither included nor final, drawn as they are asked for."""
        mutator = Mutator(schema, self.mutation_types)
        gold = example.gold_sql
        seen: set[str] = set()
        tries = 0
        for mutant in mutator.mutants(step.sql, rng):
            try:
                text = canonicalize(mutant.sql, schema)
                wrong = not includes(gold, mutant.sql, schema) and not is_final(gold, mutant.sql, schema)
            except SqlParseError:
                text, wrong = mutant.sql, True
            if wrong and text not in seen:
                seen.add(text)
                tries = 0
                yield Proposal(step.sub_question, mutant.sql, f"mutation:{mutant.kind}")
            elif (tries := tries + 1) >= MUTANT_TRIES:
                return


def next_steps(chains: Sequence[Sequence[Step]], path: Sequence[Step]) -> list[Step]:
    """The next right steps after ``path``, without repetition, of the chains that agree with it best.

    A mistake on the path stands for the step it was made in; past a chain's end only its last step is left.
    """
    agreement = [sum(a.sql == b.sql for a, b in zip(chain, path, strict=False)) for chain in chains]
    best = max(agreement)
    steps = [
        chain[min(len(path), len(chain) - 1)] for chain, same in zip(chains, agreement, strict=True) if same == best
    ]
    return list({step.sql: step for step in reversed(steps)}.values())[::-1]
