"""Masking keeps the shape of a question or query and nothing of its database."""

from __future__ import annotations

import pytest

from learnat.synthesis.masking import mask_query, mask_question, vocabulary_of_schema, vocabulary_of_sql
from tests.synthesis.conftest import QUESTIONS, SCHEMA


@pytest.mark.parametrize(
    ("question", "masked"),
    [
        ("How many singers are there?", "how many <name> are there"),
        ("How many Singers are there from France?", "how many <name> are there from <value>"),
        ("Which venues had concerts in 2014 or 1,900.5?", "which <name> had <name> in <value> or <value>"),
        ("Who sang at the 'Royal Albert Hall'?", "who sang at the <value>"),
        ("Is Ada's age above that of “Bo the Great”?", "is <value> <name> above that of <value>"),
        ("What is the singer's name?", "what is the <name>"),
        ("Singers who live in New York?", "<name> who live in <value>"),
        ("Show it. Nobody else sang.", "show it nobody else sang"),
        ("¿?", "<value>"),
    ],
)
def test_questions_by_the_schema(question: str, masked: str) -> None:
    assert mask_question(question, vocabulary_of_schema(SCHEMA)) == masked


def test_questions_by_their_sql() -> None:
    vocabulary = vocabulary_of_sql(['SELECT T1.homeTowns FROM star_players AS T1 WHERE T1.date = "old records"'])
    question = "What are the home towns of star players of the date of old junk?"
    assert mask_question(question, vocabulary) == "what are the <name> of <name> of the <name> of <value> junk"
    assert vocabulary_of_sql(["'no end", ""]) == vocabulary_of_sql([])


def test_the_schema_and_the_sql_mostly_agree() -> None:
    by_schema = [mask_question(question, vocabulary_of_schema(SCHEMA)) for question, _ in QUESTIONS]
    by_sql = [mask_question(question, vocabulary_of_sql([sql])) for question, sql in QUESTIONS]
    assert sum(a == b for a, b in zip(by_schema, by_sql, strict=True)) >= len(QUESTIONS) - 3


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("SELECT name FROM singer WHERE age > 3", "select s.venue FROM concert as s where s.year > 'x y';"),
        ("SELECT date FROM a JOIN b ON a.x = b.y", 'SELECT T1.`my name` FROM long AS T1 JOIN "b" T2 ON T1.x = T2.text'),
        ("SELECT count(*) FROM a GROUP BY a.b", "SELECT COUNT(*) FROM c GROUP BY d"),
    ],
)
def test_queries_of_one_skeleton(a: str, b: str) -> None:
    assert mask_query(a) == mask_query(b)


def test_skeletons_keep_what_a_query_does() -> None:
    query = "SELECT max(T1.a), b FROM t AS T1 WHERE a IN (SELECT x FROM u) AND b IS NOT NULL ORDER BY a DESC LIMIT 1"
    skeleton = "SELECT MAX ( _ ) , _ FROM _ WHERE _ IN ( SELECT _ FROM _ ) AND _ IS NOT NULL ORDER BY _ DESC LIMIT _"
    assert mask_query(query) == skeleton
    assert mask_query("'no end") == "'no end"
