"""Search trees of verified decompositions, and ``trees.jsonl``: the contract between synthesis and training.

One tree a line. ``nodes`` holds proposed steps only, with ids from 1 in the order they were proposed (a parent
always precedes its children); ``parent`` 0 is the root, the empty decomposition, which is not written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from learnat.errors import LearnatError

TREE_VERSION = 1
ROOT = 0
"""The id of the root, which stands for the question before any step and is never written."""


@dataclass(frozen=True)
class Step:
    """One step of a decomposition: a sub-question and the SQL that answers it."""

    sub_question: str
    sql: str


@dataclass(frozen=True)
class Node:
    """A proposed step and what is known about it.

    ``included`` and ``final`` are the verdicts on the step alone and are recorded whatever was pruned;
    ``pruned_by`` names the first pruning rule that refused it, or is None. ``reward`` is in [0, 1].
    ``coverage`` is the share of gold's AST nodes that the right steps from the root to this node account for
    together (a union, so it never falls along a path). ``visits`` and ``value`` (mean) are the search's.
    ``source`` says who proposed it: ``ast``, ``mutation:operator``, ….
    """

    id: int
    parent: int
    sub_question: str
    sql: str
    included: bool
    final: bool
    pruned_by: str | None
    reward: float
    coverage: float
    visits: int
    value: float
    source: str

    @property
    def step(self) -> Step:
        return Step(self.sub_question, self.sql)


@dataclass(frozen=True)
class TreeStats:
    """``depth`` is the number of steps of the shortest solved path or, unsolved, of the longest path tried.

    ``timed_out`` counts proposals that gold does not prove and that reached the time limit of an execution: whether
    they are mistakes is unknown, so they are no nodes. A question whose synthesis failed has no calls and no nodes.
    """

    solved: bool
    depth: int
    simulations: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cached_calls: int
    seconds: float
    timed_out: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchTree:
    version: int
    example_id: str
    db_id: str
    question: str
    evidence: str
    gold_sql: str
    nodes: tuple[Node, ...]
    stats: TreeStats


def children(tree: SearchTree, node_id: int = ROOT) -> list[Node]:
    """The proposed next steps after ``node_id``, pruned ones included, in the order they were proposed."""
    return [node for node in tree.nodes if node.parent == node_id]


def path_to(tree: SearchTree, node_id: int) -> list[Node]:
    """The steps from the first one to ``node_id``, both included; empty for the root."""
    by_id = {node.id: node for node in tree.nodes}
    path: list[Node] = []
    while node_id != ROOT:
        path.append(by_id[node_id])
        node_id = path[-1].parent
    return path[::-1]


def solved_paths(tree: SearchTree) -> list[list[Node]]:
    """Every verified decomposition: root-to-final paths of unpruned nodes that are all included, the last one final.

    Shortest first, then in the order they were found.
    """
    right = {node.id: node for node in tree.nodes if node.pruned_by is None and (node.included or node.final)}
    paths = []
    for last in right.values():
        if not last.final:
            continue
        path = [last]
        while path[-1].parent != ROOT and (parent := right.get(path[-1].parent)) and not parent.final:
            path.append(parent)
        if path[-1].parent == ROOT:
            paths.append(path[::-1])
    return sorted(paths, key=len)


def tree_to_json(tree: SearchTree) -> str:
    """One line without its newline. Floats keep six digits, so that equal runs write equal lines."""
    record = asdict(tree)
    for node in record["nodes"]:
        for name in ("reward", "coverage", "value"):
            node[name] = round(node[name], 6)
    record["stats"]["seconds"] = round(record["stats"]["seconds"], 4)
    return json.dumps(record, ensure_ascii=False)


def tree_from_json(line: str) -> SearchTree:
    """The tree of one line.

    Raises ``ValueError`` saying what is wrong with it: not JSON, another version, a missing or unknown field, a value
    of another type, a node that does not follow its parent.
    """
    try:
        record = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    if record.get("version") != TREE_VERSION:
        raise ValueError(f"version {record.get('version')!r}, but this learnat reads version {TREE_VERSION}")
    nodes = tuple(Node(**_checked(Node, node)) for node in record.get("nodes", ()))
    _check_order(nodes)
    stats = TreeStats(**_checked(TreeStats, record.get("stats")))
    return SearchTree(**{**_checked(SearchTree, record), "nodes": nodes, "stats": stats})


_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, type(None)),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "Mapping[str, int]": (dict,),
}
_FIELDS: dict[type, dict[str, tuple[type, ...] | None]] = {
    cls: {known.name: _TYPES.get(str(known.type)) for known in fields(cls)} for cls in (SearchTree, TreeStats, Node)
}
_NEEDED: dict[type, set[str]] = {
    cls: {known.name for known in fields(cls) if known.default is MISSING and known.default_factory is MISSING}
    for cls in _FIELDS
}


def _checked(cls: type, record: object) -> dict[str, Any]:
    """``record`` if it has the fields of ``cls``, each of its type."""
    types, needed = _FIELDS[cls], _NEEDED[cls]
    present = record.keys() if isinstance(record, dict) else set()
    if not isinstance(record, dict) or not needed <= present <= types.keys():
        missing, unknown = sorted(needed - present), sorted(present - types.keys())
        raise ValueError(f"{cls.__name__}: missing fields {missing}, unknown fields {unknown}")
    for name, value in record.items():
        allowed = types[name]
        if allowed is not None and not isinstance(value, allowed):
            raise ValueError(f"{cls.__name__}: {name} is {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{cls.__name__}: {name} is {value}")
    return dict(record)


def _check_order(nodes: Sequence[Node]) -> None:
    """Whoever walks from a node to its parent comes to the root."""
    known = {ROOT}
    for node in nodes:
        if node.parent not in known or node.id in known:
            raise ValueError(f"node {node.id} does not follow its parent {node.parent}, or is there twice")
        known.add(node.id)


def read_trees(path: Path) -> Iterator[SearchTree]:
    """The trees of a ``trees.jsonl``, in file order.

    A last line without its newline is what a killed run leaves behind, and is passed over.
    Raises ``LearnatError`` with file and line number for any other line that is not a tree, and for a file that is
    missing or no tree file.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise LearnatError(
            f"{path}: no tree file can be read there ({error.strerror}). synthesize.py writes one."
        ) from error
    with stream:
        for number, raw in enumerate(stream, start=1):
            if not raw.endswith(b"\n"):
                return
            try:
                yield tree_from_json(raw.decode("utf-8"))
            except ValueError as error:
                if number == 1 and not _has_version(raw):
                    raise LearnatError(
                        f"{path} is no tree file: its first line is no search tree. Give a trees.jsonl, as "
                        "synthesize.py writes it."
                    ) from error
                raise LearnatError(
                    f"{path}:{number}: not a search tree ({error}). "
                    "Delete the line and run synthesis again: what is missing is made anew."
                ) from error


def _has_version(line: bytes) -> bool:
    """Whether a line that is no tree was meant to be one."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and "version" in record
