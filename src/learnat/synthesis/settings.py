"""What trees were made with, as text: equal settings, equal trees."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import learnat
from learnat.benchmarks.types import Benchmark, Example


def describe(value: object) -> Any:
    """``value`` as JSON data: primitives as they are, objects as class name and constructor settings.

    Attributes that start with an underscore are state, not settings, and those that the class lists as its
    ``free_settings`` may change: no tree depends on them.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): describe(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(str(item) for item in value)
    if isinstance(value, Path):
        return str(value)
    kind = type(value)
    names = [field.name for field in fields(value)] if is_dataclass(value) else sorted(vars(value))
    free = getattr(kind, "free_settings", ())
    settings = {name: describe(getattr(value, name)) for name in names if not name.startswith("_") and name not in free}
    return {"class": f"{kind.__module__}.{kind.__qualname__}", **settings}


def settings_text(settings: Mapping[str, object]) -> str:
    """The text of ``trees.settings.json``."""
    return json.dumps(describe({"learnat": learnat.__version__, **settings}), indent=2, sort_keys=True) + "\n"


def digest(*texts: str) -> str:
    """Twelve hexadecimal digits that identify ``texts``."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def schema_digests(benchmark: Benchmark, examples: Iterable[Example]) -> dict[str, str]:
    """A digest of each schema that ``examples`` are about, sample values, descriptions and variants included."""
    databases = {example.db_id: benchmark.database(example.db_id) for example in examples}
    return {
        db_id: digest(repr(databases[db_id].schema), *(path.name for path in databases[db_id].variants))
        for db_id in sorted(databases)
    }


def source_digest() -> str:
    """A digest of the code that decides what a tree looks like (rooms ``sql`` and ``synthesis``)."""
    root = Path(learnat.__file__).parent
    return digest(*(path.read_text("utf-8") for path in _sources(root, ("sql", "synthesis"))))


def _sources(root: Path, rooms: Iterable[str]) -> list[Path]:
    return sorted(path for room in rooms for path in (root / room).rglob("*.py"))
