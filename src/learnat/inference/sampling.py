"""Samples of a model for several questions side by side, each executed and, where it fails, repaired."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from learnat.inference.candidates import Candidate, CandidateRunner, Cost, Place, cost_of
from learnat.inference.engines.base import Decoding, Engine, Prompt, Request
from learnat.inference.repair import Repair, better


@dataclass(frozen=True)
class Question:
    """A prompt, and where its answers are executed."""

    prompt: Prompt
    place: Place


@dataclass
class Sample:
    """The ``index``-th sample that a question was asked for: where its chat stands, and the best answer in it.

    ``cost`` is that of all its calls.
    """

    question: Question
    index: int
    prompt: Prompt
    last: Candidate
    best: Candidate
    cost: Cost


class Sampler:
    """Draws samples from ``engine``."""

    def __init__(self, engine: Engine, decoding: Decoding, runner: CandidateRunner, repair: Repair) -> None:
        self._engine = engine
        self._decoding = decoding
        self._runner = runner
        self._repair = repair

    def draw(self, asked: Sequence[tuple[Question, Sequence[int]]]) -> list[list[Sample]]:
        """For each question those of its samples that are asked for, in their order.

        A sample with its repairs is the same whatever is drawn beside it or before.
        """
        requests = [Request(question.prompt, samples) for question, samples in asked]
        drawn = [
            Sample(question, index, question.prompt, candidate, candidate, cost_of(candidate.completion))
            for (question, index), candidate in zip(
                [(question, index) for question, samples in asked for index in samples],
                self._candidates(requests, [question.place for question, _ in asked]),
                strict=True,
            )
        ]
        for _ in range(self._repair.rounds):
            self._ask_again([sample for sample in drawn if self._repair.is_due(sample.last)])
        rest = iter(drawn)
        return [list(islice(rest, len(samples))) for _, samples in asked]

    def _ask_again(self, due: Sequence[Sample]) -> None:
        for sample in due:
            sample.prompt = self._repair.prompt(sample.prompt, sample.last)
        # With an index of its own: samples that went wrong alike are to be repaired in different ways.
        requests = [Request(sample.prompt, (sample.index,)) for sample in due]
        candidates = self._candidates(requests, [sample.question.place for sample in due])
        for sample, candidate in zip(due, candidates, strict=True):
            sample.last = candidate
            sample.best = better(sample.best, candidate)
            sample.cost += cost_of(candidate.completion)

    def _candidates(self, requests: Sequence[Request], places: Sequence[Place]) -> list[Candidate]:
        """Of every request, executed at its place, one behind the other."""
        written = {
            (each.position, each.sample): each.completion for each in self._engine.generate(requests, self._decoding)
        }
        return self._runner.run(
            [
                (place, written[position, sample])
                for position, (request, place) in enumerate(zip(requests, places, strict=True))
                for sample in request.samples
            ]
        )


def total_cost(samples: Iterable[Sample]) -> Cost:
    return sum((sample.cost for sample in samples), Cost())
