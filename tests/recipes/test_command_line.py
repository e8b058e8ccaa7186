"""Flags, and texts with whatever may stand in a question."""

from __future__ import annotations

import re

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from learnat.errors import LearnatError
from learnat.recipes.command_line import check_secrets, hydra_arguments

PARSER = OverridesParser.create()


@given(st.text(st.sampled_from("ab ,;'\"\\$(){}[]=:?~#|+\n1.é")))
@example('Which of the singer\'s songs, by year, were "hits" (top 10)?')
@example("'tis and 'twas'")
@example("C:\\data\\")
@example("What is ${b}, or \\${c}?")
@example("a \\\\${b}\\")
def test_a_text_reaches_the_config_as_it_is(text: str) -> None:
    assume(not re.fullmatch(r"'.*'|\".*\"", text, re.DOTALL))
    [argument] = hydra_arguments([f"question={text}"], texts=["question"])
    override = PARSER.parse_override(argument)
    assert override.key_or_group == "question"
    assert text == "???" or OmegaConf.create({"question": override.value()}).question == text


def test_a_text_in_quotes_is_read_by_hydra() -> None:
    assert hydra_arguments(["question='a, b'"], texts=["question"]) == ["question='a, b'"]


def test_everything_else_stays_what_it_was() -> None:
    given = ["-m", "seed=1,2", "--cfg", "job", "--explain", "explain=false", "loss"]
    expected = ["-m", "seed=1,2", "--cfg", "job", "explain=true", "explain=false", "loss"]
    assert hydra_arguments(given, flags=["explain"], texts=["question"]) == expected


@pytest.mark.parametrize(
    "override",
    [
        "engine.base_url=http://me:hush@localhost:8000/v1",
        "execute_on=postgresql://reader:hush@localhost/bird",
        "engine.api_key_env=sk-hush-1",
        "proposer.api_key_env='sk-hush'",
        "engine.api_key_env=OPENAI_API_KEY,sk-hush",
        "engine.api_key_env =sk-hush",
        "proposer={api_key_env:sk-hush}",
        "proposer={model: m, 'api_key_env' : 'sk-hush'}",
        "on_policy={proposer:{api_key_env:sk-hush,model:m}}",
        "proposer={api_key_env:sk-hush 2",
        "proposer:{api_key_env:sk-hush}",
        "execute_on=postgresql://h/db?password=hush",
        "execute_on='postgresql://h/db?user=u&password=hush'",
        "execute_on=postgresql://u:ha/hush@h/db",
        "execute_on='host=h PASSWORD = hush'",
        "execute_on=host=h password=hush",
        "execute_on:postgresql://u:hush@h/db",
        "database='postgresql://h/db?password=hush'",
        "+database=postgresql://u:hush@h/db",
    ],
)
def test_a_secret_is_refused_without_being_told(override: str) -> None:
    with pytest.raises(LearnatError, match=re.escape(re.split("[ =:]", override)[0])) as refused:
        check_secrets(["seed=1", override], texts=["database"])
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "override",
    [
        "engine.base_url=http://localhost:8000/v1",
        "execute_on=postgresql://reader@localhost/bird",
        "engine.api_key_env=OPENAI_API_KEY",
        "engine.api_key_env=null",
        "question='Who is at http://a.b:1/c, or me@here?'",
        "question='Who has password=1, or password: 2, and api_key_env=sk-1?'",
        "proposer={api_key_env:OPENAI_API_KEY,model:m}",
        "proposer={api_key_env: null}",
        "proposer={model:password}",
        "execute_on='host=h user=u'",
        "~logger",
    ],
)
def test_what_holds_no_secret_is_taken(override: str) -> None:
    check_secrets([override], texts=["question"])
