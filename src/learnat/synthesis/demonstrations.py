"""Solved questions that a prompt shows as examples, and how those that help with another question are found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from learnat.benchmarks.types import Example
from learnat.errors import LearnatError
from learnat.sql import SqlParseError, canonicalize
from learnat.sql.schema import Schema
from learnat.synthesis.checks import check_count
from learnat.synthesis.decompositions import Decomposition, content_digest, read_records
from learnat.synthesis.masking import mask_query, mask_question, vocabulary_of_schema, vocabulary_of_sql
from learnat.synthesis.tree import SearchTree, Step, solved_paths

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer


@dataclass(frozen=True)
class Demonstration:
    """A question and a verified decomposition of it; the last step answers the question."""

    question: str
    evidence: str
    steps: tuple[Step, ...]


class DemonstrationPool(Protocol):
    """Solved questions, and which of them help with another one.

    ``round_size`` is the number of questions after which the pool is told their trees, see ``Proposer.round_size``.
    Between two calls of ``add`` it may be asked from several threads.
    """

    round_size: int | None

    def add(self, trees: Sequence[SearchTree]) -> None:
        """Take in the solved ones of ``trees``."""
        ...

    def similar(self, example: Example, schema: Schema) -> Sequence[Demonstration]:
        """The demonstrations for ``example``, in the order in which a prompt shows them; none if there are none."""
        ...


class MaskedQuestionPool:
    """Shows the solved questions of the most similar shape: cosine of TF-IDF over words and pairs of masked questions.

    A solved tree joins with the shortest of its verified paths. What a question is about is masked, by the schema for
    the one asked and by its queries for those of the pool (see ``masking``), so that questions of other databases are
    as near as those of its own. Of one SQL skeleton only the nearest is shown. The nearest of all stands last, next to
    the question; of equally near ones that which joined first counts as nearer.

    What is shown teaches how to decompose, so the asked question's own answer is kept out: never shown are the question
    itself (its id, or its text), a question whose gold SQL has the same text (up to case, blanks and a closing
    semicolon) and one of the same, or an unnamed, database whose SQL has the same canonical form. A question that
    differs in its values or names only may be shown. Gold decides nothing else: retrieval looks at the question alone.

    Args:
        size: demonstrations shown at most.
        round_size: questions between two times that the pool grows.
        same_database: whether questions about the asked question's database may be shown.
        max_size: once the pool has so many, nothing joins any more; None: no limit.
        initial: a file of what the pool begins with, see ``learnat.synthesis.decompositions``: trees, of which the
            solved ones join, and decompositions, which need a ``question`` and are believed.

    Raises ``LearnatError`` for a number out of bounds, a file that cannot be read or used, and ``same_database=False``
    with a file that does not say of all its questions which database they are about.
    """

    def __init__(
        self,
        size: int = 3,
        round_size: int = 200,
        same_database: bool = True,
        max_size: int | None = None,
        initial: str | Path | None = None,
    ) -> None:
        check_count("proposer.demonstrations.size", size)
        check_count("proposer.demonstrations.round_size", round_size)
        check_count("proposer.demonstrations.max_size", max_size, optional=True)
        self.size = size
        self.round_size: int | None = round_size
        self.same_database = same_database
        self.max_size = max_size
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._index: _Index | None = None
        # Every call about a question shows the same until the pool grows.
        self._shown: dict[Example, list[Demonstration]] = {}
        self.initial: str | None = None
        if initial is not None:
            entries = _initial_entries(Path(initial))
            if not same_database:
                _check_databases(entries, initial)
            self._join(entries)
            # Prompts depend on what the file holds, not on where it lies.
            self.initial = content_digest(Path(initial))

    def __len__(self) -> int:
        return len(self._entries)

    def count_among(self, examples: Sequence[Example]) -> int:
        """How many questions of the pool are among ``examples``: of the same text, up to case and blanks, and about the
        same database, or one that is not named. Ids tell nothing: splits share questions, and benchmarks share ids."""
        databases: dict[str, set[str]] = defaultdict(set)
        for example in examples:
            databases[_folded(example.question)].update(("", example.db_id))
        return sum(
            entry.db_id in databases.get(_folded(entry.demonstration.question), ()) for entry in self._entries.values()
        )

    def add(self, trees: Sequence[SearchTree]) -> None:
        """Take in the solved ones of ``trees``, in their order; a question that is there stays as it is."""
        self._join([entry for tree in trees if (entry := _entry_of_tree(tree))])

    def similar(self, example: Example, schema: Schema) -> Sequence[Demonstration]:
        """The demonstrations for ``example``, the nearest last."""
        if example not in self._shown:
            self._shown[example] = self._nearest(example, schema)
        return self._shown[example]

    def _nearest(self, example: Example, schema: Schema) -> list[Demonstration]:
        shown: dict[str, Demonstration] = {}
        if self._index is not None:
            for entry in self._index.nearest(mask_question(example.question, vocabulary_of_schema(schema))):
                if len(shown) == self.size:
                    break
                if entry.skeleton not in shown and self._may_show(entry, example, schema):
                    shown[entry.skeleton] = entry.demonstration
        return list(shown.values())[::-1]

    def _may_show(self, entry: _Entry, example: Example, schema: Schema) -> bool:
        if not self.same_database and entry.db_id == example.db_id:
            return False
        question, gold = entry.demonstration.question, example.gold_sql
        if _folded(question) == _folded(example.question) or _folded(gold) in entry.gold:
            return False
        if entry.db_id not in ("", example.db_id):
            return True
        answer = entry.demonstration.steps[-1].sql
        return entry.example_id != example.example_id and _canonical(answer, schema) != _canonical(gold, schema)

    def _join(self, entries: Sequence[_Entry]) -> None:
        before = len(self._entries)
        for entry in entries:
            if self.max_size is not None and len(self._entries) == self.max_size:
                break
            self._entries.setdefault((entry.db_id, entry.example_id), entry)
        if len(self._entries) > before:
            self._index = _Index(list(self._entries.values()))
            self._shown = {}


@dataclass(frozen=True)
class _Entry:
    """A demonstration and what it is found by. ``gold`` has the texts of its gold SQL and last step, folded."""

    demonstration: Demonstration
    db_id: str
    example_id: str
    masked: str
    skeleton: str
    gold: frozenset[str]


class _Index:
    """The entries as TF-IDF vectors of length 1. Never changed, so that threads may share it."""

    def __init__(self, entries: Sequence[_Entry]) -> None:
        # Imported here, since it takes a second that runs without demonstrations need not wait.
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._entries = entries
        self._vectorizer: TfidfVectorizer = TfidfVectorizer(token_pattern=r"\S+", ngram_range=(1, 2), sublinear_tf=True)
        self._vectors: Any = self._vectorizer.fit_transform(entry.masked for entry in entries)

    def nearest(self, masked: str) -> Iterator[_Entry]:
        """All entries, the most similar to ``masked`` first, then by their order."""
        similarity = (self._vectors @ self._vectorizer.transform([masked]).T).toarray()[:, 0]
        # Rounded: the last digits depend on the order of summation, and prompts must not.
        for place in (-similarity.round(9)).argsort(kind="stable"):
            yield self._entries[place]


def _entry_of_tree(tree: SearchTree) -> _Entry | None:
    paths = solved_paths(tree)
    if not paths:
        return None
    steps = tuple(node.step for node in paths[0])
    return _entry(Demonstration(tree.question, tree.evidence, steps), tree.db_id, tree.example_id, tree.gold_sql)


def _entry(demonstration: Demonstration, db_id: str, example_id: str, gold_sql: str = "") -> _Entry:
    answer = demonstration.steps[-1].sql
    queries = {answer, gold_sql} - {""}
    masked = mask_question(demonstration.question, vocabulary_of_sql(queries))
    gold = frozenset(_folded(sql) for sql in queries)
    return _Entry(demonstration, db_id, example_id, masked, mask_query(answer), gold)


def _initial_entries(path: Path) -> list[_Entry]:
    entries = []
    for record in read_records(path):
        content = record.content
        if isinstance(content, Decomposition):
            if not content.question:
                raise LearnatError(f"{path}:{record.number}: a demonstration needs a question, and this line has none.")
            demonstration = Demonstration(content.question, content.evidence, content.steps)
            entries.append(_entry(demonstration, content.db_id, content.example_id or f"{path}:{record.number}"))
        elif entry := _entry_of_tree(content):
            entries.append(entry)
    if not entries:
        raise LearnatError(f"{path}: none of its trees is solved and it has no decompositions: nothing to demonstrate.")
    return entries


def _check_databases(entries: Sequence[_Entry], path: str | Path) -> None:
    unnamed = sum(not entry.db_id for entry in entries)
    if unnamed:
        raise LearnatError(
            f"{path}: {unnamed} of its {len(entries)} solved questions have no db_id, so that nothing tells which of "
            "them same_database=false keeps out: give every line its db_id, or leave same_database=true."
        )


def _folded(text: str) -> str:
    return " ".join(text.casefold().rstrip("; \n\t").split())


def _canonical(sql: str, schema: Schema) -> str:
    try:
        return canonicalize(sql, schema)
    except SqlParseError:
        return _folded(sql)
