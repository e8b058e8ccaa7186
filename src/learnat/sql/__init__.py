"""What is true about SQL: schema, canonical form, inclusion, similarity, execution. Knows nothing of models."""

from learnat.sql.canonical import canonicalize
from learnat.sql.execution import Executor, Result
from learnat.sql.finality import is_final
from learnat.sql.inclusion import Inclusion, includes
from learnat.sql.parse import SqlParseError
from learnat.sql.schema import Column, ForeignKey, Schema, Table

__all__ = [
    "Column",
    "Executor",
    "ForeignKey",
    "Inclusion",
    "Result",
    "Schema",
    "SqlParseError",
    "Table",
    "canonicalize",
    "includes",
    "is_final",
]
