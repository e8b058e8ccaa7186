"""What the worker asks of an engine: a database opened for reading only, and cursors that end by a deadline."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

Row = tuple[Any, ...]
FETCH_ROWS = 500


class Cursor(Protocol):
    """The part of a DB-API cursor that is used."""

    @property
    def description(self) -> Sequence[Sequence[Any]] | None: ...

    def fetchmany(self, size: int, /) -> list[Any]: ...

    def close(self) -> Any: ...


class Refused(Exception):
    """A statement or database that is not run or opened; the message is for the user."""


class TimeLimit(Exception):
    """The deadline passed between two batches of rows."""


class OpenDatabase(ABC):
    """One open database with its guards."""

    @staticmethod
    def stamp(address: str) -> object:
        """What changes when ``address`` must be opened anew. May raise ``OSError``: the file is not there."""
        return None

    @abstractmethod
    def __init__(self, address: str, memory_bytes: int) -> None:
        """Opens ``address``; whatever is raised is for ``explain_opening``."""

    @staticmethod
    @abstractmethod
    def explain_opening(error: BaseException, address: str) -> str:
        """What a user needs to read about an ``error`` that opening ``address`` raised."""

    @property
    def usable(self) -> bool:
        """False once the connection broke."""
        return True

    @abstractmethod
    def execute(self, sql: str, deadline: float) -> Cursor:
        """A cursor over the rows of ``sql``, interrupted at ``deadline`` (``time.monotonic``)."""

    @abstractmethod
    def timed_out(self, error: BaseException) -> bool:
        """Whether ``error`` is the deadline's interruption."""

    @abstractmethod
    def explain(self, error: BaseException) -> str:
        """What a user needs to read about ``error``."""

    @abstractmethod
    def close(self) -> None: ...


def batches(cursor: Cursor, deadline: float) -> Iterator[list[Row]]:
    """The rows that are left, in batches; an engine that yields rows quickly may never look at the clock itself."""
    while batch := cursor.fetchmany(FETCH_ROWS):
        yield batch
        if time.monotonic() >= deadline:
            raise TimeLimit
