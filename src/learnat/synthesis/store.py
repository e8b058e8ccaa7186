"""The file that synthesis appends finished trees to: nothing is lost but the tree in flight, and a rerun goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from learnat.errors import LearnatError
from learnat.synthesis.tree import SearchTree, read_trees, tree_to_json


class TreeStore:
    """``trees.jsonl`` in a folder, with ``trees.settings.json`` beside it that says what its trees were made with.

    A tree is one ``write`` on a descriptor opened with ``O_APPEND``, so a kill between two trees loses nothing and a
    kill inside the write leaves one torn last line, which opening again cuts off. The operating system's own crash
    is covered by ``fsync`` when the store closes.

    Raises ``LearnatError`` on opening when the folder holds trees made with other settings, or a corrupt line.
    """

    def __init__(self, folder: Path, settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "trees.jsonl"
        _check_settings(folder / "trees.settings.json", settings, has_trees=self.path.exists())
        _cut_torn_line(self.path)
        self.done = {tree.example_id for tree in read_trees(self.path)} if self.path.exists() else set()
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def append(self, tree: SearchTree) -> None:
        data = (tree_to_json(tree) + "\n").encode("utf-8")
        while data:  # a full disk or a signal may cut a write short; the rest follows at the end of the file
            data = data[os.write(self._descriptor, data) :]
        self.done.add(tree.example_id)

    def sort(self, order: Iterable[str]) -> None:
        """Rewrite the file, atomically, in the order of these example ids; others follow in file order.

        What reads the trees then does not depend on which worker finished first.
        """
        position = {example_id: index for index, example_id in enumerate(order)}
        lines = [line for line in self.path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        ids = [json.loads(line)["example_id"] for line in lines]
        ranked = sorted(range(len(lines)), key=lambda i: (position.get(ids[i], len(position)), i))
        if ranked == list(range(len(lines))):
            return
        temporary = self.path.with_suffix(".sorting")
        with temporary.open("wb") as stream:
            stream.writelines(lines[i] for i in ranked)
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
        os.fsync(self._descriptor)
        os.close(self._descriptor)


def _check_settings(path: Path, settings: str, has_trees: bool) -> None:
    if path.exists() and has_trees:
        if path.read_text("utf-8") == settings:
            return
        raise LearnatError(
            f"{path.parent} already holds trees made with other settings (see {path}). "
            "Give another run_dir, or delete that folder's trees.jsonl."
        )
    temporary = path.with_suffix(".new")
    temporary.write_text(settings, "utf-8")
    os.replace(temporary, path)


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
