"""Where a database is, and which engine runs its queries: SQLite and DuckDB files by path, PostgreSQL by URL."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from learnat.errors import LearnatError

Engine = Literal["sqlite", "duckdb", "postgresql"]
Address = Path | str
"""A SQLite file, a DuckDB file (``*.duckdb``), or libpq's ``postgresql://[user@]host[:port]/database``."""

_URL = re.compile(r"postgres(ql)?://")
_PASSWORD = re.compile(r"(?<=://)([^:/@]*):[^@/]*(?=@)|([?&]password=)[^&]*")
_DUCKDB = b"DUCK"
"""Bytes 8 to 11 of a DuckDB file."""
_PACKAGES = {"duckdb": ("duckdb", "duckdb"), "postgresql": ("psycopg", "postgres")}
"""The package that talks to an engine, and the extra that brings it."""


def engine_of(address: Address) -> Engine:
    """The engine that ``address`` needs: PostgreSQL for a URL, DuckDB for a file ``*.duckdb``, else SQLite.

    The file is not looked into: where this process has it open, closing a second handle would drop its SQLite locks.
    """
    if _is_url(address):
        return "postgresql"
    return "duckdb" if str(address).lower().endswith(".duckdb") else "sqlite"


def normal_address(address: Address) -> str:
    """``address`` as it is handed to another process."""
    return str(address) if _is_url(address) else os.path.abspath(address)


def shown_address(address: Address) -> str:
    """``address`` as messages and files may hold it: a URL without its password."""
    if not _is_url(address):
        return str(address)
    return _PASSWORD.sub(lambda match: match[1] or match[2], str(address))


def require_engine(engine: Engine) -> None:
    """Raises ``LearnatError`` when the package that talks to ``engine`` is not installed."""
    package, extra = _PACKAGES.get(engine, (None, None))
    if package is not None and find_spec(package) is None:
        raise LearnatError(f"{package} is not installed: pip install -e '.[{extra}]'")


def check_sqlite(path: Address) -> Path:
    """``path``, when it is a SQLite file that can be read.

    Raises:
        LearnatError: the file is missing, a folder, unreadable, or not SQLite.
    """
    path = Path(path)
    try:
        exists = path.exists()
    except OSError as error:  # a name that is too long
        raise LearnatError(f"Cannot read the database {path}: {error.strerror}.") from error
    if not exists:
        raise LearnatError(f"No database at {path}: give the path of an existing SQLite file.")
    if not path.is_file():
        raise LearnatError(f"{path} is not a file: give the path of the SQLite file itself.")
    try:
        with open(path, "rb") as file:
            header = file.read(16)
    except OSError as error:
        raise LearnatError(f"Cannot read the database {path}: {error.strerror}. Check its permissions.") from error
    if header[8:12] == _DUCKDB:
        raise LearnatError(
            f"{path} is a DuckDB database, not SQLite: where DuckDB can be used, call it so that it ends in .duckdb."
        )
    # An empty file is a valid, empty SQLite database, but never one that a question can be asked of.
    if header != b"SQLite format 3\0":
        what = "is empty" if not header else "is not a SQLite database"
        raise LearnatError(f"{path} {what}: download or copy it again (a Git LFS pointer looks like this too).")
    return path


def is_duckdb(path: Path) -> bool:
    """Whether ``path`` is a DuckDB file that can be read, whatever it is called."""
    try:
        with open(path, "rb") as file:
            return file.read(12)[8:] == _DUCKDB
    except OSError:
        return False


def _is_url(address: Address) -> bool:
    return isinstance(address, str) and _URL.match(address) is not None
