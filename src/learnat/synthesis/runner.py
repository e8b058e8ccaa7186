"""Synthesis of many questions: worker processes, progress, resume."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from random import Random

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from learnat.benchmarks.types import Benchmark, Database, Example
from learnat.errors import LearnatError
from learnat.sql.execution import Executor
from learnat.synthesis.growth import GrowingTree, unsolved
from learnat.synthesis.judge import Judge
from learnat.synthesis.proposers.base import Proposer
from learnat.synthesis.pruning import PruningRule, inclusion_modes
from learnat.synthesis.reward import Reward
from learnat.synthesis.search import Search
from learnat.synthesis.settings import schema_digests, settings_text, source_digest
from learnat.synthesis.store import TreeStore
from learnat.synthesis.summary import Summary, summarize, write_summary
from learnat.synthesis.tree import SearchTree, read_trees

QUESTIONS_PER_WORKER = 32
"""A process is worth its start-up from about this many questions on."""

ROWS_OF_A_STEP = 100
"""Rows fetched to see that a step runs. An approximation: an error that only a later row meets goes unseen."""

log = logging.getLogger(__name__)


class Synthesizer:
    """Makes the tree of one question. What it does depends on seed and question only, not on order or process.

    ``timeout_s`` bounds each execution of a step; where a database has no file, steps are not run.
    """

    def __init__(
        self,
        proposer: Proposer,
        search: Search,
        rules: Sequence[PruningRule],
        reward: Reward,
        seed: int = 0,
        timeout_s: float = 30.0,
    ) -> None:
        self.proposer = proposer
        self.search = search
        self.rules = tuple(rules)
        self.reward = reward
        self.seed = seed
        self.timeout_s = timeout_s

    def tree(self, example: Example, database: Database) -> SearchTree:
        run = Executor(database, self.timeout_s, ROWS_OF_A_STEP).run if database.path is not None else None
        judge = Judge(example.gold_sql, database.schema, self.reward, run, inclusion_modes(self.rules))
        rng = Random(f"{self.seed}/{example.example_id}")
        search = self.search
        with GrowingTree(
            example, database.schema, self.proposer, judge, self.rules, search.budget, rng, search.in_flight
        ) as tree:
            search.grow(tree)
            return tree.finish()


def synthesize(
    benchmark: Benchmark,
    split: str,
    synthesizer: Synthesizer,
    out_dir: Path,
    workers: int | None = None,
    console: Console | None = None,
) -> Path:
    """Make the trees of ``split`` in ``out_dir``: ``trees.jsonl``, ``summary.json`` and ``trees.settings.json``.

    Questions whose tree is there already are passed over. When all are done the file is put in the benchmark's order,
    so that it depends neither on the number of workers nor on interruptions (but for the seconds in it). A question
    whose proposer or search raises an unexpected error is logged and gets an unsolved tree without nodes.

    Args:
        workers: processes; default: the CPUs this process may use. Few questions are done without any.
        console: where progress is shown; default: standard error, and only on a terminal.

    Returns:
        The path of ``trees.jsonl``.

    Raises:
        LearnatError: ``out_dir`` holds trees of other or unknown settings or a corrupt line, or another synthesis
            writes there; a worker process died.
        KeyboardInterrupt: after Ctrl-C, when what is done has been written and summed up.
    """
    examples = benchmark.examples(split)
    settings = settings_text(
        {
            "benchmark": benchmark.name,
            "split": split,
            "fingerprint": benchmark.fingerprint(split),
            "synthesizer": synthesizer,
            "schemas": schema_digests(benchmark, examples),
            "code": source_digest(),
        }
    )
    store = TreeStore(out_dir, settings)
    try:
        with store:
            todo = [example for example in examples if example.example_id not in store.done]
            _grow_all(todo, len(examples), benchmark, synthesizer, store, workers, console)
            store.sort(example.example_id for example in examples)
    finally:
        write_summary(read_summary(benchmark, split, synthesizer.rules, out_dir), out_dir / "summary.json")
    return store.path


def read_summary(benchmark: Benchmark, split: str, rules: Sequence[PruningRule], out_dir: Path) -> Summary:
    """The summary of the trees in ``out_dir`` so far."""
    return summarize(
        read_trees(out_dir / "trees.jsonl"),
        {example.example_id: example.difficulty for example in benchmark.examples(split)},
        [rule.name for rule in rules],
        benchmark.difficulties,
        benchmark.skipped(split),
    )


def _grow_all(
    todo: Sequence[Example],
    total: int,
    benchmark: Benchmark,
    synthesizer: Synthesizer,
    store: TreeStore,
    workers: int | None,
    console: Console | None,
) -> None:
    # Questions of one database one after another keep its connection and its parsed schema warm.
    databases = {db_id: benchmark.database(db_id) for db_id in dict.fromkeys(example.db_id for example in todo)}
    todo = sorted(todo, key=lambda example: example.db_id)
    count = min(workers or usable_cpus(), max(len(todo) // QUESTIONS_PER_WORKER, 1))
    with _progress(console) as progress:
        task = progress.add_task("synthesis", total=total, completed=total - len(todo), solved="–", rate=0.0)
        done = solved = 0

        def keep(attempt: Attempt) -> None:
            nonlocal done, solved
            tree = attempt.tree
            if attempt.failure:
                log.error("synthesis of question %s failed, its tree is empty:\n%s", tree.example_id, attempt.failure)
            store.append(tree)
            done += 1
            solved += tree.stats.solved
            rate = done / max(progress.tasks[0].elapsed or 0.0, 1e-9)
            progress.update(task, advance=1, solved=f"{solved / done:.3f}", rate=rate)

        if count > 1:
            _in_processes(todo, databases, synthesizer, count, keep)
        else:
            for example in todo:
                keep(_attempt(synthesizer, example, databases[example.db_id]))


@dataclass(frozen=True)
class Attempt:
    """A question's tree; ``failure`` is the traceback of an unexpected error, or empty."""

    tree: SearchTree
    failure: str = ""


