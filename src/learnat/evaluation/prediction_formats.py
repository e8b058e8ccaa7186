"""The formats of prediction files: our own, Spider's, BIRD's.

* JSON lines: ``{"index": 0, "predicted": "SELECT …"}``. Lines of our own predictions.jsonl name their ``stage`` and
  ``split`` as well, and may be of several; further keys are ignored.
* A JSON list of such objects, or of SQL strings in the order of the split.
* Spider's text: one SQL a line, in the order of the split, optionally followed by a tab and the database
  (``dev_gold.sql`` is such a file). An empty line is an empty, hence wrong, prediction, also at the end.
* BIRD's JSON object: ``{"0": "SQL\\t----- bird -----\\tdb_id"}``. A value that is no text is an empty prediction, as
  to BIRD's own script.

The format is told from the content, not from the file's name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learnat.errors import LearnatError

BIRD_SEPARATOR = "\t----- bird -----\t"
FORMATS = (
    'JSON lines {"index": 0, "predicted": "SELECT …"}, Spider\'s one SQL a line, '
    'or BIRD\'s {"0": "SELECT …\\t----- bird -----\\tdb_id"}'
)
_MOST_DIGITS = 9


@dataclass(frozen=True)
class Entry:
    """One prediction of a file, ``by_position`` where its place in the file alone says which question's it is."""

    place: str
    index: int
    sql: str
    database: str = ""
    stage: str | None = None
    split: str | None = None
    by_position: bool = False
    is_text: bool = True


def entries(path: Path, text: str) -> Iterator[Entry]:
    """The predictions in ``text``, the content of ``path``, which is not empty.

    Raises ``LearnatError`` for one that is malformed, with its line.
    """
    start = text.lstrip()[0]
    if start not in "{[":
        return _from_json_lines(path, text) if _is_of_objects(text) else _from_lines(path, text)
    if start == "{" and _is_json_lines(text):
        return _from_json_lines(path, text)
    try:
        content = json.loads(text, object_pairs_hook=_keep_duplicates)
    except json.JSONDecodeError as error:
        raise LearnatError(f"{path}:{error.lineno}: not valid JSON: {error.msg}. Formats: {FORMATS}.") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets without end
        raise LearnatError(f"{path} cannot be read: {error}. Formats: {FORMATS}.") from error
    return _from_list(path, content) if start == "[" else _from_bird(path, content)


def _is_json_lines(text: str) -> bool:
    """The first line is a whole object, and either it says ``index`` or others follow it."""
    # Not splitlines: U+2028 and the like may stand in a string as they are.
    lines = [line for line in text.split("\n") if line.strip()]
    try:
        first = json.loads(lines[0])
    except (ValueError, RecursionError):
        # BIRD's object spans lines when it is indented; a broken first line of many objects is a JSON-lines error.
        return len(lines) > 1 and all(line.lstrip().startswith("{") for line in lines[:2])
    return len(lines) > 1 or "index" in first or "predicted" in first


def _is_of_objects(text: str) -> bool:
    """Whether most lines begin an object: what stands before the first of them is then a mistake, and no SQL."""
    lines = [line.lstrip() for line in text.split("\n") if line.strip()]
    return 2 * sum(line.startswith("{") for line in lines) > len(lines)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as written: two equal keys stay two."""


def _keep_duplicates(pairs: list[tuple[str, Any]]) -> _Pairs:
    return _Pairs(pairs)


def _from_json_lines(path: Path, text: str) -> Iterator[Entry]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            content = json.loads(line)
        except json.JSONDecodeError as error:
            raise LearnatError(f"{place}: not valid JSON: {error.msg} (column {error.colno}).") from error
        except (ValueError, RecursionError) as error:
            raise LearnatError(f"{place} cannot be read: {error}.") from error
        yield _from_object(place, content)


def _from_list(path: Path, content: list[Any]) -> Iterator[Entry]:
    for position, item in enumerate(content):
        place = f"{path}: entry {position}"
        if isinstance(item, str):
            yield Entry(place, position, item, by_position=True)
        else:
            yield _from_object(place, dict(item) if isinstance(item, _Pairs) else item)


def _from_object(place: str, content: Any) -> Entry:
    if not isinstance(content, dict):
        raise LearnatError(f'{place}: expected {{"index": …, "predicted": …}}, found {json.dumps(content)[:60]}.')
    for key in ("index", "predicted"):
        if key not in content:
            raise LearnatError(f"{place}: no {key!r}; its keys are: {', '.join(map(str, content)) or 'none'}.")
    index, sql, database = content["index"], content["predicted"], content.get("db_id", "")
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise LearnatError(f"{place}: 'index' is {index!r}; it must be the question's 0-based position.")
    if not isinstance(sql, str):
        raise LearnatError(f"{place}: 'predicted' is {sql!r}; it must be SQL text (empty when there is none).")
    # Only where both are there are they ours.
    stage, split = content.get("stage"), content.get("split")
    ours = isinstance(stage, str) and isinstance(split, str) and bool(stage and split)
    return Entry(
        place,
        index,
        sql,
        database if isinstance(database, str) else "",
        stage if ours else None,
        split if ours else None,
    )


def _from_bird(path: Path, content: _Pairs) -> Iterator[Entry]:
    for key, value in content:
        place = f"{path}: key {key!r}"
        if not key.isdecimal() or len(key) > _MOST_DIGITS:
            raise LearnatError(f"{place} is no question number. Formats: {FORMATS}.")
        is_text = isinstance(value, str)
        sql, _, database = value.partition(BIRD_SEPARATOR) if is_text else ("", "", "")
        yield Entry(place, int(key), sql, database.strip(), is_text=is_text)


def _from_lines(path: Path, text: str) -> Iterator[Entry]:
    for index, line in enumerate(text.removesuffix("\n").split("\n")):
        sql, _, database = line.rstrip("\r").partition("\t")
        yield Entry(f"{path}:{index + 1}", index, sql.strip(), database.strip(), by_position=True)
