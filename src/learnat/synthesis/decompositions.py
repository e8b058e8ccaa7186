"""Files of decompositions: an earlier run's ``trees.jsonl``, or anybody's, one a line.

A line of the second kind is ``{"example_id": "dev/17", "steps": [{"sub_question": "…", "sql": "…"}]}``, with ``index``
(the position in the split's official file) in place of ``example_id`` if that is what is known, and optionally
``source``, ``db_id``, ``question`` and ``evidence``. Both kinds may stand in one file; their fields tell them apart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from learnat.errors import LearnatError
from learnat.synthesis.tree import SearchTree, Step, tree_from_json


@dataclass(frozen=True)
class Decomposition:
    """A way to answer a question, step by step; the last step answers it.

    ``example_id`` or ``index`` says which question it is about; both are None where only ``question`` does. Texts that
    the line does not give are empty.
    """

    steps: tuple[Step, ...]
    example_id: str | None = None
    index: int | None = None
    db_id: str = ""
    question: str = ""
    evidence: str = ""
    source: str = ""


@dataclass(frozen=True)
class Record:
    """One line: where it begins in the file, in bytes, its number from 1, and what it holds."""

    offset: int
    number: int
    content: SearchTree | Decomposition


def read_records(path: Path) -> Iterator[Record]:
    """The lines of ``path`` in file order, but for empty ones and a last tree that a killed run left torn.

    Raises:
        LearnatError: the file cannot be read, or a line is of neither kind; the message has its number.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise LearnatError(
            f"{path}: no file of decompositions can be read there ({error.strerror}). "
            'Give a trees.jsonl, or JSON lines {"example_id": "dev/17", "steps": [{"sub_question": "…", "sql": "…"}]}.'
        ) from error
    with stream:
        offset = 0
        for number, raw in enumerate(stream, start=1):
            if raw.strip():
                try:
                    content = parse_record(raw)
                except ValueError as error:
                    if raw.startswith(b'{"version"') and not raw.endswith(b"\n"):
                        return
                    raise LearnatError(f"{path}:{number}: {error}. Mend or delete the line.") from error
                yield Record(offset, number, content)
            offset += len(raw)


def parse_record(line: bytes) -> SearchTree | Decomposition:
    """What one line holds. Raises ``ValueError`` saying what is wrong with it."""
    try:
        record = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if isinstance(record, Mapping) and "nodes" in record:
        return tree_from_json(line.decode("utf-8"))
    if isinstance(record, Mapping) and "steps" in record:
        return _decomposition(record)
    raise ValueError("neither a search tree (it has no nodes) nor a decomposition (it has no steps)")


def content_digest(path: Path) -> str:
    """Sixteen hexadecimal digits that identify what ``path``, a readable file, holds."""
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


_TEXTS = ("db_id", "question", "evidence", "source")


def _decomposition(record: Mapping[str, object]) -> Decomposition:
    unknown = sorted(set(record) - {"steps", "example_id", "index", *_TEXTS})
    if unknown:
        raise ValueError(f"unknown fields {unknown} in a decomposition")
    example_id, index = record.get("example_id"), record.get("index")
    if example_id is not None and index is not None:
        raise ValueError("example_id and index both say which question it is: leave one out")
    if not isinstance(example_id, (str, type(None))):
        raise ValueError(f"example_id={example_id!r} is no text")
    if not isinstance(index, (int, type(None))) or isinstance(index, bool):
        raise ValueError(f"index={index!r} is no whole number")
    if example_id is None and index is None and not record.get("question"):
        raise ValueError("nothing says which question it is about: example_id, index and question are missing")
    texts = {name: record.get(name, "") for name in _TEXTS}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise ValueError(f"{name}={text!r} is no text")
    steps = record["steps"]
    if not isinstance(steps, list) or not steps:
        raise ValueError("steps must be a list of at least one step")
    return Decomposition(
        tuple(_step(step) for step in steps), example_id, index, **{name: str(text) for name, text in texts.items()}
    )


def _step(record: object) -> Step:
    if not isinstance(record, Mapping) or set(record) != {"sub_question", "sql"}:
        raise ValueError(f"a step has the fields sub_question and sql, this one is {json.dumps(record)[:80]}")
    if not all(isinstance(text, str) and text.strip() for text in record.values()):
        raise ValueError("sub_question and sql of a step must be text")
    return Step(record["sub_question"], record["sql"])
