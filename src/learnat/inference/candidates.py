"""A candidate: one of the answers to a question that a strategy chooses from, with what its SQL returned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from learnat.benchmarks.types import Database
from learnat.errors import LearnatError
from learnat.inference.engines.base import Completion
from learnat.inference.parse import parse_answer
from learnat.sql.execution import Address, ExecutorPool, Query, Result
from learnat.sql.results import digest_kind, equal, spider_gold_text, spider_predicted_text
from learnat.synthesis.tree import Step

ROWS_KEPT = 10_000
"""Of one result, at most: those of a vote over hundreds of questions are in memory together. Larger ones are compared
by digest."""


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
        """A result that a cap cut has rows, though none of them is here."""
        return self.ran and self.result is not None and (bool(self.result.rows) or self.result.truncated)


def candidate_of(completion: Completion, result: Result | None = None) -> Candidate:
    parsed = parse_answer(completion.text)
    return Candidate(completion, parsed.steps, parsed.sql, parsed.guesses, result)


@dataclass(frozen=True)
class Place:
    """Where candidates are executed. ``placeholders``: the letters ``value`` in their SQL are the evaluator's.

    It knows by gold which of them are placeholders (``learnat.sql.results.plug_placeholder``). Without gold they are
    taken for such where nothing in the database is called so.
    """

    address: Address
    placeholders: bool


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
        self._max_rows = min(pool.caps[0], ROWS_KEPT)

    def place(self, database: Database) -> Place:
        """Where SQL about ``database`` is executed. Raises ``LearnatError`` when it has no file."""
        tables = database.schema.tables
        names = [name for table in tables for name in (table.name, *(column.name for column in table.columns))]
        placeholders = self._ex_mode == "spider_bag" and not any("value" in name.lower() for name in names)
        if self._execute_on is not None:
            return Place(self._execute_on.replace("DB_ID", database.db_id), placeholders)
        if database.path is None:
            raise LearnatError(
                f"Votes and repair execute SQL, and {database.db_id!r} has no database file: get the file, leave its "
                "questions out with data.missing=skip, or use inference=greedy."
            )
        return Place(database.path, placeholders)

    def run(self, asked: Sequence[tuple[Place, Completion]]) -> list[Candidate]:
        """The candidates of these completions, each about the database at its place; equal queries run once."""
        candidates = [candidate_of(completion) for _, completion in asked]
        queries = [self._query(place, each.sql) for (place, _), each in zip(asked, candidates, strict=True)]
        distinct = sorted(set(queries), key=lambda query: (str(query.path), query.sql))
        results = dict(zip(distinct, self._pool.map(distinct, self._timeout_s, self._max_rows), strict=True))
        return [
            Candidate(each.completion, each.steps, each.sql, each.guesses, results[query])
            for each, query in zip(candidates, queries, strict=True)
        ]

    def agree(self, first: Candidate, second: Candidate) -> bool:
        """Whether one would be right if the other were gold.

        In mode ``spider_bag`` rows are compared in order if one of the two orders them: the first to be seen must not
        unite answers that contradict one another. There two results too large to be kept differ if only one is ordered.
        """
        if first.sql == second.sql:
            return True
        if first.result is None or second.result is None:
            return False
        return equal(first.result, second.result, self._ex_mode, f"{first.sql}\n{second.sql}")

    def _query(self, place: Place, sql: str) -> Query:
        text = sql
        if self._ex_mode == "spider_bag":
            text = spider_predicted_text(sql) if place.placeholders else spider_gold_text(sql)
        return Query(place.address, text, digest_kind(self._ex_mode, sql))
