"""How many questions are worked on at once: in turn, in processes, or in threads that wait for a proposer.

Each gives ``keep`` every attempt as it is finished and, on an interrupt or error, also those that finish while the
engine stops.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection

from learnat.benchmarks.types import Database, Example
from learnat.errors import LearnatError
from learnat.sql.execution import ExecutorPool
from learnat.synthesis.synthesizer import Attempt, Synthesizer, attempt

Keep = Callable[[Attempt], None]
Databases = Mapping[str, Database]


def in_turn(todo: Iterable[Example], databases: Databases, synthesizer: Synthesizer, keep: Keep) -> None:
    for example in todo:
        keep(attempt(synthesizer, example, databases[example.db_id]))


def in_threads(
    todo: Iterable[Example], databases: Databases, synthesizer: Synthesizer, count: int, workers: int, keep: Keep
) -> None:
    """For a proposer that is waited for: ``count`` questions at once, their SQL on ``workers`` processes.

    An interrupt or error gives up the questions in flight: the proposer is closed and running SQL is ended. What was
    answered for them is in the proposer's cache.
    """
    with ExecutorPool(workers) as sql:
        pool = ThreadPoolExecutor(count, thread_name_prefix="synthesis")

        def submit(example: Example) -> Future[Attempt]:
            return pool.submit(attempt, synthesizer, example, databases[example.db_id], sql)

        def give_up() -> None:
            synthesizer.proposer.close()
            sql.close()

        _drain(pool, submit, todo, count, keep, give_up)


def in_processes(
    todo: Iterable[Example], databases: Databases, synthesizer: Synthesizer, count: int, keep: Keep
) -> None:
    """For a proposer that computes: ``count`` processes. An interrupt lets trees in flight be finished."""
    # Spawned, not forked: the caller may hold torch's threads or a CUDA context.
    pool = ProcessPoolExecutor(
        count, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(synthesizer, databases)
    )
    try:
        # Twice as many as there are processes: none is idle while this one writes a tree.
        _drain(pool, lambda example: pool.submit(_attempt_in_worker, example), todo, 2 * count, keep)
    except BrokenProcessPool as error:
        raise LearnatError(
            "A synthesis worker process ended unexpectedly (out of memory?). What is done is kept: "
            "run the same command again to go on, with fewer workers if memory is short."
        ) from error


def _drain(
    pool: Executor,
    submit: Callable[[Example], Future[Attempt]],
    todo: Iterable[Example],
    at_once: int,
    keep: Keep,
    give_up: Callable[[], None] | None = None,
) -> None:
    """Without ``give_up``, an interrupt or error waits for what is in flight, and keeps it."""
    waiting = deque(todo)
    running: set[Future[Attempt]] = set()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.add(submit(waiting.popleft()))
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                running.discard(future)
                keep(future.result())
    except BaseException:
        try:
            _keep_finished(running, keep)
        finally:
            if give_up is not None:
                running.clear()  # whose SQL is ended under them: their trees would hold false verdicts
                give_up()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        _keep_finished(running, keep)


def _keep_finished(running: set[Future[Attempt]], keep: Keep) -> None:
    for future in [future for future in running if future.done()]:
        running.discard(future)
        if not future.cancelled() and future.exception() is None and future.result().tree is not None:
            keep(future.result())


_worker: tuple[Synthesizer, Databases] | None = None


def _start_worker(synthesizer: Synthesizer, databases: Databases) -> None:
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
    return attempt(synthesizer, example, databases[example.db_id])
