"""Questions of many threads, answered in batches by one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")

LINGER_S = 0.01
"""A batch that is not full waits this long for a further question, and again after each that comes."""


class Closed(Exception):
    """The batcher was closed before the question was answered."""


class Batcher(Generic[Q, A]):
    """Collects what is asked into batches of questions alike in length.

    ``answer`` is called by one thread only, which starts with the first question. What it raises is raised to all that
    wait and to all that ask later: it is to raise only where nothing can be answered any more.

    Args:
        answer: the answers to a batch of at most ``size`` questions, in its order.
        size: may be changed at any time.
        length: of a question. A batch holds the question that waits longest and those nearest to it in length.
    """

    def __init__(
        self, answer: Callable[[Sequence[Q]], Sequence[A]], size: int, length: Callable[[Q], int] = lambda question: 0
    ) -> None:
        self.size = size
        self._answer = answer
        self._length = length
        self._waiting: list[tuple[Q, Future[A]]] = []
        self._in_flight: list[Future[A]] = []
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    @property
    def closed(self) -> bool:
        return isinstance(self._error, Closed)

    def ask(self, questions: Sequence[Q]) -> list[A]:
        """The answers, once all are there. Raises ``Closed``, or what ``answer`` raised."""
        futures: list[Future[A]] = [Future() for _ in questions]
        with self._changed:
            if self._error is not None:
                raise self._error
            self._waiting += zip(questions, futures, strict=True)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="batcher", daemon=True)
                self._thread.start()
            self._changed.notify()
        return [future.result() for future in futures]

    def close(self) -> None:
        """Fail all that wait, at once, and wait for the thread's end."""
        self._fail(Closed("closed"))
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _serve(self) -> None:
        while batch := self._next_batch():
            try:
                answers = self._answer([question for question, _ in batch])
            except BaseException as error:  # whatever it is, those who wait must hear of it
                self._fail(error)
                return
            with self._changed:
                if self._error is None:
                    for (_, future), answer in zip(batch, answers, strict=True):
                        future.set_result(answer)
                    self._in_flight = []

    def _next_batch(self) -> list[tuple[Q, Future[A]]]:
        """Waits for questions; empty once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._error)
            waiting = 0
            while waiting < len(self._waiting) < self.size and self._error is None:
                waiting = len(self._waiting)
                self._changed.wait(LINGER_S)
            if self._error is not None:
                return []
            oldest = self._length(self._waiting[0][0])
            order = sorted(self._waiting, key=lambda item: abs(self._length(item[0]) - oldest))
            batch, taken = order[: self.size], {id(item[1]) for item in order[: self.size]}
            self._waiting = [item for item in self._waiting if id(item[1]) not in taken]
            self._in_flight = [future for _, future in batch]
            return batch

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            if self._error is None:
                self._error = error
            for future in [*self._in_flight, *(future for _, future in self._waiting)]:
                future.set_exception(self._error)
            self._waiting, self._in_flight = [], []
            self._changed.notify_all()
