"""Reading the JSON files of a benchmark, with messages that say where a file is broken."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from learnat.errors import LearnatError
from learnat.sql.file_hash import update_with_file


def read_rows(path: Path, keys: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a JSON file that is a list of objects, each of which has all of ``keys``.

    Raises:
        LearnatError: naming file and place (line and column, or the row's index) of what is wrong.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise LearnatError(f"cannot read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise LearnatError(f"{path} is not UTF-8 text: byte {error.start} cannot be read ({error.reason}).") from error
    except json.JSONDecodeError as error:
        raise LearnatError(
            f"{path} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}. "
            "Restore the file from the official download."
        ) from error
    except RecursionError as error:
        raise LearnatError(f"{path} is not a benchmark file: its JSON is nested too deeply.") from error
    if not isinstance(rows, list):
        raise LearnatError(f"{path} must hold a JSON list of objects, not a {type(rows).__name__}.")
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise LearnatError(f"{path}: row {index} (counted from 0) is a {type(row).__name__}, not an object.")
        lacking = [key for key in keys if row.get(key) is None]
        if lacking:
            raise LearnatError(
                f"{path}: row {index} (counted from 0) lacks {', '.join(map(repr, lacking))}; it has {', '.join(row)}."
            )
    return rows


def fingerprint(paths: Iterable[Path]) -> str:
    """A short hash (16 hex digits) of the names and contents of ``paths``, in sorted order.

    Of a file above 64 MiB its ends are hashed: ``update_with_file``.
    """
    digest = hashlib.sha256()
    for path in sorted(set(paths), key=lambda path: (path.name, str(path))):
        digest.update(f"{path.name}\0".encode())
        try:
            update_with_file(digest, path)
        except OSError as error:
            raise LearnatError(f"cannot read {path}: {error.strerror or error}.") from error
    return digest.hexdigest()[:16]
