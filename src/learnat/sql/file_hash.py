"""Hashing database files by content."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

WHOLE = 64 * 2**20
"""Bytes up to which a file is hashed as a whole."""
_PIECE = 2**20


class Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


def update_with_file(digest: Hash, path: Path) -> None:
    """Adds the size and content of ``path`` to ``digest``. May raise ``OSError``.

    Of a file above 64 MiB the first and last MiB are taken: BIRD's training databases are 33 GB, and the first page of
    a SQLite file holds a counter that every change raises.
    """
    size = path.stat().st_size
    digest.update(f"{size}\0".encode())
    with path.open("rb") as file:
        if size <= WHOLE:
            while piece := file.read(_PIECE):
                digest.update(piece)
        else:
            digest.update(file.read(_PIECE))
            file.seek(-_PIECE, 2)
            digest.update(file.read(_PIECE))
