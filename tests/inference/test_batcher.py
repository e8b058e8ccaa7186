"""Many threads ask, one answers in batches: every answer reaches its asker, and so does every failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from learnat.inference.batcher import Batcher, Closed


class Doubler:
    """Answers with twice the question, after ``seconds``; keeps the batches and the threads it was called by."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.called = threading.Event()

    def __call__(self, questions: Sequence[int]) -> list[int]:
        self.batches.append([*questions])
        self.threads.add(threading.get_ident())
        self.called.set()
        time.sleep(self.seconds)
        return [2 * question for question in questions]


def test_every_thread_gets_its_own_answers() -> None:
    double = Doubler(0.002)
    batcher = Batcher(double, 8)
    calls = [[i, i + 1000, i + 2000] for i in range(200)]
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(batcher.ask, calls))
    batcher.close()
    assert answers == [[2 * question for question in call] for call in calls]
    assert len(double.threads) == 1
    assert max(map(len, double.batches)) == 8
    assert sum(map(len, double.batches)) == 600 and len(double.batches) < 150  # 75 full ones


def test_one_question_is_not_kept_waiting() -> None:
    batcher = Batcher(Doubler(), 64)
    start = time.monotonic()
    assert [batcher.ask([i]) for i in range(10)] == [[2 * i] for i in range(10)]
    assert time.monotonic() - start < 2.0
    batcher.close()


def test_batches_are_alike_in_length_and_nobody_is_passed_over() -> None:
    double = Doubler()
    batcher = Batcher(double, 3, length=abs)
    with batcher._changed:  # all wait before the first is answered
        asker = threading.Thread(target=batcher.ask, args=([5, 90, 6, 91, 92, 7, 4],))
        asker.start()
    asker.join()
    assert [sorted(batch) for batch in double.batches] == [[4, 5, 6], [90, 91, 92], [7]]
    batcher.close()


def test_a_failure_reaches_all_who_wait_and_all_who_ask_later() -> None:
    def fail(questions: Sequence[int]) -> list[int]:
        time.sleep(0.05)
        raise ValueError("no model")

    batcher: Batcher[int, int] = Batcher(fail, 2)
    with ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(batcher.ask, [i]) for i in range(8)]
    for call in waiting:
        with pytest.raises(ValueError, match="no model"):
            call.result()
    with pytest.raises(ValueError, match="no model"):
        batcher.ask([1])
    batcher.close()


def test_closing_fails_all_who_wait_at_once() -> None:
    double = Doubler(0.5)
    batcher = Batcher(double, 2)
    with ThreadPoolExecutor(7) as threads:
        waiting = [threads.submit(batcher.ask, [i]) for i in range(6)]
        double.called.wait()
        start = time.monotonic()
        closer = threads.submit(batcher.close)
        for call in waiting:
            with pytest.raises(Closed):
                call.result()
        assert time.monotonic() - start < 0.4  # the batch under way takes longer
        closer.result()
    with pytest.raises(Closed):
        batcher.ask([1])
    assert len(double.batches) == 1
