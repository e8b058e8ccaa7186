"""The trained format comes back exactly; every departure from it is read as well as can be, and recorded."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learnat.inference import parse
from learnat.inference.parse import parse_answer
from learnat.synthesis.tree import Step


def test_the_trained_format() -> None:
    answer = parse_answer("-- Which? (a;b)\nSELECT id FROM t;\n-- Who's it?\nSELECT 'a;--b', \"c;\" FROM t;\n")
    assert answer.steps == (
        Step("Which? (a;b)", "SELECT id FROM t"),
        Step("Who's it?", "SELECT 'a;--b', \"c;\" FROM t"),
    )
    assert answer.sql == "SELECT 'a;--b', \"c;\" FROM t"
    assert answer.guesses == ()


words = st.text(st.characters(exclude_characters="\n\r<`~", exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=20)
literals = words.map(lambda text: "'" + text.replace("'", "''") + "'")
queries = st.one_of(
    literals.map(lambda literal: f"SELECT a FROM t WHERE b = {literal}"),
    literals.map(lambda literal: f"WITH c AS (SELECT {literal}) SELECT * FROM c UNION SELECT (1)"),
    literals.map(lambda literal: f"(SELECT 1) UNION SELECT {literal}"),
)
sub_questions = words.map(str.strip).filter(bool)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.builds(Step, sub_questions, queries), min_size=1, max_size=4))
def test_a_written_decomposition_is_read_back(steps: list[Step]) -> None:
    answer = parse_answer("".join(f"-- {step.sub_question}\n{step.sql};\n" for step in steps))
    assert answer.steps == tuple(steps)
    assert answer.sql == steps[-1].sql
    assert answer.guesses == ()


@settings(max_examples=300, deadline=None)
@given(
    st.text(alphabet=st.sampled_from("-;'\"`()\n \t/*,ab1:<>"), max_size=60),
    st.sampled_from(["", "SELECT 1 ", "-- q\nWITH a AS (SELECT 1"]),
)
def test_nothing_raises(noise: str, start: str) -> None:
    answer = parse_answer(start + noise)
    assert answer.sql == (answer.steps[-1].sql if answer.steps else "")


@pytest.mark.parametrize(
    ("text", "steps", "guesses"),
    [
        ("SELECT 1", [("", "SELECT 1")], {parse.NO_SEMICOLON, parse.NO_SUB_QUESTION}),
        ("SELECT 1;", [("", "SELECT 1")], {parse.NO_SUB_QUESTION}),
        ("-- q\nSELECT a\n  FROM t\n WHERE b;\n", [("q", "SELECT a\n  FROM t\n WHERE b")], set()),
        ("-- q\n-- more\nSELECT 1;", [("q more", "SELECT 1")], set()),
        ("/* q */ SELECT 1;", [("q", "SELECT 1")], set()),
        ("-- a\nSELECT 1\n-- b\nSELECT 2;", [("a", "SELECT 1"), ("b", "SELECT 2")], {parse.NO_SEMICOLON}),
        (
            "-- a\nSELECT 1\nSELECT 2;",
            [("a", "SELECT 1"), ("", "SELECT 2")],
            {parse.NO_SEMICOLON, parse.NO_SUB_QUESTION},
        ),
        ("-- a\nSELECT 1\nUNION\nSELECT 2;", [("a", "SELECT 1\nUNION\nSELECT 2")], set()),
        ("-- a\nWITH c AS (SELECT 1)\nSELECT * FROM c;", [("a", "WITH c AS (SELECT 1)\nSELECT * FROM c")], set()),
        ("-- a\nSELECT 1 -- one\nFROM t;", [("a", "SELECT 1  \nFROM t")], {parse.INNER_COMMENT}),
        ("-- a\nSELECT x\n\nFROM t;", [("a", "SELECT x\n\nFROM t")], set()),
        ("-- a\nSELECT x FROM t\n\nThis lists x.", [("a", "SELECT x FROM t")], {parse.NO_SEMICOLON, parse.PROSE}),
        ("-- a\nSELECT x; That is it.", [("a", "SELECT x")], {parse.PROSE}),
        ("-- a\nSELECT 1;\n-- b", [("a", "SELECT 1")], {parse.PROSE}),
        ("Sure! Here:\n```sql\n-- a\nSELECT 1;\n```\nDone; bye.", [("a", "SELECT 1")], {parse.CODE_FENCE}),
        (
            "```\n-- a\nSELECT 1;\n```\nand\n```\n-- b\nSELECT 2;\n```",
            [("a", "SELECT 1"), ("b", "SELECT 2")],
            {parse.CODE_FENCE},
        ),
        ("```sql\n-- a\nSELECT 1;", [("a", "SELECT 1")], {parse.CODE_FENCE}),
        ("<think>SELECT 0;\n</think>\n-- a\nSELECT 1;", [("a", "SELECT 1")], {parse.THOUGHTS}),
        ("<think>SELECT 0; and so on", [], {parse.THOUGHTS, parse.NO_SQL}),
        ("Step 1: look\nSELECT 1;", [("Step 1: look", "SELECT 1")], {parse.PROSE_AS_SUB_QUESTION}),
        ("With this in mind:\nSELECT 1;", [("With this in mind:", "SELECT 1")], {parse.PROSE_AS_SUB_QUESTION}),
        ("SQL: SELECT 1;", [("", "SELECT 1")], {parse.LEADING_LABEL, parse.NO_SUB_QUESTION}),
        (
            "1. SELECT 1;\n2. SELECT 2;",
            [("", "SELECT 1"), ("", "SELECT 2")],
            {parse.LEADING_LABEL, parse.NO_SUB_QUESTION},
        ),
        ("-- Select all\nSELECT 1;", [("Select all", "SELECT 1")], set()),
        (
            "-- a\nSELECT 'O'Brien';\n-- b\nSELECT 2;",
            [("a", "SELECT 'O'Brien'"), ("b", "SELECT 2")],
            {parse.OPEN_QUOTE},
        ),
        ("-- a\nSELECT 1;\n<|im_end|>\nSELECT 2;", [("a", "SELECT 1")], set()),
        ("-- a\r\nSELECT 1;\r\n", [("a", "SELECT 1")], set()),
        ("-- a\nSELECT (1\n;", [("a", "SELECT (1")], set()),
        ("I cannot answer that.", [], {parse.PROSE, parse.NO_SQL}),
        ("", [], {parse.NO_SQL}),
    ],
)
def test_departures(text: str, steps: list[tuple[str, str]], guesses: set[str]) -> None:
    answer = parse_answer(text)
    assert answer.steps == tuple(Step(*step) for step in steps)
    assert set(answer.guesses) == guesses
