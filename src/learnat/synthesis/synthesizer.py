"""One question's synthesis: what proposer, search, rules and reward make of it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from learnat.benchmarks.types import Database, Example
from learnat.errors import LearnatError
from learnat.sql.execution import MAX_ROWS, Executor, ExecutorPool, check_limits
from learnat.synthesis.checks import check_seed
from learnat.synthesis.growth import GrowingTree, unsolved
from learnat.synthesis.judge import Judge
from learnat.synthesis.proposers.base import Proposer, Unanswered
from learnat.synthesis.pruning import PruningRule, inclusion_modes
from learnat.synthesis.reward import Reward
from learnat.synthesis.search import Search
from learnat.synthesis.tree import SearchTree

ROWS_OF_A_STEP = 100
"""Rows fetched to see that a step runs. An approximation: an error that only a later row meets goes unseen."""


class Synthesizer:
    """Makes the tree of one question. What it does depends on seed and question only, not on order or process.

    ``timeout_s`` bounds each execution of a step, and ``max_rows`` the results that finality is decided by; where a
    database has no file, steps are not run. Raises ``LearnatError`` for numbers that are none.
    """

    def __init__(
        self,
        proposer: Proposer,
        search: Search,
        rules: Sequence[PruningRule],
        reward: Reward,
        seed: int = 0,
        timeout_s: float = 30.0,
        max_rows: int = MAX_ROWS,
    ) -> None:
        check_seed("seed", seed)
        check_limits(None, timeout_s, max_rows)
        self.proposer = proposer
        self.search = search
        self.rules = tuple(rules)
        self.reward = reward
        self.seed = seed
        self.timeout_s = timeout_s
        self.max_rows = max_rows

    def tree(self, example: Example, database: Database, pool: ExecutorPool | None = None) -> SearchTree:
        """The tree of ``example``; its SQL runs on ``pool``, by default on this process's own worker.

        Raises:
            Unanswered: the proposer gave no answer this time.
            LearnatError: it can give none, or the database is not SQLite.
        """
        search, rng = self.search, Random(f"{self.seed}/{example.example_id}")
        judge = self._judge(example, database, pool)
        with GrowingTree(
            example, database.schema, self.proposer, judge, self.rules, search.budget, rng, search.in_flight
        ) as tree:
            search.grow(tree)
            return tree.finish()

    def _judge(self, example: Example, database: Database, pool: ExecutorPool | None) -> Judge:
        path = database.path
        run = Executor(path, self.timeout_s, ROWS_OF_A_STEP, pool).run if path is not None else None

        def executors() -> list[Executor]:
            files = [path, *database.variants] if path is not None else []
            return [Executor(file, self.timeout_s, self.max_rows, pool) for file in files]

        return Judge(example.gold_sql, database.schema, self.reward, run, inclusion_modes(self.rules), executors)


@dataclass(frozen=True)
class Attempt:
    """What came of a question: its tree, or the reasons for which the proposer gave no answer.

    ``failure`` is the traceback of an unexpected error, or empty.
    """

    example: Example
    tree: SearchTree | None
    failure: str = ""
    reasons: tuple[str, ...] = ()


def attempt(
    synthesizer: Synthesizer, example: Example, database: Database, pool: ExecutorPool | None = None
) -> Attempt:
    """The tree of ``example``; one question must not cost the run. Raises ``LearnatError`` for what must end it."""
    start = time.monotonic()
    try:
        return Attempt(example, synthesizer.tree(example, database, pool))
    except LearnatError:
        raise
    except Unanswered as error:
        return Attempt(example, None, reasons=error.reasons)
    except Exception:
        return Attempt(example, unsolved(example, time.monotonic() - start), traceback.format_exc())
