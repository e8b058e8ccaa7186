"""A candidate: one of the answers to a question that a strategy chooses from, with what its SQL returned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from learnat.benchmarks.types import Database
from learnat.errors import LearnatError
from learnat.inference.engines.base import Completion
from learnat.inference.parse import parse_answer
from learnat.sql.execution import Address, ExecutorPool, Query, Result
from learnat.sql.results import digest_kind, equal, spider_predicted_text
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
    """Of the one call that gave ``completion``; nothing where the model never read the prompt."""
    if not completion.computed:
        return Cost()
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
        execute_on: what to execute on instead of the benchmark's SQLite files, see ``evaluation.run.ScoringRun``.
    """

    def __init__(self, pool: ExecutorPool, ex_mode: str, timeout_s: float, execute_on: str | None = None) -> None:
        self._pool = pool
        self._ex_mode = ex_mode
        self._timeout_s = timeout_s
        self._execute_on = execute_on

    def address(self, database: Database) -> Address:
        """Where SQL about ``database`` is executed. Raises ``LearnatError`` when it has no file."""
        if self._execute_on is not None:
            return self._execute_on.replace("DB_ID", database.db_id)
        if database.path is None:
            raise LearnatError(
                f"Votes and repair execute SQL, and {database.db_id!r} has no database file: get the file, leave its "
                "questions out with data.missing=skip, or use inference=greedy."
            )
        return database.path

    def run(self, asked: Sequence[tuple[Address, Completion]]) -> list[Candidate]:
        """The candidates of these completions, each about the database at its address; equal queries run once."""
        candidates = [candidate_of(completion) for _, completion in asked]
        queries = [self._query(address, each.sql) for (address, _), each in zip(asked, candidates, strict=True)]
        distinct = sorted(set(queries), key=lambda query: (str(query.path), query.sql))
        results = dict(zip(distinct, self._pool.map(distinct, self._timeout_s), strict=True))
        return [
            Candidate(each.completion, each.steps, each.sql, each.guesses, results[query])
            for each, query in zip(candidates, queries, strict=True)
        ]

    def agree(self, first: Candidate, second: Candidate) -> bool:
        """Whether ``second`` would be right if ``first`` were gold."""
        if first.sql == second.sql:
            return True
        if first.result is None or second.result is None:
            return False
        return equal(first.result, second.result, self._ex_mode, first.sql)

    def _query(self, address: Address, sql: str) -> Query:
        text = spider_predicted_text(sql) if self._ex_mode == "spider_bag" else sql
        return Query(address, text, digest_kind(self._ex_mode, sql))
