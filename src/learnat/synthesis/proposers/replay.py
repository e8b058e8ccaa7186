"""Proposals read from a file: other pruning, search or reward settings are tried on them without a language model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from learnat.benchmarks.types import Benchmark, Example
from learnat.errors import LearnatError, nearest
from learnat.sql import SqlParseError, canonicalize
from learnat.sql.finality import FINALITIES
from learnat.sql.schema import Schema
from learnat.synthesis.decompositions import Decomposition, content_digest, parse_record, read_records
from learnat.synthesis.proposers.base import Proposal, Proposals, Proposer, Request
from learnat.synthesis.tree import ROOT, SearchTree

NOTHING_KNOWN = "the replayed file has no proposals for the question"
"""The reason given once for each such question: its count in ``summary.json`` (``rejected``) is one of questions."""

_Path = tuple[str, ...]
_NextSteps = Mapping[_Path, tuple[Proposal, ...]]


class ReplayProposer(Proposer):
    """Proposes what a file says, in its order (design: proposer ``replay``).

    Of a search tree, the proposals for a path are the nodes behind it, pruned ones included, under their sources; of a
    decomposition they are the next step of each that agrees with the path. Several lines may be about one question.
    Paths are compared by canonical SQL, and steps of equal canonical SQL are one proposal. Each call answers with the
    next ``k``, and with none when all were given. Independent samples (``search=best_of_n``) therefore never repeat a
    step, though those of the run that made the file may have.

    Args:
        file: a ``trees.jsonl`` or decompositions, see ``learnat.synthesis.decompositions``.
        final: how finality is decided, ``canonical`` or ``execution``; for mutations it is always ``canonical``.

    Raises:
        LearnatError: the file is missing, a line of it is wrong or does not say which question it is about, ``final``
            is unknown, or (by ``check``) no line is about a question of the split, or (by ``propose``) the file is
            another benchmark's or has changed since it was opened.
    """

    def __init__(self, file: str | Path, final: str = "execution") -> None:
        if final not in FINALITIES:
            raise LearnatError(f"proposer.final={final!r} is unknown. {nearest(str(final), FINALITIES)}")
        # Absolute, since a worker process may run elsewhere; private, since trees depend on the content alone.
        self._file = Path(file).absolute()
        self._places: dict[str | int, list[int]] = {}
        for record in read_records(self._file):
            content = record.content
            key = (
                content.index
                if isinstance(content, Decomposition) and content.index is not None
                else content.example_id
            )
            if key is None:
                raise LearnatError(
                    f"{file}:{record.number}: it is not said which question of the benchmark this is. "
                    "Add its example_id or index."
                )
            self._places.setdefault(key, []).append(record.offset)
        self._stamp = _stamp(self._file)
        self.final = final
        self.content = content_digest(self._file)
        self._last: tuple[Example, Schema, _NextSteps] | None = None

    def check(self, benchmark: Benchmark, split: str) -> None:
        examples = benchmark.examples(split)
        if examples and not any(self._offsets(example) for example in examples):
            raise LearnatError(
                f"{self._file} has no proposals for any question of split {split} of {benchmark.name} "
                f"({examples[0].example_id}, for one). Give a file about that split, or the file's data and data.split."
            )

    def propose(self, request: Request) -> Proposals:
        next_steps = self._next_steps(request.example, request.schema)
        if not next_steps and not request.path and request.sample == 0:
            return Proposals((), rejected=(NOTHING_KNOWN,))
        path = tuple(_canonical(step.sql, request.schema) for step in request.path)
        start = request.sample * request.k
        return Proposals(next_steps.get(path, ())[start : start + request.k])

    def _next_steps(self, example: Example, schema: Schema) -> _NextSteps:
        """The proposals for each path; those of the last question asked for are remembered."""
        last = self._last
        if last is None or last[0] != example or last[1] is not schema:
            found: dict[_Path, dict[str, Proposal]] = {}
            for content in self._read(example):
                if isinstance(content, SearchTree):
                    self._add_tree(content, schema, found)
                else:
                    self._add_decomposition(content, schema, found)
            last = example, schema, {path: tuple(steps.values()) for path, steps in found.items()}
            self._last = last
        return last[2]

    def _offsets(self, example: Example) -> list[int]:
        return sorted(self._places.get(example.example_id, []) + self._places.get(example.index, []))

    def _read(self, example: Example) -> list[SearchTree | Decomposition]:
        """The lines about ``example``, read when they are asked for: a worker process is sent their places only."""
        offsets = self._offsets(example)
        if not offsets:
            return []
        if _stamp(self._file) != self._stamp:
            raise LearnatError(f"{self._file} has changed since this run opened it. Start again.")
        with self._file.open("rb") as stream:
            contents = []
            for offset in offsets:
                stream.seek(offset)
                contents.append(parse_record(stream.readline()))
        for content in contents:
            self._check_question(content, example)
        return contents

    def _check_question(self, content: SearchTree | Decomposition, example: Example) -> None:
        for name in ("db_id", "question"):
            written, asked = getattr(content, name), getattr(example, name)
            if written and written != asked:
                raise LearnatError(
                    f"{self._file}: what it says of {example.example_id} has {name} {written!r}, "
                    f"but the benchmark has {asked!r}. It was made for other questions."
                )

    def _add_tree(self, tree: SearchTree, schema: Schema, found: dict[_Path, dict[str, Proposal]]) -> None:
        paths: dict[int, _Path] = {ROOT: ()}
        for node in tree.nodes:
            canonical = _canonical(node.sql, schema)
            before = paths[node.parent]
            paths[node.id] = (*before, canonical)
            proposal = Proposal(node.sub_question, node.sql, node.source, self._final_of(node.source))
            found.setdefault(before, {}).setdefault(canonical, proposal)

    def _add_decomposition(
        self, decomposition: Decomposition, schema: Schema, found: dict[_Path, dict[str, Proposal]]
    ) -> None:
        source = decomposition.source or "replay"
        path: _Path = ()
        for step in decomposition.steps:
            canonical = _canonical(step.sql, schema)
            proposal = Proposal(step.sub_question, step.sql, source, self._final_of(source))
            found.setdefault(path, {}).setdefault(canonical, proposal)
            path = (*path, canonical)

    def _final_of(self, source: str) -> str:
        # A mutant may well return gold's result on the data at hand; that does not make it right.
        return "canonical" if source.startswith("mutation:") else self.final


def _canonical(sql: str, schema: Schema) -> str:
    try:
        return canonicalize(sql, schema)
    except SqlParseError:
        return sql


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns
