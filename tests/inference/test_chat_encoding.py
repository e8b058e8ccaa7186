"""Prompts as token ids: those of training, however they are divided."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from learnat.benchmarks.types import Database, Example
from learnat.inference.engines.base import Message, Prompt
from learnat.inference.engines.chat_encoding import ChatEncoder
from learnat.inference.prompts import question_prompt
from learnat.sql.schema import Column, Schema, Table
from learnat.synthesis.tree import Step
from learnat.training.encoding import PromptEncoder
from learnat.training.prompts import PromptStyle, step_text
from learnat.training.tokenizer import train_tokenizer

STYLE = PromptStyle("compact", 0)
DATABASE = Database("music", None, Schema((Table("singer", (Column("name"), Column("age"))),)))
STEP = Step("How many?", "SELECT count(*) FROM singer")
TEMPLATES = {
    "scratch": None,
    "qwen": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "trims": "{% for m in messages %}[{{ m.role }}]\n\n{{ m.content | trim }}[end]{% endfor %}"
    "{% if add_generation_prompt %}[assistant]\n\n{% endif %}",
    "no system": "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "[{{ m.role }}] {{ m.content }}\n{% endfor %}",
}


def tokenizer_with(template: str) -> PreTrainedTokenizerBase:
    texts = [STYLE.database_text(DATABASE), "Question: How many singers are older than 20?", step_text(STEP)] * 4
    tokenizer = train_tokenizer(texts, 400)
    tokenizer.chat_template = TEMPLATES[template] or tokenizer.chat_template
    return tokenizer


def example(question: str, evidence: str = "") -> Example:
    return Example(0, "dev/0", "dev", "music", question, evidence, "SELECT 1")


@pytest.mark.parametrize("template", ["scratch", "qwen", "trims"])
def test_a_question_s_prompt_has_the_ids_of_training(template: str) -> None:
    tokenizer = tokenizer_with(template)
    trained, asked = PromptEncoder(tokenizer, STYLE), ChatEncoder(tokenizer)
    for question in (example("How many singers?"), example("Who is over 20?", "over means >")):
        prompt = question_prompt(STYLE, DATABASE, question)
        encoded = asked.encode(prompt)
        assert encoded.ids == trained.prompt(DATABASE, question)
        assert encoded.ids[: encoded.shared] == trained.database(DATABASE)
        begun = asked.encode(Prompt(prompt.messages, prompt.shared, step_text(STEP)))
        assert begun.ids == encoded.ids + trained.step(STEP, last=False)


def test_a_template_without_a_system_role_has_that_message_before_the_user_s() -> None:
    encoded = ChatEncoder(tokenizer := tokenizer_with("no system")).encode(
        Prompt((Message("system", "Be brief."), Message("user", "Hello.")), shared="Hel")
    )
    assert tokenizer.decode(encoded.ids) == "[user] Be brief.\n\nHello.\n"
    assert 0 < encoded.shared < len(encoded.ids)


TOKENIZER = tokenizer_with("qwen")


@given(shared=st.text(), rest=st.text(min_size=1), more=st.text())
@settings(max_examples=200, deadline=None)
def test_ids_are_those_of_the_whole_text_wherever_its_shared_part_ends(shared: str, rest: str, more: str) -> None:
    encoder = ChatEncoder(TOKENIZER)
    messages = (Message("user", shared + rest), Message("assistant", more), Message("user", rest))
    encoded, whole = encoder.encode(Prompt(messages, shared)), encoder.encode(Prompt(messages))
    assert encoded.ids == whole.ids and whole.shared == 0
    assert 0 <= encoded.shared < len(encoded.ids)
    other = encoder.encode(Prompt((Message("user", shared + "other"), *messages[1:]), shared))
    both = min(encoded.shared, other.shared)
    assert encoded.ids[:both] == other.ids[:both]
