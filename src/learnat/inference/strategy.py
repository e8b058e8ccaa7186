"""How questions are answered: what a prompt shows, how many samples are drawn, which one becomes the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from learnat.benchmarks.types import Benchmark, Database, Example
from learnat.errors import LearnatError
from learnat.inference.candidates import Candidate, CandidateRunner, Cost, candidate_of, cost_of
from learnat.inference.demonstrations import NearestDemonstrations
from learnat.inference.engines.base import Decoding, Engine, Prompt, Request
from learnat.inference.prompts import question_prompt
from learnat.inference.repair import Repair
from learnat.inference.sampling import Question, Sample, Sampler, total_cost
from learnat.inference.schema_filters import SchemaFilter
from learnat.inference.voting import Ballot
from learnat.synthesis.checks import check_count, check_flag
from learnat.training.prompts import PromptStyle

QUESTIONS_AT_ONCE = 256
"""Their samples' results are in memory together."""


@dataclass(frozen=True)
class Choice:
    """The candidate that became the answer, what all of them cost, how many samples were drawn and agree with it.

    ``votes`` is None where nothing was executed.
    """

    candidate: Candidate
    cost: Cost
    samples: int
    votes: int | None


@dataclass(frozen=True)
class Strategy:
    """A member of the config group ``inference``: votes over samples, each of them repaired where that is asked for.

    One sample without repair is the model's answer as it is; nothing is executed then.

    Args:
        schema: what of a database the prompt shows.
        demonstrations: which solved questions it shows, if any.
        max_new_tokens, temperature, top_p, seed: of every call, see ``Decoding``.
        samples: drawn for a question, at most.
        early_stop: no more samples are drawn once they cannot change the answer.
        repair: what happens to a sample that does not run.

    Raises ``LearnatError`` for a value that is not allowed, and for several samples that would all be the same.
    """

    schema: SchemaFilter
    demonstrations: NearestDemonstrations | None
    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int
    samples: int
    early_stop: bool
    repair: Repair
    decoding: Decoding = field(init=False)

    def __post_init__(self) -> None:
        check_count("inference.samples", self.samples)
        check_flag("inference.early_stop", self.early_stop)
        decoding = Decoding(self.max_new_tokens, self.temperature, self.top_p, seed=self.seed)
        object.__setattr__(self, "decoding", decoding)
        if self.samples > 1 and not self.temperature:
            raise LearnatError(
                f"inference.samples={self.samples} at inference.temperature=0 draws the same text every time: give a "
                "temperature above 0, or samples=1."
            )

    @property
    def executes(self) -> bool:
        """Whether choosing an answer needs the database."""
        return self.samples > 1 or self.repair.rounds > 0

    def check(self, benchmark: Benchmark, split: str) -> None:
        """Raise ``LearnatError`` where prompts would give gold answers of ``split`` away."""
        if self.demonstrations is not None:
            self.demonstrations.check(benchmark, split)

    def prompt(self, style: PromptStyle, database: Database, example: Example) -> Prompt:
        """What a model is asked about ``example``."""
        schema = self.schema.part(example, database.schema)
        shown = self.demonstrations.text(example, database.schema) if self.demonstrations is not None else ""
        return question_prompt(style, database, example, schema, shown)

    def answer(
        self, engine: Engine, databases: Sequence[Database], examples: Sequence[Example], runner: CandidateRunner
    ) -> Iterator[tuple[int, Choice]]:
        """The place of each of ``examples`` and its answer, in the order they are done in; each has its database.

        Raises ``LearnatError`` where the engine cannot go on, or SQL is to be executed on a database without a file.
        """
        prompts = [self.prompt(engine.style, *each) for each in zip(databases, examples, strict=True)]
        if not self.executes:
            for written in engine.generate([Request(prompt) for prompt in prompts], self.decoding):
                completion = written.completion
                yield written.position, Choice(candidate_of(completion), cost_of(completion), 1, None)
            return
        questions = [Question(prompt, runner.place(each)) for prompt, each in zip(prompts, databases, strict=True)]
        # Those of a database one after the other, since an engine shares what their prompts begin with.
        order = sorted(range(len(examples)), key=lambda place: prompts[place].shared)
        with engine.session():
            for start in range(0, len(order), QUESTIONS_AT_ONCE):
                places = order[start : start + QUESTIONS_AT_ONCE]
                vote = _Vote(self, Sampler(engine, self.decoding, runner, self.repair), [questions[i] for i in places])
                yield from ((places[position], choice) for position, choice in vote.run(runner))


class _Vote:
    """Draws samples of several questions side by side until each is decided."""

    def __init__(self, strategy: Strategy, sampler: Sampler, questions: Sequence[Question]) -> None:
        self._strategy = strategy
        self._sampler = sampler
        self._questions = questions

    def run(self, runner: CandidateRunner) -> Iterator[tuple[int, Choice]]:
        ballots = [Ballot(runner.agree) for _ in self._questions]
        drawn: list[list[Sample]] = [[] for _ in self._questions]
        wanted = {place: self._wanted(ballot, 0) for place, ballot in enumerate(ballots)}
        while wanted:
            asked = [
                (self._questions[place], range(len(drawn[place]), len(drawn[place]) + count))
                for place, count in wanted.items()
            ]
            for place, samples in zip(wanted, self._sampler.draw(asked), strict=True):
                drawn[place] += samples
                for sample in samples:
                    ballots[place].add(sample.best)
            wanted = {place: self._wanted(ballots[place], len(drawn[place])) for place in wanted}
            for place in [place for place, count in wanted.items() if not count]:
                del wanted[place]
                ballot, samples_of = ballots[place], drawn[place]
                yield place, Choice(ballot.winner, total_cost(samples_of), len(samples_of), ballot.votes)

    def _wanted(self, ballot: Ballot, drawn: int) -> int:
        """How many samples to draw next; 0 where the vote is decided."""
        remaining = self._strategy.samples - drawn
        return ballot.needed(remaining) if self._strategy.early_stop else remaining
