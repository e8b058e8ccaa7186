"""What a chat model is asked, and how leniently its replies are read."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnat.benchmarks.types import Example
from learnat.errors import LearnatError
from learnat.synthesis.demonstrations import Demonstration
from learnat.synthesis.proposers.base import Request
from learnat.synthesis.proposers.chat import ChatPrompt, read_reply
from learnat.synthesis.tree import Step
from tests.synthesis.conftest import SCHEMA

A = '{"sub_question": "Which singers?", "sql": "SELECT name FROM singer"}'
B = '{"sub_question": "How many?", "sql": "SELECT count(*) FROM singer"}'
WHICH = Step("Which singers?", "SELECT name FROM singer")
MANY = Step("How many?", "SELECT count(*) FROM singer")

# What came, the steps in it, and the reasons for what is none.
REPLIES: dict[str, tuple[str, list[Step], list[str]]] = {
    "as asked": (f'{{"steps": [{A}, {B}]}}', [WHICH, MANY], []),
    "in a fence": (f'```json\n{{"steps": [{A}]}}\n```', [WHICH], []),
    "with prose": (f'Sure, {{name}} first [1]:\n{{"steps": [{A}]}}\nThat [2] is it.', [WHICH], []),
    "after thoughts": (f'<think>Perhaps {{"steps": [{B}]}}?</think>\n{{"steps": [{A}]}}', [WHICH], []),
    "thoughts without an end": (f'<think>Perhaps {{"steps": [{A}]}}', [], ["empty reply"]),
    "a list": (f"[{A}, {B}]", [WHICH, MANY], []),
    "one step": (A, [WHICH], []),
    "one step under steps": (f'{{"steps": {A}}}', [WHICH], []),
    "numbered": (f'{{"1": {A}, "2": {B}}}', [WHICH, MANY], []),
    "one a line": (f"{A}\n{B}", [WHICH, MANY], []),
    "another name for the list": (f'{{"next_steps": [{A}]}}', [WHICH], []),
    "nested": (f'{{"result": {{"alternatives": [{{"step": {A}}}]}}}}', [WHICH], []),
    "other keys": ('[{"Sub-Question": "How many?", "SQL": "SELECT count(*) FROM singer;"}]', [MANY], []),
    "question and query": ('{"question": "How many?", "query": "SELECT count(*) FROM singer"}', [MANY], []),
    "no sub-question": ('{"sql": "SELECT 1"}', [Step("", "SELECT 1")], []),
    "trailing commas": (f'{{"steps": [{A}, {B},],}}', [WHICH, MANY], []),
    "single quotes": (
        "{'steps': [{'sub_question': 'How many?', 'sql': 'SELECT count(*) FROM singer'}]}",
        [MANY],
        [],
    ),
    "quotes that are not escaped": (
        '{"steps": [{"sub_question": "Which?", "sql": "SELECT "name" FROM singer"}]}',
        [Step("Which?", 'SELECT "name" FROM singer')],
        [],
    ),
    "line breaks in a string": ('{"sql": "SELECT name\nFROM singer"}', [Step("", "SELECT name\nFROM singer")], []),
    "a bracket never closed": (f'{{"steps": [{A}, {B}', [WHICH, MANY], []),
    "SQL in a fence": ("First:\n```sql\nSELECT name FROM singer;\n```\n", [Step("", "SELECT name FROM singer")], []),
    "SQL in a fence in JSON": ('{"sql": "```sql\\nSELECT 1;\\n```"}', [Step("", "SELECT 1")], []),
    "too many": (f'{{"steps": [{A}, {B}, {A}, {A}]}}', [WHICH, MANY], ["more steps than asked for"] * 2),
    "half a surrogate pair, NUL": ('{"sql": "SELECT \'\\ud83d\\u0000\'"}', [Step("", "SELECT '?'")], []),
    "nothing": (" \n", [], ["empty reply"]),
    "prose": ("I cannot answer that.", [], ["not JSON"]),
    "no steps": ('{"steps": []}', [], ["no steps"]),
    "an empty object": ("{}", [], ["no steps"]),
    "something else": ('{"answer": 42}', [], ["no steps"]),
    "the form, not filled in": ('{"steps": [{"sub_question": "...", "sql": "..."}]}', [], ["step without SQL"]),
    "no SQL": (f'[{{"sub_question": "How many?"}}, {A}]', [WHICH], ["step without SQL"]),
    "empty SQL": ('{"steps": [{"sub_question": "How many?", "sql": " ;"}]}', [], ["step without SQL"]),
    "null SQL": ('{"steps": [{"sub_question": "How many?", "sql": null}]}', [], ["step without SQL"]),
    "words for steps": ('{"steps": ["find singers", "count them"]}', [], ["step without SQL"] * 2),
    "a number for SQL": (f'{{"steps": [{{"sql": 1}}, {A}]}}', [WHICH], ["SQL is no string"]),
    "a list for SQL": ('{"sql": ["SELECT 1"]}', [], ["SQL is no string"]),
    "cut off, but nobody said so": ('{"steps": [{"sub_question": "Which?", "sql": "SELECT na', [], ["truncated"]),
}


@pytest.mark.parametrize("name", REPLIES)
def test_reading(name: str) -> None:
    text, steps, reasons = REPLIES[name]
    reading = read_reply(text, 2)
    assert (list(reading.steps), list(reading.rejected)) == (steps, reasons)


@pytest.mark.parametrize(
    ("text", "steps", "reasons"),
    [
        (f'{{"steps": [{A}, {{"sub_question": "How many?", "sql": "SELECT co', [WHICH], ["truncated"]),
        (f'{{"steps": [{A}, {B}', [WHICH, MANY], ["truncated"]),
        ('{"steps": [{"sub_question": "How many?", "sql": "SELECT co', [], ["truncated"]),
        ("```sql\nSELECT name FROM sin", [], ["truncated"]),
        ("<think>Let me see", [], ["truncated"]),
        (f'{{"steps": [{A}]}}', [WHICH], []),
    ],
)
def test_half_a_step_of_a_cut_reply_is_none(text: str, steps: list[Step], reasons: list[str]) -> None:
    reading = read_reply(text, 2, finish_reason="length")
    assert (list(reading.steps), list(reading.rejected)) == (steps, reasons)


def test_a_filtered_reply_is_refused() -> None:
    assert read_reply("", 2, finish_reason="content_filter").rejected == ("refused",)


def _with_a_bite(steps: list[dict[str, str]], start: int, length: int) -> str:
    text = json.dumps({"steps": steps})
    return text[: start % len(text)] + text[start % len(text) + length :]


JSON_LIKE = st.text(st.sampled_from("{}[]\",:\\`\n sqlSELECT01-'")) | st.builds(
    _with_a_bite,
    st.lists(st.fixed_dictionaries({"sub_question": st.text(), "sql": st.text()}), max_size=3),
    st.integers(0, 200),
    st.integers(0, 8),
)


@given(st.text() | JSON_LIKE, st.integers(1, 4), st.sampled_from(["stop", "length", "content_filter"]))
def test_every_reply_has_steps_or_a_reason(text: str, k: int, finish_reason: str) -> None:
    reading = read_reply(text, k, finish_reason)
    assert len(reading.steps) <= k
    assert reading.steps or reading.rejected
    assert all(step.sql.strip() and (step.sql + step.sub_question).encode() for step in reading.steps)


@given(st.lists(st.tuples(st.text("ab \n'\"{}[]\\"), st.text("ab \n'\"{}[]\\")), min_size=1, max_size=4))
def test_what_is_well_formed_is_read_as_it_is(steps: list[tuple[str, str]]) -> None:
    text = json.dumps({"steps": [{"sub_question": question, "sql": f"SELECT {sql} AS c"} for question, sql in steps]})
    expected = tuple(Step(" ".join(question.split()), f"SELECT {sql} AS c") for question, sql in steps)
    assert read_reply(text, 4).steps == expected


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 20_000, "{" * 5_000])
def test_deep_nesting_is_no_step(text: str) -> None:
    assert read_reply(text, 2).rejected


# --- the prompt ------------------------------------------------------------------------------------------------------

EXAMPLE = Example(0, "train/0", "train", "music", "How many?", "All count.", "SELECT count(*) FROM singer;")
REQUEST = Request(EXAMPLE, SCHEMA, (WHICH,), 3, 0, random.Random(0))


def user_text(prompt: ChatPrompt, request: Request = REQUEST, *demonstrations: Demonstration) -> str:
    messages = prompt.messages(request, demonstrations)
    assert [message["role"] for message in messages] == ["system", "user"]
    return messages[1]["content"]


def test_the_prompt_says_what_is_known() -> None:
    demonstration = Demonstration("How many concerts?", "", (Step("Which concerts?", "SELECT * FROM concert"),))
    text = user_text(ChatPrompt(), REQUEST, demonstration)
    order = ("CREATE TABLE singer", "How many concerts?", "How many?", "All count.", "SELECT count(*)", WHICH.sql, "3")
    positions = [text.index(part) for part in order[:-1]]
    assert positions == sorted(positions) and "up to 3 different alternatives" in text
    assert "There are no steps so far." in user_text(ChatPrompt(), replace(REQUEST, path=()))


def test_calls_about_one_database_share_a_prefix() -> None:
    other = replace(REQUEST, example=replace(EXAMPLE, question="Which?", evidence=""), path=())
    texts = [user_text(ChatPrompt(), request) for request in (REQUEST, other)]
    shared = texts[0][: texts[0].index("Question:")]
    assert texts[1].startswith(shared) and "FOREIGN KEY" in shared


def test_gold_is_shown_only_if_wanted() -> None:
    assert "count(*)" in user_text(ChatPrompt())
    assert "count(*)" not in user_text(ChatPrompt(sees_gold=False))


def test_granularity_is_a_guide() -> None:
    assert user_text(ChatPrompt()) != user_text(ChatPrompt(granularity="block"))


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [("granularity", "clauses", "'clause'"), ("schema_style", "dll", "'ddl'"), ("samples", -1, "at least 0")],
)
def test_prompt_settings_are_checked(key: str, value: object, hint: str) -> None:
    with pytest.raises(LearnatError, match=f"proposer.{key}.*{hint}"):
        ChatPrompt(**{key: value})  # type: ignore[arg-type]
