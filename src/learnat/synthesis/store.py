"""The file that synthesis appends finished trees to: nothing is lost but the tree in flight, and a rerun goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from learnat.errors import LearnatError
from learnat.synthesis.tree import SearchTree, read_trees, tree_to_json

TREES_FILE = "trees.jsonl"
SETTINGS_FILE = "trees.settings.json"


class TreeStore:
    """``trees.jsonl`` in a folder, with ``trees.settings.json`` beside it that says what its trees were made with.

    A tree is one ``write`` on a descriptor opened with ``O_APPEND``, so a kill between two trees loses nothing and a
    kill inside the write leaves one torn last line, which opening again cuts off. The operating system's own crash
    is covered by ``fsync`` when the store closes. While a store is open it holds the lock of ``trees.lock``.

    ``settings`` is the text of a JSON object. Its ``schemas``, if any, maps databases to digests: of these only the
    ones that both sides have must agree, so that a raised ``data.limit`` goes on with the same file, as long as the
    rest agrees (a benchmark's fingerprint does where no database is added).

    Raises ``LearnatError`` on opening when another process writes there, when the folder holds trees made with other
    or with unknown settings, or a corrupt line.
    """

    def __init__(self, folder: Path, settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / TREES_FILE
        self._lock = FileLock(folder / "trees.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise LearnatError(
                f"{folder}: another synthesis writes here. Wait until it has ended, or give another run_dir."
            ) from error
        try:
            _cut_torn_line(self.path)
            has_trees = self.path.exists() and self.path.stat().st_size > 0
            _check_settings(folder / SETTINGS_FILE, settings, has_trees)
            self.done = {tree.example_id for tree in read_trees(self.path)} if has_trees else set()
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except BaseException:
            self._lock.release()
            raise

    def append(self, tree: SearchTree) -> None:
        data = _line(tree)
        while data:  # a full disk or a signal may cut a write short; the rest follows at the end of the file
            data = data[os.write(self._descriptor, data) :]
        self.done.add(tree.example_id)

    def sort(self, order: Iterable[str]) -> None:
        """Rewrite the file, atomically, in the order of these example ids; others follow in file order.

        Of trees with one id the first is kept. What reads the trees then does not depend on which worker finished
        first.
        """
        position = {example_id: index for index, example_id in enumerate(order)}
        lines: dict[str, bytes] = {}
        with self.path.open("rb") as stream:
            written = [json.loads(line)["example_id"] for line in stream]
            ranked = sorted(dict.fromkeys(written), key=lambda example_id: position.get(example_id, len(position)))
            if ranked == written:
                return
            stream.seek(0)
            for example_id, line in zip(written, stream, strict=True):
                lines.setdefault(example_id, line)
        self._rewrite(lines.pop(example_id) for example_id in ranked)

    def replace(self, trees: Iterable[SearchTree]) -> None:
        """Make the file hold these trees in this order, atomically."""
        kept = {tree.example_id: _line(tree) for tree in trees}
        if self.path.read_bytes() != b"".join(kept.values()):
            self._rewrite(kept.values())
        self.done = set(kept)

    def _rewrite(self, lines: Iterable[bytes]) -> None:
        temporary = self.path.with_suffix(".sorting")
        with temporary.open("wb") as stream:
            stream.writelines(lines)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, self.path)
        os.close(self._descriptor)
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)

    def __enter__(self) -> TreeStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            os.fsync(self._descriptor)
            os.close(self._descriptor)
        finally:
            self._lock.release()


def _line(tree: SearchTree) -> bytes:
    return (tree_to_json(tree) + "\n").encode("utf-8")


def _check_settings(path: Path, settings: str, has_trees: bool) -> None:
    if has_trees:
        if not path.exists():
            raise LearnatError(
                f"{path.parent} holds trees, but {path.name}, which says what they were made with, is missing. "
                "Give another run_dir, or delete that folder's trees.jsonl."
            )
        settings = _merged(path, settings)
    temporary = path.with_suffix(".new")
    temporary.write_text(settings, "utf-8")
    os.replace(temporary, path)


def _merged(path: Path, settings: str) -> str:
    """``settings`` with the schemas of the earlier runs too; raises ``LearnatError`` where they disagree."""
    new = json.loads(settings)
    try:
        old = json.loads(path.read_text("utf-8"))
    except ValueError:
        old = {}
    old_schemas, new_schemas = old.pop("schemas", {}), new.pop("schemas", {})
    differing = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    differing += sorted(
        f"schema of {name}"
        for name in old_schemas.keys() & new_schemas.keys()
        if old_schemas[name] != new_schemas[name]
    )
    if differing:
        raise LearnatError(
            f"{path.parent} already holds trees made with other settings: {', '.join(differing)} (see {path}). "
            "Give another run_dir, or delete that folder's trees.jsonl."
        )
    schemas = {"schemas": {**old_schemas, **new_schemas}} if old_schemas or new_schemas else {}
    return json.dumps({**new, **schemas}, indent=2, sort_keys=True) + "\n"


def is_torn(path: Path) -> bool:
    """Whether the last line lacks its newline: a writer was killed, or is at work."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read() != b"\n"


def _cut_torn_line(path: Path) -> None:
    """Truncate after the last newline: what follows it is a line that a kill cut short."""
    if not path.exists():
        return
    with path.open("r+b") as stream:
        end = stream.seek(0, os.SEEK_END)
        keep = end
        while keep > 0:
            size = min(keep, 1 << 16)
            stream.seek(keep - size)
            newline = stream.read(size).rfind(b"\n")
            if newline >= 0:
                keep = keep - size + newline + 1
                break
            keep -= size
        if keep < end:
            stream.truncate(keep)
