"""A candidate: one of the answers to a question that a strategy chooses from, with what its SQL returned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from learnat.inference.engines.base import Completion
from learnat.inference.parse import parse_answer
from learnat.sql.execution import ExecutorPool, Query, Result
from learnat.sql.results import equal, spider_predicted_text
from learnat.synthesis.tree import Step


@dataclass(frozen=True)
class Cost:
    """What was asked of the model: ``cached_tokens`` are those of ``prompt_tokens`` that were not computed anew."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
        )


def cost_of(completion: Completion) -> Cost:
    return Cost(1, completion.prompt_tokens, completion.completion_tokens, completion.cached_tokens)


@dataclass(frozen=True)
class Candidate:
    """A completion, what it says (see ``parse.Answer``), and its SQL's result, None where it was not executed."""

    completion: Completion
    steps: tuple[Step, ...]
    sql: str
    guesses: tuple[str, ...]
    result: Result | None = None

    @property
    def ran(self) -> bool:
        return self.result is not None and self.result.error is None

    @property
    def found_rows(self) -> bool:
        return self.ran and self.result is not None and bool(self.result.rows)


def candidate_of(completion: Completion, result: Result | None = None) -> Candidate:
    parsed = parse_answer(completion.text)
    return Candidate(completion, parsed.steps, parsed.sql, parsed.guesses, result)


class CandidateRunner:
    """Executes the SQL of candidates as the benchmark's evaluator executes predictions, and compares their results.

    Args:
        ex_mode: the benchmark's comparison mode, see ``learnat.sql.results``.
        timeout_s: seconds that a statement may take; one that takes longer has failed.
    """

    def __init__(self, pool: ExecutorPool, ex_mode: str, timeout_s: float) -> None:
        self._pool = pool
        self._ex_mode = ex_mode
        self._timeout_s = timeout_s

    def run(self, asked: Sequence[tuple[Path, Completion]]) -> list[Candidate]:
        """The candidates of these completions, each about the database at its path; equal queries run once."""
        candidates = [candidate_of(completion) for _, completion in asked]
        queries = [self._query(path, each.sql) for (path, _), each in zip(asked, candidates, strict=True)]
        distinct = sorted(set(queries), key=lambda query: (query.path, query.sql))
        results = dict(zip(distinct, self._pool.map(distinct, self._timeout_s), strict=True))
        return [
            Candidate(each.completion, each.steps, each.sql, each.guesses, results[query])
            for each, query in zip(candidates, queries, strict=True)
        ]

    def agree(self, first: Candidate, second: Candidate) -> bool:
        """Whether ``second`` would be right if ``first`` were gold. Cut results agree with their own SQL only."""
        if first.sql == second.sql:
            return True
        if first.result is None or second.result is None:
            return False
        return equal(first.result, second.result, self._ex_mode, first.sql)

    def _query(self, path: Path, sql: str) -> Query:
        return Query(path, spider_predicted_text(sql) if self._ex_mode == "spider_bag" else sql)
