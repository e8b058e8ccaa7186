"""From prompts and steps to token ids, for any tokenizer with a chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from learnat.benchmarks.types import Database, Example
from learnat.errors import LearnatError
from learnat.synthesis.tree import Step
from learnat.training.prompts import INSTRUCTION, PromptStyle, example_text, step_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Stands for the user's text while the chat template is rendered; no template trims or changes it.
_CONTENT = "LEARNAT_CONTENT"


class PromptEncoder:
    """Token ids of a prompt's database part, question part and steps; concatenated they are what inference sees.

    Raises ``LearnatError`` when the tokenizer has no chat template or no end-of-sequence token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, style: PromptStyle) -> None:
        if tokenizer.chat_template is None:
            raise LearnatError(
                f"The tokenizer of {tokenizer.name_or_path!r} has no chat template. Use an instruction-tuned model, "
                "or add a chat_template to its tokenizer_config.json."
            )
        if tokenizer.eos_token_id is None:
            raise LearnatError(f"The tokenizer of {tokenizer.name_or_path!r} has no eos_token: set one and try again.")
        self.tokenizer = tokenizer
        self.style = style
        self.eos_token_id: int = tokenizer.eos_token_id
        messages = [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": _CONTENT}]
        rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        self._head, self._tail = rendered.split(_CONTENT)
        self._database_ids: dict[str, tuple[int, ...]] = {}

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def database(self, database: Database) -> tuple[int, ...]:
        """The prefix that all questions of ``database`` share: chat header and schema."""
        if database.db_id not in self._database_ids:
            self._database_ids[database.db_id] = self._ids(self._head + self.style.database_text(database))
        return self._database_ids[database.db_id]

    def question(self, example: Example) -> tuple[int, ...]:
        """Evidence, question and the chat template's turn to the answer."""
        return self._ids(example_text(example) + self._tail)

    def prompt(self, database: Database, example: Example) -> tuple[int, ...]:
        return self.database(database) + self.question(example)

    def step(self, step: Step, last: bool) -> tuple[int, ...]:
        """One step; the ``last`` one carries the end-of-sequence token."""
        ids = self._ids(step_text(step))
        return (*ids, self.eos_token_id) if last else ids

    def check(self, database: Database, example: Example, steps: Sequence[Step]) -> None:
        """Raise ``LearnatError`` unless parts tokenised alone give the ids of the whole text tokenised at once."""
        alone = self.prompt(database, example)
        for step in steps:
            alone += self.step(step, last=False)
        text = self._head + self.style.database_text(database) + example_text(example) + self._tail
        whole = self._ids(text + "".join(step_text(step) for step in steps))
        if alone != whole:
            raise LearnatError(
                f"The tokenizer of {self.tokenizer.name_or_path!r} merges a step's end with what follows: training "
                "would see other token ids than inference. Use a tokenizer that splits after line breaks."
            )
