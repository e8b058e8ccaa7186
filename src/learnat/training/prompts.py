"""The text a model reads and the text it answers with.

A prompt puts the *schema first*, then evidence and question, so that all questions of one database share a prefix:
in training one trie holds many of them, and a server's prefix cache profits the same way. An answer is a SQL script::

    -- How many heads of departments are older than 56?
    SELECT count(*) FROM head WHERE age > 56;

one comment and one statement a step, the last statement being the answer, followed by the tokenizer's end-of-sequence
token. Every step ends in ``";\\n"``, which the pre-tokenizers of the supported families never merge with what follows,
so that steps tokenised alone and a whole answer tokenised at once give the same ids.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from learnat.benchmarks.schema_text import serialize
from learnat.benchmarks.types import Benchmark, Database, Example
from learnat.errors import LearnatError
from learnat.synthesis.tree import Step

INSTRUCTION = (
    "You answer questions about a SQLite database. Decompose the question into steps: for each step write the "
    "sub-question as a SQL comment (-- ...) and below it one SQLite statement that answers it, ended by a semicolon. "
    "The last statement answers the whole question. Write nothing else."
)

STEP_END = ";\n"


@dataclass(frozen=True)
class PromptStyle:
    """How a prompt shows the database: ``schema_style`` is ``ddl``, ``m_schema`` or ``compact``.

    ``samples`` is the number of sample values shown for each column.
    """

    schema_style: str = "compact"
    samples: int = 0

    def database_text(self, database: Database) -> str:
        """The part of the prompt that all questions of ``database`` share."""
        return serialize(database.schema, self.schema_style, self.samples) + "\n\n"

    def check_samples(self, benchmark: Benchmark) -> None:
        """Raise ``LearnatError`` where ``benchmark`` reads fewer sample values than prompts of this style show."""
        if self.samples > benchmark.samples:
            raise LearnatError(
                f"The checkpoint was trained on prompts with {self.samples} sample values for each column, but "
                f"data.samples={benchmark.samples} reads fewer: give data.samples={self.samples}."
            )

    @property
    def hash(self) -> str:
        """Identifies the form of prompts: instruction, schema style, and how question, evidence and steps are written.

        Scores are comparable only within one. What a strategy adds (demonstrations, a part of the schema, repair) is no
        part of it: scores' provenance says which of the first two were shown, the config the rest.
        """
        text = "\0".join([INSTRUCTION, question_text("Q", "E"), step_text(Step("S", "SELECT 1"))])
        return hashlib.sha256(f"{text}\0{self.schema_style}\0{self.samples}".encode()).hexdigest()[:12]


def question_text(question: str, evidence: str = "") -> str:
    """The part of the prompt that belongs to one question."""
    hint = f"Evidence: {evidence.strip()}\n" if evidence.strip() else ""
    return f"{hint}Question: {question.strip()}"


def example_text(example: Example) -> str:
    """The question part of ``example``'s prompt."""
    return question_text(example.question, example.evidence)


def step_text(step: Step) -> str:
    """One step of an answer. Line breaks inside the sub-question or the SQL become spaces."""
    sub_question = " ".join(step.sub_question.split())
    sql = " ".join(step.sql.split()).rstrip("; ")
    return f"-- {sub_question}\n{sql}{STEP_END}"
