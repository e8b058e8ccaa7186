"""The part of a synthesis that one command does: what has no tree yet, round by round, under a progress bar."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from learnat.benchmarks.types import Benchmark, Example
from learnat.errors import LearnatError
from learnat.synthesis.engines import in_processes, in_threads, in_turn
from learnat.synthesis.growth import unsolved
from learnat.synthesis.store import TreeStore
from learnat.synthesis.synthesizer import Attempt, Synthesizer
from learnat.synthesis.tree import SearchTree, read_trees

QUESTIONS_PER_WORKER = 32
"""A process is worth its start-up from about this many questions on."""

UNANSWERED_IN_A_ROW = 16
"""So many questions without an answer, and twice as many as are asked at once: the server is not going to answer."""

FAILED_AT_FIRST = 8
"""So many questions that fail before any succeeds: the cause is not in them."""

log = logging.getLogger(__name__)


class Run:
    """Grows the trees of ``examples`` that ``store`` lacks; use it as a context manager.

    ``unanswered`` says what becomes of a question that the proposer gave no answer to: ``error`` leaves it open,
    ``skip`` gives it an unsolved tree.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        examples: Sequence[Example],
        synthesizer: Synthesizer,
        store: TreeStore,
        workers: int,
        console: Console | None,
        unanswered: str = "error",
    ) -> None:
        self._benchmark = benchmark
        self._examples = examples
        self._synthesizer = synthesizer
        self._store = store
        self._workers = workers
        self._skips = unanswered == "skip"
        self._progress = _progress(console)
        self._numbers: Counter[str] = Counter()
        self._missed: list[Attempt] = []
        self._missed_in_a_row = 0
        self._failed: list[Attempt] = []
        self._worked = False
        # A resumed run learns what the interrupted one knew.
        learns = synthesizer.proposer.round_size is not None
        self._learnable = {tree.example_id: tree for tree in read_trees(store.path)} if learns else None
        done = sum(example.example_id in store.done for example in examples)
        self._task = self._progress.add_task("synthesis", total=len(examples), completed=done, numbers="")

    def __enter__(self) -> Run:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def grow(self) -> None:
        """Raises ``LearnatError`` for questions left open, after those that could be answered."""
        size = self._synthesizer.proposer.round_size or max(len(self._examples), 1)
        for start in range(0, len(self._examples), size):
            part = self._examples[start : start + size]
            self._grow_round([example for example in part if example.example_id not in self._store.done])
            self._refuse_failures()
            # Before the next round: what is asked there depends on all of this round's trees, or a rerun would differ.
            self._settle_missed()
            if start + size < len(self._examples):
                assert self._learnable is not None, "rounds are for proposers that learn"
                self._synthesizer.proposer.learn([self._learnable.pop(example.example_id) for example in part])

    def _grow_round(self, todo: Sequence[Example]) -> None:
        # Questions of one database one after another keep its connection and its parsed schema warm.
        todo = sorted(todo, key=lambda example: example.db_id)
        databases = {name: self._benchmark.database(name) for name in dict.fromkeys(e.db_id for e in todo)}
        concurrency = self._synthesizer.proposer.concurrency
        processes = min(self._workers, max(len(todo) // QUESTIONS_PER_WORKER, 1))
        if concurrency:
            in_threads(todo, databases, self._synthesizer, concurrency, self._workers, self._keep)
        elif processes > 1:
            in_processes(todo, databases, self._synthesizer, processes, self._keep)
        else:
            in_turn(todo, databases, self._synthesizer, self._keep)

    def _keep(self, attempt: Attempt) -> None:
        if attempt.tree is None:
            self._miss(attempt)
            return
        self._missed_in_a_row = 0
        if not attempt.failure:
            self._worked = True
        elif not self._worked:
            self._failed.append(attempt)
            if len(self._failed) >= FAILED_AT_FIRST:
                self._refuse_failures()
            return
        failed, self._failed = self._failed, []
        for held_back in failed:
            self._store_attempt(held_back)
        self._store_attempt(attempt)

    def _store_attempt(self, attempt: Attempt) -> None:
        assert attempt.tree is not None, "without a tree there is nothing to store"
        if attempt.failure:
            name = attempt.example.example_id
            log.error("synthesis of question %s failed, its tree is empty:\n%s", name, attempt.failure)
        self._store_tree(attempt.tree)

    def _store_tree(self, tree: SearchTree) -> None:
        self._store.append(tree)
        if self._learnable is not None:
            self._learnable[tree.example_id] = tree
        stats = tree.stats
        self._numbers.update(
            done=1, solved=stats.solved, calls=stats.calls, tokens=stats.prompt_tokens + stats.completion_tokens
        )
        self._progress.update(self._task, advance=1, numbers=self._text())

    def _refuse_failures(self) -> None:
        """Raise ``LearnatError`` when nothing but failures has come of the run: no tree of theirs is kept."""
        if not self._failed:
            return
        last = self._failed[-1]
        log.error("synthesis of question %s failed:\n%s", last.example.example_id, last.failure)
        raise LearnatError(
            f"All of the first {len(self._failed)} questions failed, the last with "
            f"{last.failure.strip().splitlines()[-1]}. The log has its traceback. Nothing is kept of them: mend the "
            "cause, and the same command with the same run_dir does them again."
        )

    def _miss(self, attempt: Attempt) -> None:
        self._missed.append(attempt)
        self._missed_in_a_row += 1
        log.warning("question %s got no answer: %s", attempt.example.example_id, ", ".join(attempt.reasons))
        if self._missed_in_a_row >= max(UNANSWERED_IN_A_ROW, 2 * self._synthesizer.proposer.concurrency):
            self._refuse_missed()

    def _settle_missed(self) -> None:
        if self._missed and not self._skips:
            self._refuse_missed()
        for attempt in self._missed:
            self._store_tree(unsolved(attempt.example, 0.0, Counter(attempt.reasons)))
        self._missed = []

    def _refuse_missed(self) -> None:
        count = len(self._missed)
        reasons = Counter(reason for attempt in self._missed for reason in attempt.reasons)
        listed = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        names = [attempt.example.example_id for attempt in self._missed[:5]]
        raise LearnatError(
            f"{count} question{'s' * (count > 1)} got no answer from the proposer "
            f"({', '.join(f'{reason}: {n}' for reason, n in listed)}): {', '.join(names)}{', …' * (count > 5)}. "
            "What is done is kept: the same command with the same run_dir asks again, and with unanswered=skip leaves "
            "such questions unsolved."
        )

    def _text(self) -> str:
        numbers, elapsed = self._numbers, self._progress.tasks[self._task].elapsed or 0.0
        rate = numbers["done"] / max(elapsed, 1e-9)
        solved = numbers["solved"] / numbers["done"]
        text = f"{rate:.1f} questions/s, solved {solved:.3f}, {numbers['calls']:,} calls"
        return text + (f", {numbers['tokens']:,} tokens" if numbers["tokens"] else "")


def _progress(console: Console | None) -> Progress:
    console = console or Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[numbers]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
