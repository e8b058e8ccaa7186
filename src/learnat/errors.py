"""Errors a user can cause, each with the way out in its message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LearnatError(Exception):
    """A mistake the user can mend: the message names the thing and says what to do.

    The command-line entry points print the message alone, without a traceback, and exit with code 2.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` for the known name closest to ``name``, or the list of what is known."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(names)}."
