"""Which part of its database's schema a question's prompt shows (schema linking)."""

from __future__ import annotations

import functools
import logging
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from learnat.benchmarks.schema_part import schema_part
from learnat.benchmarks.types import Example
from learnat.sql.mentions import mentioned_columns
from learnat.sql.parse import SqlParseError
from learnat.sql.schema import Column, Schema, Table
from learnat.synthesis.checks import check_count

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

log = logging.getLogger(__name__)


class SchemaFilter(Protocol):
    """A member of the config group ``inference/schema``. ``name`` stands beside every score as ``schema_given``."""

    name: str

    def part(self, example: Example, schema: Schema) -> Schema:
        """What of ``schema`` the prompt about ``example`` shows."""
        ...


class FullSchema:
    """All of it, so that all questions of a database share their prompts' beginning."""

    name = "full"

    def part(self, example: Example, schema: Schema) -> Schema:
        return schema


class GoldSchema:
    """What the gold query reads, and the keys between.

    This gives a part of the answer away: its scores are of another, easier task, and bound what schema linking could
    bring. A gold query that cannot be parsed leaves the schema whole.
    """

    name = "gold"

    def part(self, example: Example, schema: Schema) -> Schema:
        try:
            return schema_part(schema, mentioned_columns(example.gold_sql, schema))
        except SqlParseError as error:
            log.warning("%s gets the full schema: its gold query is not understood (%s).", example.example_id, error)
            return schema


class RetrievedSchema:
    """The columns most similar to question and evidence, their tables, and the keys and tables that join them.

    A column is described by the names of its table and itself, its description and its sample values (as many as
    ``data.samples`` reads). Similarity is the cosine of TF-IDF vectors over 3 to 5 characters inside words, so that
    another form of a word still meets a name. What that finds of gold's columns: experiments/calls.

    Args:
        columns: how many are retrieved; what joins them comes on top.
    """

    name = "retrieved"

    def __init__(self, columns: int = 20) -> None:
        check_count("inference.schema.columns", columns)
        self.columns = columns

    def part(self, example: Example, schema: Schema) -> Schema:
        similarity = _index(schema).similarity(f"{example.question} {example.evidence}")
        # Rounded: the last digits depend on the order of summation, and prompts must not.
        nearest = (-similarity.round(9)).argsort(kind="stable")[: self.columns]
        places = [(table, column) for table in schema.tables for column in table.columns]
        chosen: dict[str, set[str]] = defaultdict(set)
        for place in nearest:
            table, column = places[place]
            chosen[table.name].add(column.name)
        return schema_part(schema, chosen)


class _Index:
    """A schema's columns as TF-IDF vectors of length 1."""

    def __init__(self, schema: Schema) -> None:
        # Imported here, since it takes a second that runs without retrieval need not wait.
        from sklearn.feature_extraction.text import TfidfVectorizer

        texts = [_text(table, column) for table in schema.tables for column in table.columns]
        self._vectorizer: TfidfVectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
        # Where no name has a letter or digit, nothing is like any question, and there is nothing to fit.
        self._vectors: Any = self._vectorizer.fit_transform(texts) if any(texts) else None
        self._columns = len(texts)

    def similarity(self, text: str) -> Any:
        """A numpy array [columns], in the schema's order."""
        if self._vectors is None:
            return np.zeros(self._columns)
        return (self._vectors @ self._vectorizer.transform([_words(text)]).T).toarray()[:, 0]


@functools.lru_cache(maxsize=256)
def _index(schema: Schema) -> _Index:
    return _Index(schema)


def _text(table: Table, column: Column) -> str:
    # Its own name counts twice: all columns of a table share the table's.
    names = [table.name, table.description, column.name, column.name]
    return _words(" ".join([*names, column.description, *column.samples]))


def _words(text: str) -> str:
    """``text`` with snake_case and camelCase taken apart."""
    return " ".join(re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)))
