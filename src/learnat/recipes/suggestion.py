"""What to do next with what a run made."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from learnat.benchmarks.types import Benchmark


def ask_command(checkpoint: Path, benchmark: Benchmark, splits: Sequence[str]) -> str | None:
    """The command that asks ``checkpoint`` the first question of ``splits`` whose database has a file, if any."""
    for example in (example for split in splits for example in benchmark.examples(split)):
        path = benchmark.database(example.db_id).path
        if path is not None:
            given = {"checkpoint": checkpoint, "database": path, "question": example.question}
            return " ".join(["python ask.py", *(shlex.quote(f"{k}={v}") for k, v in given.items()), "--explain"])
    return None
