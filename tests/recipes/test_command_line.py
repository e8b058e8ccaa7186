"""Flags, and texts with whatever may stand in a question."""

from __future__ import annotations

import re

from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, example, given
from hypothesis import strategies as st

from learnat.recipes.command_line import hydra_arguments

PARSER = OverridesParser.create()


@given(st.text(st.sampled_from("ab ,;'\"\\$(){}[]=:?~#|+\n1.é")))
@example('Which of the singer\'s songs, by year, were "hits" (top 10)?')
@example("'tis and 'twas'")
@example("C:\\data\\")
def test_a_text_reaches_the_config_as_it_is(text: str) -> None:
    assume(not re.fullmatch(r"'.*'|\".*\"", text, re.DOTALL))
    [argument] = hydra_arguments([f"question={text}"], texts=["question"])
    override = PARSER.parse_override(argument)
    assert (override.key_or_group, override.value()) == ("question", text)


def test_a_text_in_quotes_is_read_by_hydra() -> None:
    assert hydra_arguments(["question='a, b'"], texts=["question"]) == ["question='a, b'"]


def test_everything_else_stays_what_it_was() -> None:
    given = ["-m", "seed=1,2", "--cfg", "job", "--explain", "explain=false", "loss"]
    expected = ["-m", "seed=1,2", "--cfg", "job", "explain=true", "explain=false", "loss"]
    assert hydra_arguments(given, flags=["explain"], texts=["question"]) == expected
