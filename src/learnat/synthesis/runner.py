"""Synthesis of many questions: rounds, progress, resume."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from learnat.benchmarks.types import Benchmark, Example
from learnat.errors import LearnatError
from learnat.synthesis.engines import in_processes, in_threads, in_turn
from learnat.synthesis.pruning import PruningRule
from learnat.synthesis.settings import schema_digests, settings_text, source_digest
from learnat.synthesis.shards import Shard, Split
from learnat.synthesis.store import TreeStore
from learnat.synthesis.summary import Summary, summarize, write_summary
from learnat.synthesis.synthesizer import Attempt, Synthesizer
from learnat.synthesis.tree import read_trees

QUESTIONS_PER_WORKER = 32
"""A process is worth its start-up from about this many questions on."""

UNANSWERED_IN_A_ROW = 16
"""So many questions without an answer, and twice as many as are asked at once: the server is not going to answer."""

_QUESTIONS = ""
"""The key under which questions without an answer are counted, beside the reasons of their attempts."""

log = logging.getLogger(__name__)


def synthesize(
    benchmark: Benchmark,
    split: str,
    synthesizer: Synthesizer,
    out_dir: Path,
    workers: int | None = None,
    console: Console | None = None,
    shard: Shard | None = None,
) -> Path:
    """Make the trees of ``split`` in ``out_dir``: ``trees.jsonl``, ``summary.json`` and ``trees.settings.json``.

    Questions whose tree is there already are passed over. When all are done the file is put in the benchmark's order,
    so that it depends neither on the number of workers nor on interruptions (but for the seconds in it). A question
    whose proposer or search raises an unexpected error is logged and gets an unsolved tree without nodes.

    Args:
        workers: processes; default: the CPUs this process may use. Few questions are done without any.
        console: where progress is shown; default: standard error, and only on a terminal.
        shard: make the trees of this part of the split only, and write beside them what ``shards.merge`` needs.

    Returns:
        The path of ``trees.jsonl``.

    Raises:
        LearnatError: ``out_dir`` holds trees of other or unknown settings or a corrupt line, or another synthesis
            writes there; a worker process died; the proposer cannot be had, or left questions without an answer.
        KeyboardInterrupt: after Ctrl-C, when what is done has been written and summed up.
    """
    examples = _examples(benchmark, split, shard)
    whole = Split.of(benchmark, split, [rule.name for rule in synthesizer.rules])
    learns = synthesizer.proposer.round_size is not None
    settings = settings_text(
        {
            "benchmark": benchmark.name,
            "split": split,
            "fingerprint": benchmark.fingerprint(split),
            "synthesizer": synthesizer,
            "schemas": schema_digests(benchmark, examples),
            "code": source_digest(),
            **(whole.settings(shard, learns) if shard is not None else {}),
        }
    )
    store = TreeStore(out_dir, settings)
    try:
        with store, _Run(benchmark, examples, synthesizer, store, workers, console) as run:
            if shard is not None:
                whole.write(out_dir)
            run.grow()
            store.sort(example.example_id for example in examples)
            run.refuse_unanswered()
    finally:
        synthesizer.proposer.close()
        write_summary(read_summary(benchmark, split, synthesizer.rules, out_dir, shard), out_dir / "summary.json")
    return store.path


def _examples(benchmark: Benchmark, split: str, shard: Shard | None) -> list[Example]:
    examples = benchmark.examples(split)
    return examples if shard is None else shard.of(examples)


def read_summary(
    benchmark: Benchmark, split: str, rules: Sequence[PruningRule], out_dir: Path, shard: Shard | None = None
) -> Summary:
    """The summary of the trees in ``out_dir`` so far, of ``shard`` alone if it is given."""
    return summarize(
        read_trees(out_dir / "trees.jsonl"),
        {example.example_id: example.difficulty for example in _examples(benchmark, split, shard)},
        [rule.name for rule in rules],
        benchmark.difficulties,
        benchmark.skipped(split),
    )


class _Run:
    """One command's share of the work: what is not in the store yet, round by round, under a progress bar."""

    def __init__(
        self,
        benchmark: Benchmark,
        examples: Sequence[Example],
        synthesizer: Synthesizer,
        store: TreeStore,
        workers: int | None,
        console: Console | None,
    ) -> None:
        self._benchmark = benchmark
        self._examples = examples
        self._synthesizer = synthesizer
        self._store = store
        self._workers = workers or usable_cpus()
        self._progress = _progress(console)
        self._numbers: Counter[str] = Counter()
        self._unanswered: Counter[str] = Counter()
        self._in_a_row = 0
        # A resumed run learns what the interrupted one knew.
        learns = synthesizer.proposer.round_size is not None
        self._learnable = {tree.example_id: tree for tree in read_trees(store.path)} if learns else None
        done = sum(example.example_id in store.done for example in examples)
        self._task = self._progress.add_task("synthesis", total=len(examples), completed=done, numbers="")

    def __enter__(self) -> _Run:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def grow(self) -> None:
        size = self._synthesizer.proposer.round_size or max(len(self._examples), 1)
        for start in range(0, len(self._examples), size):
            part = self._examples[start : start + size]
            self._grow_round([example for example in part if example.example_id not in self._store.done])
            if start + size < len(self._examples):
                # What is asked next depends on all of this round's trees, or a rerun would ask other things.
                self.refuse_unanswered()
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
        self._in_a_row = 0
        if attempt.failure:
            name = attempt.example.example_id
            log.error("synthesis of question %s failed, its tree is empty:\n%s", name, attempt.failure)
        self._store.append(attempt.tree)
        if self._learnable is not None:
            self._learnable[attempt.tree.example_id] = attempt.tree
        stats = attempt.tree.stats
        self._numbers.update(
            done=1, solved=stats.solved, calls=stats.calls, tokens=stats.prompt_tokens + stats.completion_tokens
        )
        self._progress.update(self._task, advance=1, numbers=self._text())

    def _miss(self, attempt: Attempt) -> None:
        self._unanswered[_QUESTIONS] += 1
        self._unanswered.update(attempt.reasons)
        self._in_a_row += 1
        log.warning("question %s got no answer: %s", attempt.example.example_id, ", ".join(attempt.reasons))
        if self._in_a_row >= max(UNANSWERED_IN_A_ROW, 2 * self._synthesizer.proposer.concurrency):
            self.refuse_unanswered()

    def refuse_unanswered(self) -> None:
        """Raise ``LearnatError`` if questions were left without an answer."""
        if not self._unanswered:
            return
        count = self._unanswered.pop(_QUESTIONS)
        reasons = sorted(self._unanswered.items(), key=lambda item: (-item[1], item[0]))
        raise LearnatError(
            f"{count} question{'s' * (count > 1)} got no answer from the proposer "
            f"({', '.join(f'{reason}: {n}' for reason, n in reasons)}). What is done is kept: the same command with "
            "the same run_dir asks again."
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


def usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
