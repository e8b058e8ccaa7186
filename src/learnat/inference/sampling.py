"""Samples of a model for several questions side by side, each executed and, where it fails, repaired."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from learnat.inference.candidates import Candidate, CandidateRunner, Cost, cost_of
from learnat.inference.engines.base import Completion, Decoding, Engine, Prompt
from learnat.inference.repair import Repair, better
from learnat.sql.execution import Address


@dataclass(frozen=True)
class Question:
    """A prompt, and where its answers are executed."""

    prompt: Prompt
    database: Address


@dataclass
class Sample:
    """The sample that a question was asked for: where its chat stands, and the best answer in it.

    ``cost`` is that of all its calls.
    """

    question: Question
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

    def draw(self, questions: Sequence[Question], samples: Sequence[int]) -> list[list[Sample]]:
        """For each question its ``samples``, in their order."""
        prompts = [question.prompt for question in questions]
        written: dict[tuple[int, int], Completion] = {}
        for each in self._engine.generate(prompts, self._decoding, samples):
            written[each.position, each.sample] = each.completion
        places = [(position, sample) for position in range(len(questions)) for sample in samples]
        asked = [(questions[position].database, written[position, sample]) for position, sample in places]
        drawn = [
            Sample(questions[position], prompts[position], candidate, candidate, cost_of(candidate.completion))
            for (position, _), candidate in zip(places, self._runner.run(asked), strict=True)
        ]
        for _ in range(self._repair.rounds):
            self._ask_again([sample for sample in drawn if self._repair.is_due(sample.last)])
        size = len(samples)
        return [drawn[start : start + size] for start in range(0, len(drawn), size)]

    def _ask_again(self, due: Sequence[Sample]) -> None:
        for sample in due:
            sample.prompt = self._repair.prompt(sample.prompt, sample.last)
        completions = self._completions([sample.prompt for sample in due])
        asked = [(sample.question.database, each) for sample, each in zip(due, completions, strict=True)]
        for sample, candidate in zip(due, self._runner.run(asked), strict=True):
            sample.last = candidate
            sample.best = better(sample.best, candidate)
            sample.cost += cost_of(candidate.completion)

    def _completions(self, prompts: Sequence[Prompt]) -> list[Completion]:
        """One for each prompt; those of equal prompts are different samples."""
        seen: Counter[Prompt] = Counter()
        by_sample: dict[int, list[int]] = defaultdict(list)
        for place, prompt in enumerate(prompts):
            by_sample[seen[prompt]].append(place)
            seen[prompt] += 1
        found: dict[int, Completion] = {}
        for sample, places in by_sample.items():
            for each in self._engine.generate([prompts[place] for place in places], self._decoding, (sample,)):
                found[places[each.position]] = each.completion
        return [found[place] for place in range(len(prompts))]


def total_cost(samples: Iterable[Sample]) -> Cost:
    return sum((sample.cost for sample in samples), Cost())
