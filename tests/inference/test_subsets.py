"""Votes over subsets of drawn samples, counted by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from learnat.inference.candidates import Candidate, Cost, Place
from learnat.inference.engines.base import Completion, Message, Prompt
from learnat.inference.sampling import Question, Sample
from learnat.inference.subsets import Drawn, choices, outcome
from learnat.sql.execution import Result

PROMPT = Prompt((Message("user", "Which?"),))
RIGHT, WRONG, OTHER, EMPTY, FAILED = "right", "wrong", "other", "empty", "failed"


def sample(sql: str, calls: int = 1, prompt_tokens: int = 10, completion_tokens: int = 5) -> Sample:
    error = "no such column" if sql.startswith(FAILED) else None
    rows = [] if sql == EMPTY or error else [(sql.split()[0],)]
    candidate = Candidate(Completion(sql, 1, 1, True), (), sql, (), Result((), rows, error, 0.0, False, False))
    cost = Cost(calls, prompt_tokens, completion_tokens)
    return Sample(Question(PROMPT, Place("db", True)), 0, PROMPT, candidate, candidate, cost)


def rows(candidate: Candidate) -> object:
    assert candidate.result is not None
    return candidate.result.rows


def drawn(*sqls: str) -> Drawn:
    """Texts agree by their first word: ``right a`` and ``right b`` return the same."""
    return of_samples([sample(sql) for sql in sqls])


def of_samples(samples: Sequence[Sample]) -> Drawn:
    return Drawn(samples, lambda a, b: rows(a) == rows(b), lambda each: each.sql.split()[0] == RIGHT)


MIXED = drawn(WRONG, FAILED, "right a", OTHER, "right b")


@pytest.mark.parametrize(
    ("chosen", "is_right"),
    [
        ([0], False),
        ([2], True),
        ([1], False),  # what failed is the answer where there is no other
        ([1, 2], True),  # and has no vote where there is
        ([0, 2], False),  # of equally many votes the first seen wins
        ([2, 3], True),
        ([0, 2, 4], True),  # two texts with one result
        ([0, 1, 2, 3, 4], True),
    ],
)
@pytest.mark.parametrize("early_stop", [False, True])
def test_the_vote_is_over_the_chosen_samples(chosen: list[int], is_right: bool, early_stop: bool) -> None:
    verdict, used = MIXED.vote(chosen, early_stop)
    assert verdict is is_right
    places = [MIXED.samples.index(each) for each in used]
    assert places == (chosen[: len(places)] if early_stop else chosen)


def test_a_question_without_a_right_sample_is_wrong() -> None:
    assert drawn(WRONG, EMPTY, FAILED).vote([0, 1, 2], early_stop=False)[0] is False


def test_early_stop_takes_what_can_change_the_answer_and_no_more() -> None:
    unanimous = drawn("right a", "right b", "right c", WRONG, WRONG)
    verdict, used = unanimous.vote([0, 1, 2, 3, 4], early_stop=True)
    assert verdict and used == list(unanimous.samples[:3])
    late = drawn(WRONG, "right a", WRONG, "right b", "right c")
    verdict, used = late.vote([0, 1, 2, 3, 4], early_stop=True)
    assert verdict and used == list(late.samples)


def test_choices_are_distinct_samples_in_order_and_the_same_for_every_method() -> None:
    found = list(choices(questions=4, samples=30, n=5, subsets=6))
    assert len(found) == 6 and {len(of_questions) for of_questions in found} == {4}
    chosen = [places for of_questions in found for places in of_questions]
    for places in chosen:
        assert places == sorted(set(places)) and len(places) == 5 and places[0] >= 0 and places[-1] < 30
    # Other samples each time, or there would be nothing to take a mean of.
    assert len(set(map(tuple, chosen))) == 24
    assert {place for places in chosen for place in places} > set(range(20))
    assert list(choices(4, 30, 5, 6)) == found
    assert list(choices(3, 7, 7, 40)) == [[[0, 1, 2, 3, 4, 5, 6]] * 3]
    with pytest.raises(ValueError, match="larger than population"):
        next(choices(1, 3, 4, 1))


def test_the_outcome_of_all_samples_is_the_votes() -> None:
    questions = [
        drawn("right a", "right b", WRONG, FAILED),  # right
        drawn(WRONG, WRONG, "right a", EMPTY),  # wrong, but one is right
        drawn(FAILED, FAILED, EMPTY, EMPTY),  # wrong
        drawn(FAILED, FAILED, FAILED, "right a"),  # right: the others have no vote
    ]
    found = outcome(questions, n=4, subsets=40, early_stop=False)
    assert (found.ex, found.ex_sd, found.any_right, found.failed) == (0.5, 0.0, 0.75, 9 / 16)
    assert (found.calls, found.prompt_tokens, found.completion_tokens) == (4, 40, 20)
    stopped = outcome(questions, n=4, subsets=40, early_stop=True)
    assert stopped.ex == 0.5 and stopped.calls < 4


def test_one_sample_is_right_as_often_as_the_samples_are() -> None:
    """EX of subsets of one is the share of right samples: three of four, one of four, all, none."""
    three, one = drawn("right a", WRONG, "right b", "right c"), drawn(WRONG, EMPTY, "right a", FAILED)
    every, none = drawn(*["right a"] * 4), drawn(*[WRONG] * 4)
    for questions, share in (([three], 0.75), ([one], 0.25), ([every], 1.0), ([none], 0.0), ([three, one], 0.5)):
        found = outcome(questions, n=1, subsets=2000, early_stop=False)
        assert found.ex == pytest.approx(share, abs=0.05) and found.any_right == found.ex
        spread = 0.0 if share in (0, 1) else ((0.75 * 0.25) / len(questions)) ** 0.5
        assert found.ex_sd == pytest.approx(spread, abs=0.02)


def test_costs_are_those_of_the_samples_taken() -> None:
    first = of_samples([sample(RIGHT, 1, 10, 1), sample(RIGHT, 2, 300, 20), sample(WRONG, 3, 7000, 400)])
    second = of_samples([sample(FAILED, 1, 30, 3), sample(WRONG, 1, 30, 3), sample(OTHER, 1, 30, 3)])
    found = outcome([first, second], n=3, subsets=40, early_stop=False)
    assert found.calls == (6 + 3) / 2
    assert found.prompt_tokens == (7310 + 90) / 2 and found.completion_tokens == (421 + 9) / 2
    stopped = outcome([first, second], n=3, subsets=40, early_stop=True)
    # Two agree, and after two of the other question the third, a new answer, would lose the tie.
    assert stopped.calls == (3 + 2) / 2 and stopped.prompt_tokens == (310 + 60) / 2
    # Of subsets of one the mean over many is a third of all.
    single = outcome([first], n=1, subsets=3000, early_stop=False)
    assert single.prompt_tokens == pytest.approx(7310 / 3, rel=0.05) and single.calls == pytest.approx(2, rel=0.05)


def test_methods_of_one_question_set_are_judged_on_the_same_subsets() -> None:
    """What is right for one method at a subset is wrong for its mirror image: EX adds up to 1 at every n."""
    pattern = [[4 * place % 9 < question for place in range(9)] for question in range(10)]
    method = [drawn(*(RIGHT if each else WRONG for each in of_question)) for of_question in pattern]
    mirror = [drawn(*(WRONG if each else RIGHT for each in of_question)) for of_question in pattern]
    for n in (1, 3, 5, 9):
        found, other = (outcome(each, n, subsets=7, early_stop=False) for each in (method, mirror))
        assert found.ex + other.ex == pytest.approx(1.0) and 0 < found.ex < 1
        assert outcome(method, n, subsets=7, early_stop=True).ex == found.ex
