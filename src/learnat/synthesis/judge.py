"""What is true about a proposed step: recorded for every node, whatever is pruned, so that ablations compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from learnat.sql import Executor, Result, Schema, SqlParseError, canonicalize, includes
from learnat.sql.finality import finality
from learnat.synthesis.reward import Reward


@dataclass(frozen=True)
class Verdict:
    """``runs`` is None where it is unknown: no database to run on, or stopped at the time limit (``timed_out``).
    ``included`` is by mode ``clause``; ``included_in`` names all modes asked for under which the step is included.
    ``covered`` are the ids of gold's AST nodes (of ``total``)
    that the step accounts for; ``canonical`` is its canonical SQL, or its own text when it cannot be parsed.
    """

    parses: bool
    runs: bool | None
    included: bool
    final: bool
    included_in: frozenset[str]
    covered: frozenset[int]
    total: int
    reward: float
    canonical: str
    timed_out: bool = False


class Judge:
    """Judges steps against one gold query. Each text is judged, and run, once.

    Args:
        run: executes a step on the question's database; None where there is no database file.
        modes: inclusion tests asked for besides ``clause``.
        executors: makes those of every database of the schema that is at hand, for finality by execution.
    """

    def __init__(
        self,
        gold: str,
        schema: Schema,
        reward: Reward,
        run: Callable[[str], Result] | None,
        modes: frozenset[str] = frozenset(),
        executors: Callable[[], Sequence[Executor]] = tuple,
    ) -> None:
        self.reward = reward
        self._gold = gold
        self._schema = schema
        self._run = run
        self._modes = sorted(modes | {"clause"})
        self._make_executors = executors
        self._known: dict[tuple[str, str], Verdict] = {}
        self._gold_parses = self._canonical(gold) is not None

    def judge(self, sql: str, final: str = "canonical") -> Verdict:
        """The verdict on ``sql``; ``final`` says how its finality is decided, see ``learnat.sql.is_final``."""
        if (sql, final) not in self._known:
            self._known[sql, final] = self._judge(sql, final)
        return self._known[sql, final]

    def _judge(self, sql: str, how: str) -> Verdict:
        canonical = self._canonical(sql)
        # Nothing can be proved by a gold that cannot be read; only its own text is the answer.
        is_gold = not self._gold_parses and _bare(sql) == _bare(self._gold)
        parses = canonical is not None or is_gold
        result = self._run(sql) if self._run is not None and parses else None
        timed_out = result is not None and result.timed_out
        runs = None if self._run is None or timed_out else result is not None and result.error is None
        if not self._gold_parses:
            none: frozenset[int] = frozenset()
            reward = float(is_gold and runs is not False)
            return Verdict(parses, runs, False, is_gold, frozenset(), none, 1, reward, canonical or sql, timed_out)
        inclusions = {mode: includes(self._gold, sql, self._schema, mode=mode) for mode in self._modes}
        clause = inclusions["clause"]
        works = canonical is not None and runs is not False
        executors = self._executors if how == "execution" and works and not timed_out else ()
        decided = finality(self._gold, sql, self._schema, final=how, executors=executors)
        timed_out, final = timed_out or decided is None, bool(decided)
        return Verdict(
            parses=canonical is not None,
            runs=runs,
            included=bool(clause),
            final=final,
            included_in=frozenset(mode for mode, inclusion in inclusions.items() if inclusion),
            covered=clause.covered,
            total=clause.total,
            reward=self.reward.score(self._gold, sql, self._schema, runs=works, final=final),
            canonical=canonical or sql,
            timed_out=timed_out,
        )

    @cached_property
    def _executors(self) -> Sequence[Executor]:
        return self._make_executors()

    def _canonical(self, sql: str) -> str | None:
        try:
            return canonicalize(sql, self._schema)
        except SqlParseError:
            return None


def _bare(sql: str) -> str:
    return sql.strip().rstrip("; \n")
