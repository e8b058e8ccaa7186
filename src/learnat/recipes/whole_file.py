"""Files that are written whole or not at all: a kill leaves what was there before."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, and half a surrogate pair, which a model may well write, as JSON's own escape."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, "utf-8", "backslashreplace")
    os.replace(partial, path)
