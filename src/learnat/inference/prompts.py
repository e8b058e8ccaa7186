"""The prompts of inference."""

from __future__ import annotations

from dataclasses import replace

from learnat.benchmarks.types import Database, Example
from learnat.inference.engines.base import Message, Prompt
from learnat.sql.schema import Schema
from learnat.training.prompts import INSTRUCTION, PromptStyle, example_text


def question_prompt(
    style: PromptStyle, database: Database, example: Example, schema: Schema | None = None, demonstrations: str = ""
) -> Prompt:
    """The prompt that policies are trained on; its schema is shared by all questions of ``database``.

    Args:
        schema: what is shown of the database, if not all.
        demonstrations: text between the schema and the question.
    """
    shown = style.database_text(database if schema is None else replace(database, schema=schema))
    text = shown + demonstrations + example_text(example)
    return Prompt((Message("system", INSTRUCTION), Message("user", text)), shared=shown)
