"""A reader that has seen enough, as in ``ask.py --help | head``: the command then ends, and says nothing of it."""

from __future__ import annotations

import io
import os
import stat
import sys
from typing import Any

EXIT_CODE = 141
"""That of a program which the closed pipe's signal ends, 128 + SIGPIPE."""


def end_quietly_when_closed() -> None:
    """If standard output is a pipe, end this process when its reader is gone, with ``EXIT_CODE``.

    Python reports a closed pipe as an error wherever something is printed, and once more at the end. The signal itself
    stays ignored: it would end a process whose model server or worker hangs up, too.
    """
    try:
        descriptor = sys.stdout.fileno()
        piped = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except (AttributeError, OSError, ValueError):  # there is no standard output, or a program has replaced it
        return
    if piped:
        before = sys.stdout
        before.flush()
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Pipe(descriptor, "w", closefd=False)),
            encoding=before.encoding,
            errors=before.errors,
            line_buffering=bool(before.line_buffering),
        )


class _Pipe(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            # What is printed on the way out, and what is still buffered, goes nowhere.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            raise SystemExit(EXIT_CODE) from None
