"""A quiet console: our own messages and what went wrong elsewhere; everything else is in the run folder's log."""

from __future__ import annotations

import logging

from rich.console import Console

from learnat.training import ranks


class ConsoleHandler(logging.Handler):
    """Prints ``learnat`` messages and other libraries' errors through rich, so that progress bars survive them.

    Errors go to stderr. Lines are never wrapped: a message stays one line for whoever greps it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.errors = Console(stderr=True)

    def filter(self, record: logging.LogRecord) -> bool:
        # What a rank merely informs of, the first one says too.
        ours = ranks.is_first() and (record.name == "learnat" or record.name.startswith("learnat."))
        return (ours or record.levelno >= logging.ERROR) and bool(super().filter(record))

    def emit(self, record: logging.LogRecord) -> None:
        from rich import get_console

        console = self.errors if record.levelno >= logging.ERROR else get_console()
        try:
            console.print(self.format(record), soft_wrap=True, markup=False, highlight=False, emoji=False)
        except Exception:
            self.handleError(record)
