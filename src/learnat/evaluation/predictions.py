"""Reading prediction files: our own, Spider's, BIRD's.

* JSON lines: ``{"index": 0, "predicted": "SELECT …"}``. Lines of our own predictions.jsonl name their ``stage`` and
  ``split`` as well, and may be of several; further keys are ignored.
* A JSON list of such objects, or of SQL strings in the order of the split.
* Spider's text: one SQL a line, in the order of the split, optionally followed by a tab and the database
  (``dev_gold.sql`` is such a file). An empty line is an empty, hence wrong, prediction, also at the end.
* BIRD's JSON object: ``{"0": "SQL\\t----- bird -----\\tdb_id"}``.

The format is told from the content, not from the file's name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from learnat.benchmarks.types import Example
from learnat.errors import LearnatError, nearest

BIRD_SEPARATOR = "\t----- bird -----\t"
_OF_A_RUN = "predictions.jsonl"
_MOST_DIGITS = 9
_FORMATS = (
    'JSON lines {"index": 0, "predicted": "SELECT …"}, Spider\'s one SQL a line, '
    'or BIRD\'s {"0": "SELECT …\\t----- bird -----\\tdb_id"}'
)


@dataclass(frozen=True)
class Predictions(Mapping[int, str]):
    """Predicted SQL by question index (the 0-based position in the split's official file).

    ``databases`` holds the database named beside a prediction, where the file names one; ``stage`` is whose predictions
    they are, where the file says so.
    """

    source: str
    sql: Mapping[int, str]
    databases: Mapping[int, str] = field(default_factory=dict)
    stage: str | None = None

    def __getitem__(self, index: int) -> str:
        return self.sql[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self.sql)

    def __len__(self) -> int:
        return len(self.sql)


@dataclass(frozen=True)
class _Entry:
    place: str
    index: int
    sql: str
    database: str = ""
    stage: str | None = None
    split: str | None = None


def read_predictions(
    path: Path | str, split: str | None = None, stage: str | None = None, key: str = "predictions_stage"
) -> Predictions:
    """The predictions in a file of any of the formats above, or in the predictions.jsonl of a run folder.

    Args:
        split: of lines that name stage and split, those of this split are read; None: all.
        stage: and of these the ones of this stage; None: of the only one.
        key: the setting that ``stage`` comes from, for messages to name it.

    Raises:
        LearnatError: the file is missing, empty or not UTF-8 text; an entry is malformed (with its line); an index
            occurs twice; it holds no predictions of ``split`` or ``stage``, or those of several stages, none named.
    """
    path = prediction_file(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise LearnatError(f"No prediction file at {path}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise LearnatError(f"Cannot read the predictions {path} as UTF-8 text: {error}.") from error
    if not text.strip():
        raise LearnatError(f"The prediction file {path} is empty. Formats: {_FORMATS}.")

    sql: dict[int, str] = {}
    databases: dict[int, str] = {}
    places: dict[int, str] = {}
    chosen, stage = _chosen(path, list(_entries(path, text)), split, stage, key)
    for entry in chosen:
        if entry.index in sql:
            raise LearnatError(
                f"{entry.place}: question {entry.index} is predicted twice; the first time at {places[entry.index]}."
            )
        sql[entry.index] = entry.sql
        places[entry.index] = entry.place
        if entry.database:
            databases[entry.index] = entry.database
    return Predictions(str(path), sql, databases, stage)


def prediction_file(path: Path | str) -> Path:
    """``path``, or, where it is a run folder, its predictions.jsonl.

    Raises:
        LearnatError: a folder that has none.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    if not (path / _OF_A_RUN).is_file():
        raise LearnatError(
            f"The folder {path} has no {_OF_A_RUN}: name a prediction file, or a run folder of train.py or evaluate.py."
        )
    return path / _OF_A_RUN


def _chosen(
    path: Path, entries: Sequence[_Entry], split: str | None, stage: str | None, key: str
) -> tuple[Sequence[_Entry], str | None]:
    """The entries of ``split`` and ``stage``, and that stage."""
    if not any(entry.stage for entry in entries):
        if stage is not None:
            raise LearnatError(f"{path} names no stages: leave {key}={stage} out.")
        return entries, None
    of_split = [entry for entry in entries if split is None or entry.split == split]
    if not of_split:
        splits = dict.fromkeys(entry.split for entry in entries if entry.split)
        raise LearnatError(
            f"{path} holds predictions, but none for split {split!r}, only for: {', '.join(splits)} (data.split)."
        )
    stages = list(dict.fromkeys(entry.stage for entry in of_split if entry.stage))
    if stage is None and len(stages) > 1:
        raise LearnatError(
            f"{path} holds the predictions of the stages {', '.join(stages)}: name one with {key}={stages[-1]}."
        )
    stage = stage or stages[0]
    if stage not in stages:
        raise LearnatError(f"{path} has no predictions of {key}={stage} for split {split!r}. {nearest(stage, stages)}")
    return [entry for entry in of_split if entry.stage == stage], stage


def check_predictions(predictions: Mapping[int, str], examples: Sequence[Example], split: str) -> None:
    """Nothing, when every question has a prediction meant for its database.

    Raises:
        LearnatError: predictions are missing, or the file names other databases than the split (another split's file).
    """
    source = predictions.source if isinstance(predictions, Predictions) else "The predictions"
    missing = [example.index for example in examples if example.index not in predictions]
    if missing:
        raise LearnatError(
            f"{source} has no prediction for {len(missing)} of the {len(examples)} questions of {split!r}: indices "
            f"{_listed(missing)}. Give an empty prediction where there is none, or score fewer questions (data.limit)."
        )
    if isinstance(predictions, Predictions):
        for example in examples:
            named = predictions.databases.get(example.index)
            if named is not None and named != example.db_id:
                raise LearnatError(
                    f"{source}: prediction {example.index} is for database {named!r}, but question {example.index} of "
                    f"{split!r} asks {example.db_id!r}. Is it the file of another split?"
                )


def _listed(indices: Iterable[int], most: int = 10) -> str:
    shown = [str(index) for index in indices]
    return ", ".join(shown[:most]) + (", …" if len(shown) > most else "")


def _entries(path: Path, text: str) -> Iterator[_Entry]:
    start = text.lstrip()[0]
    if start not in "{[":
        return _from_lines(path, text)
    if start == "{" and _is_json_lines(text):
        return _from_json_lines(path, text)
    try:
        content = json.loads(text, object_pairs_hook=_keep_duplicates)
    except json.JSONDecodeError as error:
        raise LearnatError(f"{path}:{error.lineno}: not valid JSON: {error.msg}. Formats: {_FORMATS}.") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets without end
        raise LearnatError(f"{path} cannot be read: {error}. Formats: {_FORMATS}.") from error
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


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as written: two equal keys stay two."""


def _keep_duplicates(pairs: list[tuple[str, Any]]) -> _Pairs:
    return _Pairs(pairs)


def _from_json_lines(path: Path, text: str) -> Iterator[_Entry]:
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


def _from_list(path: Path, content: list[Any]) -> Iterator[_Entry]:
    for position, item in enumerate(content):
        place = f"{path}: entry {position}"
        if isinstance(item, str):
            yield _Entry(place, position, item)
        else:
            yield _from_object(place, dict(item) if isinstance(item, _Pairs) else item)


def _from_object(place: str, content: Any) -> _Entry:
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
    return _Entry(
        place,
        index,
        sql,
        database if isinstance(database, str) else "",
        stage if ours else None,
        split if ours else None,
    )


def _from_bird(path: Path, content: _Pairs) -> Iterator[_Entry]:
    for key, value in content:
        place = f"{path}: key {key!r}"
        if not key.isdecimal() or len(key) > _MOST_DIGITS:
            raise LearnatError(f"{place} is no question number. Formats: {_FORMATS}.")
        if not isinstance(value, str):
            raise LearnatError(f"{place}: its value is {value!r}; it must be SQL text.")
        sql, _, database = value.partition(BIRD_SEPARATOR)
        yield _Entry(place, int(key), sql, database.strip())


def _from_lines(path: Path, text: str) -> Iterator[_Entry]:
    for index, line in enumerate(text.removesuffix("\n").split("\n")):
        sql, _, database = line.rstrip("\r").partition("\t")
        yield _Entry(f"{path}:{index + 1}", index, sql.strip(), database.strip())
