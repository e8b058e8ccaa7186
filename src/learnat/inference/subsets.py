"""What fewer of the samples that were drawn would have given and cost: every n, from one set of samples a question."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from learnat.inference.candidates import Candidate
from learnat.inference.sampling import Sample, total_cost
from learnat.inference.voting import Ballot


@dataclass(frozen=True)
class Drawn:
    """All samples of one question, in the order they were drawn in.

    ``agree`` is asked as by ``Ballot``; ``right`` says of a candidate whether it is.
    """

    samples: Sequence[Sample]
    agree: Callable[[Candidate, Candidate], bool]
    right: Callable[[Candidate], bool]

    def vote(self, chosen: Sequence[int], early_stop: bool) -> tuple[bool, list[Sample]]:
        """Whether the vote over the ``chosen`` samples is right, and those of them that it took.

        ``early_stop``: none is taken once they cannot change the answer.
        """
        ballot, used = Ballot(self.agree), 0
        while wanted := ballot.needed(len(chosen) - used) if early_stop else len(chosen) - used:
            for place in chosen[used : used + wanted]:
                ballot.add(self.samples[place].best)
            used += wanted
        return self.right(ballot.winner), [self.samples[place] for place in chosen[:used]]


@dataclass(frozen=True)
class Outcome:
    """Means over questions and subsets of their samples.

    Args:
        ex: share of questions whose vote is right.
        ex_sd: how much ``ex`` differs between subsets, as a standard deviation.
        any_right: share of questions for which one of the samples taken is right.
        failed: share of the samples taken whose SQL does not run or finds no rows.
        calls, prompt_tokens, completion_tokens: what the samples taken for a question cost.
    """

    ex: float
    ex_sd: float
    any_right: float
    failed: float
    calls: float
    prompt_tokens: float
    completion_tokens: float


def choices(questions: int, samples: int, n: int, subsets: int) -> Iterator[list[list[int]]]:
    """``subsets`` times: which ``n`` of its ``samples`` each question has, in ascending order.

    They depend on these four numbers alone, so that methods are compared on the same ones. Of all samples there is one
    subset. Raises ``ValueError`` for an ``n`` above ``samples``.
    """
    rng = random.Random(n)
    for _ in range(1 if n == samples else subsets):
        yield [sorted(rng.sample(range(samples), n)) for _ in range(questions)]


def outcome(drawn: Sequence[Drawn], n: int, subsets: int, early_stop: bool) -> Outcome:
    """What votes over ``n`` samples a question give, over the ``choices`` of them.

    ``drawn`` holds a question or more, which have equally many samples, at least ``n``.
    """
    scores: list[float] = []
    found: list[bool] = []
    taken: list[Sample] = []
    for chosen in choices(len(drawn), len(drawn[0].samples), n, subsets):
        votes = [question.vote(places, early_stop) for question, places in zip(drawn, chosen, strict=True)]
        scores.append(fmean(is_right for is_right, _ in votes))
        for question, (_, used) in zip(drawn, votes, strict=True):
            found.append(any(question.right(sample.best) for sample in used))
            taken += used
    cost, asked = total_cost(taken), len(found)
    return Outcome(
        ex=fmean(scores),
        ex_sd=pstdev(scores),
        any_right=fmean(found),
        failed=fmean(not sample.best.found_rows for sample in taken),
        calls=cost.calls / asked,
        prompt_tokens=cost.prompt_tokens / asked,
        completion_tokens=cost.completion_tokens / asked,
    )