def _attempt(synthesizer: Synthesizer, example: Example, database: Database) -> Attempt:
    start = time.monotonic()
    try:
        return Attempt(synthesizer.tree(example, database))
    except LearnatError:
        raise
    except Exception:  # one question must not cost the run
        return Attempt(unsolved(example, time.monotonic() - start), traceback.format_exc())


def _progress(console: Console | None) -> Progress:
    console = console or Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.1f} questions/s, solved {task.fields[solved]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_worker: tuple[Synthesizer, Mapping[str, Database]] | None = None


def _start_worker(synthesizer: Synthesizer, databases: Mapping[str, Database]) -> None:
    global _worker
    _worker = synthesizer, databases
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; trees in flight are finished
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _attempt_in_worker(example: Example) -> Attempt:
    assert _worker is not None, "the pool starts its processes with _start_worker"
    synthesizer, databases = _worker
    return _attempt(synthesizer, example, databases[example.db_id])


def _in_processes(
    todo: Iterable[Example],
    databases: Mapping[str, Database],
    synthesizer: Synthesizer,
    count: int,
    keep: Callable[[Attempt], None],
) -> None:
    """Give ``keep`` each tree as it is finished; on an interrupt or error also those that are in flight then."""
    # Spawned, not forked: the caller may hold torch's threads or a CUDA context.
    pool = ProcessPoolExecutor(
        count, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(synthesizer, databases)
    )
    waiting = deque(todo)
    running: set[Future[Attempt]] = set()
    try:
        while waiting or running:
            while waiting and len(running) < 2 * count:
                running.add(pool.submit(_attempt_in_worker, waiting.popleft()))
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                running.discard(future)
                keep(future.result())
    except BrokenProcessPool as error:
        raise LearnatError(
            "A synthesis worker process ended unexpectedly (out of memory?). What is done is kept: "
            "run the same command again to go on, with fewer workers if memory is short."
        ) from error
    finally:
        # Twice: ending the pool waits for what is in flight, and a second Ctrl-C may cut that short.
        _keep_finished(running, keep)
        pool.shutdown(wait=True, cancel_futures=True)
        _keep_finished(running, keep)


def _keep_finished(running: set[Future[Attempt]], keep: Callable[[Attempt], None]) -> None:
    for future in [future for future in running if future.done()]:
        running.discard(future)
        if not future.cancelled() and future.exception() is None:
            keep(future.result())
