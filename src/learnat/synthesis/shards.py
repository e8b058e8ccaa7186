"""Synthesis on many machines: each makes the trees of one shard of the questions, and this makes one file of them.

    python -m learnat.synthesis.shards OUT SHARD_FOLDER…

A sweep's folder may be given in place of its job folders.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from learnat.errors import LearnatError
from learnat.synthesis.settings import digest, settings_text
from learnat.synthesis.shard import AGAIN, SPLIT_FILE, Shard, Split, read_json
from learnat.synthesis.store import SETTINGS_FILE, TREES_FILE, TreeStore, is_torn
from learnat.synthesis.summary import Summary, print_summary, summarize, write_summary
from learnat.synthesis.tree import SearchTree, read_trees


def merge(folders: Iterable[Path], out: Path) -> Summary:
    """Make of all shards of a split, in any order, what one machine would have made: trees, settings, summary.

    Merged again, the same shards leave the same files. The shards themselves are only read.

    Args:
        folders: what ``synthesize`` wrote for each shard, or folders of such folders (a sweep's).
        out: where ``trees.jsonl``, ``trees.settings.json`` and ``summary.json`` go; made if it is not there.

    Raises:
        LearnatError: a shard is missing, there twice, or unfinished; settings differ; a question is there twice or is
            none of its shard's; a line is torn; ``out`` holds other trees, or cannot be written to. The message names
            all such folders.
    """
    parts = [_Part.read(folder) for folder in _shard_folders(folders)]
    if out.resolve() in {part.folder.resolve() for part in parts}:
        raise LearnatError(f"{out} is itself a shard: name another folder for the merged trees.")
    settings, split = _common_settings(parts), parts[0].split
    trees = _all_trees(parts)
    with _opened(out, settings) as store:
        others = sorted(store.done - trees.keys())
        if others:
            raise LearnatError(
                f"{out} holds trees of {len(others)} questions that no shard has ({others[0]}, for one): "
                "name another folder for the merged trees."
            )
        store.replace(trees[question.example_id] for question in split.questions)
    difficulty = {question.example_id: question.difficulty for question in split.questions}
    summary = summarize(trees.values(), difficulty, split.rules, split.levels, split.skipped)
    write_summary(summary, out / "summary.json")
    return summary


def _opened(out: Path, settings: str) -> TreeStore:
    try:
        return TreeStore(out, settings)
    except OSError as error:
        raise LearnatError(f"{out}: no trees can be written there ({error.strerror}). Name another folder.") from error


_OWN_SETTINGS = ("shards", "questions", "split_digest", "schemas")
"""Settings of a shard that the merged trees do not have, or have otherwise."""


@dataclass(frozen=True)
class _Part:
    """A shard's folder. ``settings`` has the number of ``shards`` in place of ``shard``."""

    folder: Path
    shard: Shard
    settings: Mapping[str, Any]
    split: Split = field(repr=False)

    @classmethod
    def read(cls, folder: Path) -> _Part:
        settings = read_json(folder / SETTINGS_FILE)
        if "shard" not in settings:
            raise LearnatError(f"{folder} holds the trees of a whole split, not of a shard: leave it out.")
        shard, split = Shard.parse(settings.pop("shard")), Split.read(folder)
        if digest(split.text()) != settings.get("split_digest"):
            raise LearnatError(f"{folder / SPLIT_FILE} is not the one its trees were made with: {AGAIN}")
        return cls(folder, shard, {**settings, "shards": shard.count}, split)

    def trees(self) -> tuple[dict[str, SearchTree], list[str]]:
        """The trees by example id, and what is wrong with them."""
        path = self.folder / TREES_FILE
        trees: dict[str, SearchTree] = {}
        twice: list[str] = []
        for tree in read_trees(path) if path.exists() else ():
            twice += [tree.example_id] if tree.example_id in trees else []
            trees[tree.example_id] = tree
        own = {question.example_id for question in self.shard.of(self.split.questions)}
        strange, done = sorted(trees.keys() - own), len(trees.keys() & own)
        wrong = [f"is unfinished: {done:,} of {len(own):,} questions"] if done < len(own) else []
        wrong += ["has a torn last line"] if is_torn(path) else []
        wrong += [f"holds {twice[0]} twice"] if twice else []
        wrong += [f"holds {strange[0]}, which is no question of this shard"] if strange else []
        return trees, [f"{self.folder} (shard {self.shard}) {what}" for what in wrong]


def _shard_folders(folders: Iterable[Path]) -> list[Path]:
    """The folders with settings of their own, or else their subfolders that have them; each once."""
    found: dict[Path, Path] = {}
    for folder in folders:
        inside = sorted(path.parent for path in folder.glob(f"*/{SETTINGS_FILE}"))
        own = (folder / SETTINGS_FILE).is_file() and ("shard" in read_json(folder / SETTINGS_FILE) or not inside)
        if not own and not inside:
            raise LearnatError(f"{folder} is no shard's folder: it has no {SETTINGS_FILE}, nor has a folder in it.")
        found.update({path.resolve(): path for path in ([folder] if own else inside)})
    return list(found.values())


def _common_settings(parts: Sequence[_Part]) -> str:
    """The settings of the merged trees; raises ``LearnatError`` naming the keys in which shards differ."""
    first = parts[0]
    schemas: dict[str, str] = {}
    differing = []
    for part in parts:
        own = part.settings.get("schemas", {})
        shared = {name: own.get(name, schema) for name, schema in schemas.items()}
        keys = [*_differing_keys({**first.settings, "schemas": schemas}, {**part.settings, "schemas": shared})]
        differing += [f"{part.folder} (shard {part.shard}): {', '.join(keys)}"] if keys else []
        schemas = {**own, **schemas}
    if differing:
        lines = "\n".join(differing)
        raise LearnatError(
            f"The shards were made with other settings than {first.folder} (shard {first.shard}), in these keys:\n"
            f"{lines}\nMake all shards with the same code, data and command but for shard and run_dir."
        )
    common = {key: value for key, value in first.settings.items() if key not in _OWN_SETTINGS}
    return settings_text({**common, "schemas": schemas})


def _differing_keys(one: Any, other: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from _differing_keys(one.get(key), other.get(key), f"{prefix}.{key}" if prefix else key)
    elif one != other:
        yield prefix


def _all_trees(parts: Sequence[_Part]) -> dict[str, SearchTree]:
    """The trees of all shards by example id; raises ``LearnatError`` unless each question has one."""
    by_shard = defaultdict(list)
    for part in parts:
        by_shard[part.shard].append(part)
    problems = []
    trees: dict[str, SearchTree] = {}
    count = parts[0].shard.count
    for shard in (Shard(index, count) for index in range(1, count + 1)):
        own = by_shard[shard]
        if not own:
            problems.append(f"shard {shard} is missing")
        elif len(own) > 1:
            problems.append(f"shard {shard} is there {len(own)} times: {', '.join(str(part.folder) for part in own)}")
        for part in own:
            found, wrong = part.trees()
            problems += wrong
            trees.update(found)
    if problems:
        lines = "\n".join(problems)
        raise LearnatError(
            f"The shards cannot be merged:\n{lines}\n"
            f"Name every shard's folder once. Where a shard is missing, unfinished or torn, {AGAIN}"
        )
    return trees


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m learnat.synthesis.shards", description="Merge the shards of a synthesis into one trees.jsonl."
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the merged trees, made if it is not there")
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="SHARD_FOLDER", help="a shard's run folder, or a sweep's folder"
    )
    options = parser.parse_args(arguments)
    try:
        print_summary(merge(options.folders, options.out))
    except LearnatError as error:
        print(error, file=sys.stderr)
        return 2
    print(options.out / TREES_FILE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
