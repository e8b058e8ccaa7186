"""One self-contained HTML page: its assets inlined, its data embedded, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from learnat.errors import LearnatError

_DATA = '<script type="application/json" id="data">'
# In JSON these characters occur within strings only, so that the escapes mean the same; without them no markup
# can begin or end there, whatever the data says.
_ESCAPES = str.maketrans({"<": r"\u003c", ">": r"\u003e", "&": r"\u0026"})


def write_page(path: Path, template: str, header: object, rows: Iterable[object]) -> None:
    """Write ``template``, a page in the folder ``assets``, with a JSON list of ``header`` and all ``rows`` in it.

    The list becomes the content of the page's script element ``data``. The page allows itself no script but its own
    and no request. ``rows`` are written as they come; the file appears whole or not at all.

    Raises:
        LearnatError: the file cannot be written. What ``rows`` raises is passed on.
    """
    start, end = _inlined(template).split(_DATA)
    partial = path.with_name(path.name + ".partial")
    try:
        stream = partial.open("wb")
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with stream:
            stream.write((start + _DATA).encode())
            stream.write(b"[" + _embedded(header))
            for row in rows:
                stream.write(b",\n" + _embedded(row))
            stream.write(b"]" + end.encode())
        os.replace(partial, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> LearnatError:
    return LearnatError(f"{path}: no page can be written there ({error.strerror}). Name another file.")


def _embedded(row: object) -> bytes:
    text = json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # JSON can hold half of a surrogate pair, UTF-8 cannot.
    return text.translate(_ESCAPES).encode("utf-8", "replace")


def _inlined(template: str) -> str:
    """``template`` with its style sheets and scripts in place, and their hashes as the only ones it allows."""
    page = _asset(template)
    page = _inline(page, "style", r'<link rel="stylesheet" href="([\w.]+)">')
    return _inline(page, "script", r'<script src="([\w.]+)"></script>')


def _inline(page: str, tag: str, reference: str) -> str:
    texts = [_asset(name) for name in re.findall(reference, page)]
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    page = page.replace(f"{tag}-src 'self'", " ".join([f"{tag}-src", *(f"'sha256-{digest}'" for digest in digests)]))
    return re.sub(reference, lambda _: f"<{tag}>{texts.pop(0)}</{tag}>", page)


def _asset(name: str) -> str:
    return (files("learnat.reporting") / "assets" / name).read_text(encoding="utf-8")
