"""The run folder of evaluate.py: one process's at a time, and nothing in it is lost that is not its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from omegaconf import DictConfig

from learnat.errors import LearnatError
from learnat.evaluation.predictions import prediction_file
from learnat.recipes.provenance import FILE_NAME, SETTINGS_FILE, refuse_other_command

LOCK_FILE = "evaluate.lock"
ANSWERS_FILE = "answers.jsonl"
_WRITTEN = (
    ANSWERS_FILE,
    "predictions.jsonl",
    "metrics.json",
    "table.md",
    "table.tex",
    "comparison.json",
    FILE_NAME,
    SETTINGS_FILE,
    LOCK_FILE,
)


@contextmanager
def own_folder(cfg: DictConfig) -> Iterator[Path]:
    """``cfg.run_dir``, for this process alone.

    Raises ``LearnatError`` where another process works there, another command did, or the files that are read are
    among those that are written.
    """
    folder = Path(cfg.run_dir)
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise LearnatError(
            f"{folder}: another evaluate.py writes here. Wait until it has ended, or give another run_dir."
        ) from error
    try:
        refuse_other_command(folder, "compare_with")
        for key in ("predictions", "compare_with"):
            if cfg[key] is not None:
                _refuse_to_overwrite(folder, key, cfg[key])
        yield folder
    finally:
        lock.release()


def _refuse_to_overwrite(folder: Path, key: str, given: str) -> None:
    file = prediction_file(given)
    for name in _WRITTEN:
        written = folder / name
        if file.exists() and written.exists() and file.samefile(written):
            raise LearnatError(
                f"{name} of the run folder {folder} would overwrite {key}={given}, which is read from there: give "
                "another run_dir."
            )
