"""The prompts of inference."""

from __future__ import annotations

from learnat.benchmarks.types import Database, Example
from learnat.inference.engines.base import Message, Prompt
from learnat.training.prompts import INSTRUCTION, PromptStyle, example_text


def question_prompt(style: PromptStyle, database: Database, example: Example) -> Prompt:
    """The prompt that policies are trained on; its schema is shared by all questions of ``database``."""
    schema = style.database_text(database)
    messages = (Message("system", INSTRUCTION), Message("user", schema + example_text(example)))
    return Prompt(messages, shared=schema)
