"""Reading prediction files, in any of the formats of ``prediction_formats``, and checking that they fit a split."""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from learnat.benchmarks.types import Example
from learnat.errors import LearnatError, nearest
from learnat.evaluation.prediction_formats import FORMATS, Entry, entries

_OF_A_RUN = "predictions.jsonl"
_GZIP = b"\x1f\x8b"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_QUERY = re.compile(r"[\s(]*(select|with|values)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Predictions(Mapping[int, str]):
    """Predicted SQL by question index (the 0-based position in the split's official file).

    ``databases`` holds the database named beside a prediction, where the file names one; ``stage`` is whose predictions
    they are, where the file says so; ``digest`` is SHA-256 of the bytes that were read, ``by_position`` whether the
    order alone says which question a prediction is for, and ``not_text`` are the questions whose answer is no text.
    """

    source: str
    sql: Mapping[int, str]
    databases: Mapping[int, str] = field(default_factory=dict)
    stage: str | None = None
    digest: str = ""
    by_position: bool = False
    not_text: tuple[int, ...] = ()

    def __getitem__(self, index: int) -> str:
        return self.sql[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self.sql)

    def __len__(self) -> int:
        return len(self.sql)


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
    data = _content(path)
    text = _decoded(path, data)
    if not text.strip():
        raise LearnatError(f"The prediction file {path} is empty. Formats: {FORMATS}.")

    sql: dict[int, str] = {}
    databases: dict[int, str] = {}
    places: dict[int, str] = {}
    chosen, stage = _chosen(path, list(entries(path, text)), split, stage, key)
    for entry in chosen:
        if entry.index in sql:
            raise LearnatError(
                f"{entry.place}: question {entry.index} is predicted twice; the first time at {places[entry.index]}."
            )
        sql[entry.index] = entry.sql
        places[entry.index] = entry.place
        if entry.database:
            databases[entry.index] = entry.database
    return Predictions(
        str(path),
        sql,
        databases,
        stage,
        hashlib.sha256(data).hexdigest(),
        any(entry.by_position for entry in chosen),
        tuple(entry.index for entry in chosen if not entry.is_text),
    )


def prediction_file(path: Path | str) -> Path:
    """``path``, or, where it is a run folder, its predictions.jsonl.

    Raises:
        LearnatError: a folder that has none, or a name that no file can have.
    """
    path = Path(path)
    try:
        if not path.is_dir():
            return path
    except OSError as error:  # a name that is too long
        raise LearnatError(f"Cannot read the predictions {path}: {error.strerror}.") from error
    if not (path / _OF_A_RUN).is_file():
        raise LearnatError(
            f"The folder {path} has no {_OF_A_RUN}: name a prediction file, or a run folder of train.py or evaluate.py."
        )
    return path / _OF_A_RUN


def _content(path: Path) -> bytes:
    """All of ``path``, read once: a pipe gives it no second time."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise LearnatError(f"No prediction file at {path}.") from error
    except OSError as error:
        raise LearnatError(f"Cannot read the predictions {path}: {error.strerror}.") from error


def _decoded(path: Path, data: bytes) -> str:
    if data.startswith(_GZIP):
        raise LearnatError(f"{path} is compressed with gzip: unpack it first (gunzip FILE).")
    # Without its mark, UTF-16 of SQL is NUL in every second byte; one in a query is that query's mistake.
    if data.startswith(_UTF_16) or data.count(0) > len(data) // 4:
        convert = "iconv -f UTF-16 -t UTF-8 FILE > OTHER_FILE"
        raise LearnatError(f"{path} is UTF-16 text, not UTF-8: write it as UTF-8 first ({convert}).")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LearnatError(f"Cannot read the predictions {path} as UTF-8 text: {error}.") from error


def _chosen(
    path: Path, entries: Sequence[Entry], split: str | None, stage: str | None, key: str
) -> tuple[Sequence[Entry], str | None]:
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


def check_positions(predictions: Predictions, whole: int, scored: int, split: str) -> None:
    """Nothing, when predictions that are paired by position may be paired so.

    One too many or too few, and all behind it are taken for another question's. Blank lines at the end are none.

    Args:
        whole: how many questions ``split`` has.
        scored: and how many of them are scored.

    Raises:
        LearnatError: there are neither as many predictions as the one nor as the other.
    """
    if not predictions.by_position or len(predictions) in (whole, scored):
        return
    if len(predictions) > whole and not any(sql for index, sql in predictions.items() if index >= whole):
        return
    part = f", {scored} of which are scored" if scored != whole else ""
    strange = [index for index, sql in predictions.items() if sql and not _QUERY.match(sql)]
    empty = [index for index, sql in predictions.items() if not sql]
    hints = [f"; no. {i + 1} is the first that begins like no query: {predictions[i][:40]!r}" for i in strange[:1]]
    hints += [f"; {len(empty)} are empty, which counts as a prediction: no. {i + 1} is the first" for i in empty[:1]]
    raise LearnatError(
        f"{predictions.source} holds {len(predictions)} predictions in the order of the split, but {split!r} has "
        f"{whole} questions{part}: which is for which cannot be told. Look for a query with a line break in it, and "
        f"for lines that are missing{''.join(hints)}. Or say which question is meant, in JSON lines: "
        '{"index": 0, "predicted": "SELECT …"}.'
    )


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
                tab = " What follows a tab in a line is its database: write tabs inside a query as spaces."
                raise LearnatError(
                    f"{source}: prediction {example.index} is for database {named!r}, but question {example.index} of "
                    f"{split!r} asks {example.db_id!r}. Is it the file of another split?"
                    f"{tab if predictions.by_position else ''}"
                )


def _listed(indices: Iterable[int], most: int = 10) -> str:
    shown = [str(index) for index in indices]
    return ", ".join(shown[:most]) + (", …" if len(shown) > most else "")
