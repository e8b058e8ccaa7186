"""BIRD's ``database_description/<table>.csv``: what the columns of a database mean."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path

from learnat.benchmarks.tables_json import letters
from learnat.errors import LearnatError

DESCRIPTION_WIDTH = 240
"""Characters kept of a column's description; some of BIRD's notes on values are whole lists of codes."""

_LABEL = re.compile(r"commonsense (evidence|reasoning)s?\s*:", re.IGNORECASE)

Descriptions = Mapping[tuple[str, str], Mapping[str, str]]
"""Rows of the CSV files by (table, column), both as ``_key`` spells them."""


def read_descriptions(folder: Path) -> Descriptions:
    """All CSV files of one ``database_description`` folder; none when there is no such folder.

    BIRD's files are UTF-8 with and without a byte order mark, or Windows-1252, and pad names with spaces.

    Raises:
        LearnatError: a file cannot be read or parsed.
    """
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for path in sorted(folder.glob("*.csv")) if folder.is_dir() else ():
        try:
            reader = csv.DictReader(io.StringIO(_decode(path.read_bytes()), newline=""))
            for row in reader:
                # Cells beyond the header come under the key None, cells that are lacking as the value None.
                cells = {_key(name): value for name, value in row.items() if name and isinstance(value, str)}
                rows[_key(path.stem), _key(cells.get("original_column_name", ""))] = cells
        except (OSError, csv.Error) as error:
            raise LearnatError(f"cannot read the column descriptions {path}: {error}.") from error
    return rows


def describe(descriptions: Descriptions, table: str, column: str, human_name: str) -> str:
    """The column's name in words, its description and the note on its values, without what repeats another part."""
    row = descriptions.get((_key(table), _key(column)), {})
    human_name = human_name or row.get("column_name", "")
    parts = [human_name, row.get("column_description", ""), row.get("value_description", "")]
    parts = [" ".join(_LABEL.sub("", part).split()).strip(" ;") for part in parts]
    kept: list[str] = []
    for index, part in enumerate(parts):
        others = [*kept, *parts[index + 1 :]]
        if letters(part) == letters(column) or any(_says(other, part) for other in others):
            continue
        kept.append(part)
    text = "; ".join(kept)
    return (
        text if len(text) <= DESCRIPTION_WIDTH else text[: DESCRIPTION_WIDTH - 1].rsplit(" ", 1)[0].rstrip(" ,;") + "…"
    )


def _says(text: str, part: str) -> bool:
    return letters(part) in letters(text)


def _key(name: str) -> str:
    return " ".join(name.split()).casefold()


def _decode(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", "replace")
    # Replacement characters mark what a conversion lost (upstream's own, too); NUL stops Python 3.10's csv module.
    return text.replace("\ufffd", "").replace("\0", "")
