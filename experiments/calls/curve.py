"""Calls and tokens against execution accuracy, for every way to spend them, from one set of samples each.

    python experiments/calls/curve.py checkpoint=FOLDER inference.demonstrations.trees=FILE run_dir=FOLDER [KEY=VALUE …]

Takes evaluate.py's keys. Draws 30 samples a question once for each kind of prompt and keeps them in the run folder, so
that a stopped run goes on. What n samples would have given is then the mean over random subsets of the 30, the same
for every method. Writes calls.csv and calls.svg into the folder of this file, or into `out=FOLDER`.
"""

from __future__ import annotations

import csv
import random
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

from learnat.benchmarks.types import Benchmark, Example
from learnat.errors import LearnatError
from learnat.inference.candidates import Candidate, CandidateRunner, Cost
from learnat.inference.recorded import RecordedEngine
from learnat.inference.sampling import Question, Sample, Sampler
from learnat.inference.strategy import Strategy
from learnat.inference.voting import Ballot
from learnat.recipes.engines import open_engine
from learnat.sql.execution import ExecutorPool
from learnat.sql.results import equal, spider_gold_text

HERE = Path(__file__).parent
SIZES = (1, 5, 10, 20, 30)
SUBSETS = 40
"""Random subsets of the samples behind every point; of all samples there is one."""

METHODS = {
    "vote": [],
    "vote, repaired once": ["inference.repair.rounds=1"],
    "vote, retrieved schema": ["inference/schema=retrieved", "inference.schema.columns=8"],
    "vote, demonstrations": ["inference/demonstrations=nearest"],
}
GREEDY = {
    "greedy": [],
    "greedy, repaired once": ["inference.repair.rounds=1"],
    "greedy, repaired twice": ["inference.repair.rounds=2"],
    "greedy, retrieved schema": METHODS["vote, retrieved schema"],
    "greedy, demonstrations": METHODS["vote, demonstrations"],
}


@dataclass(frozen=True)
class Point:
    """Means a question. ``ex_sd``: how much EX differs between subsets of the samples, as a standard deviation."""

    method: str
    n: int
    questions: int
    ex: float
    ex_sd: float
    calls: float
    prompt_tokens: float
    completion_tokens: float

    @property
    def tokens(self) -> float:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Drawn:
    """All samples of one question; ``right`` says of a candidate whether it is."""

    samples: Sequence[Sample]
    agree: Callable[[Candidate, Candidate], bool]
    right: Callable[[Candidate], bool]

    def vote(self, chosen: Sequence[int], early_stop: bool) -> tuple[bool, list[Sample]]:
        """Whether the vote over the ``chosen`` samples is right, and those of them that it took."""
        ballot, used = Ballot(self.agree), 0
        while wanted := ballot.needed(len(chosen) - used) if early_stop else len(chosen) - used:
            for place in chosen[used : used + wanted]:
                ballot.add(self.samples[place].best)
            used += wanted
        return self.right(ballot.winner), [self.samples[place] for place in chosen[:used]]


class Curves:
    """The points of all methods over one model and split."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments = arguments
        cfg = self.config("inference=greedy")
        self.benchmark: Benchmark = instantiate(cfg.data.benchmark)
        self.examples: list[Example] = self.benchmark.examples(cfg.data.split)
        self.cfg = cfg

    def config(self, *overrides: str) -> DictConfig:
        with initialize_config_dir(str(HERE.parents[1] / "conf"), version_base="1.3"):
            return compose("evaluate", [*overrides, *self._known(overrides)])

    def _known(self, overrides: Sequence[str]) -> list[str]:
        """The arguments without those of a part that these overrides do not choose."""
        shown = any("demonstrations=" in item for item in overrides)
        return [item for item in self.arguments if shown or not item.startswith("inference.demonstrations.")]

    def points(self) -> Iterator[Point]:
        folder = Path(self.cfg.run_dir)
        pool = ExecutorPool(self.cfg.workers, max_rows=self.cfg.executor.max_rows)
        with pool, closing(open_engine(self.cfg, self.benchmark)) as opened:
            engine = RecordedEngine(opened, folder / "samples.jsonl")
            runner = CandidateRunner(pool, self.benchmark.ex_mode, self.cfg.executor.timeout_s)
            for method, overrides in GREEDY.items():
                drawn = self._draw(engine, pool, runner, 1, ["inference=greedy", *overrides])
                yield self._point(method, drawn, 1, early_stop=False)
            for method, overrides in METHODS.items():
                drawn = self._draw(engine, pool, runner, max(SIZES), ["inference=vote", *overrides])
                yield from (self._point(method, drawn, n, early_stop=False) for n in SIZES)
                if method == "vote":
                    yield from (self._point("vote, early stop", drawn, n, early_stop=True) for n in SIZES)

    def _draw(
        self, engine: RecordedEngine, pool: ExecutorPool, runner: CandidateRunner, count: int, overrides: list[str]
    ) -> list[Drawn]:
        strategy: Strategy = instantiate(self.config(*overrides).inference)
        strategy.check(self.benchmark, self.cfg.data.split)
        questions = []
        for example in self.examples:
            database = self.benchmark.database(example.db_id)
            questions.append(Question(strategy.prompt(engine.style, database, example), runner.place(database)))
        samples = Sampler(engine, strategy.decoding, runner, strategy.repair).draw(
            [(question, range(count)) for question in questions]
        )
        return [self._drawn(pool, runner, *each) for each in zip(self.examples, questions, samples, strict=True)]

    def _drawn(
        self, pool: ExecutorPool, runner: CandidateRunner, example: Example, question: Question, samples: list[Sample]
    ) -> Drawn:
        mode, agreed = self.benchmark.ex_mode, {}
        text = spider_gold_text(example.gold_sql) if mode == "spider_bag" else example.gold_sql
        gold = pool.run(question.place.address, text)
        verdicts = {
            each.best.sql: each.best.result is not None and equal(gold, each.best.result, mode, example.gold_sql)
            for each in samples
        }

        def agree(first: Candidate, second: Candidate) -> bool:
            key = first.sql, second.sql
            if key not in agreed:
                agreed[key] = runner.agree(first, second)
            return agreed[key]

        return Drawn(samples, agree, lambda candidate: verdicts[candidate.sql])

    def _point(self, method: str, drawn: Sequence[Drawn], n: int, early_stop: bool) -> Point:
        rng, scores, cost = random.Random(n), [], Cost()
        subsets = 1 if n == len(drawn[0].samples) else SUBSETS
        for _ in range(subsets):
            right = 0
            for question in drawn:
                chosen = sorted(rng.sample(range(len(question.samples)), n))
                is_right, used = question.vote(chosen, early_stop)
                right += is_right
                cost += sum((sample.cost for sample in used), Cost())
            scores.append(right / len(drawn))
        asked = subsets * len(drawn)
        costs = [count / asked for count in (cost.calls, cost.prompt_tokens, cost.completion_tokens)]
        return Point(method, n, len(drawn), statistics.mean(scores), statistics.pstdev(scores), *costs)


def write(points: Sequence[Point], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow([*(field.name for field in fields(Point)), "tokens"])
        for point in points:
            method, n, questions, ex, ex_sd, *costs = astuple(point)
            rows.writerow(
                [method, n, questions, f"{ex:.4f}", f"{ex_sd:.4f}", *(f"{cost:.1f}" for cost in [*costs, point.tokens])]
            )


def plot(points: Sequence[Point], path: Path) -> None:
    """EX against samples and against tokens, a line a method."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), sharey=True)
    for method in dict.fromkeys(point.method for point in points):
        line = [point for point in points if point.method == method]
        style = "x" if len(line) == 1 else "o-"
        for axis, values in zip(axes, ([p.n for p in line], [p.tokens for p in line]), strict=True):
            axis.plot(values, [100 * point.ex for point in line], style, label=method, markersize=5)
    for axis, label in zip(axes, ("samples a question", "tokens a question (prompt and completion)"), strict=True):
        axis.set(xlabel=label, xscale="log")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("EX, %")
    axes[1].legend(fontsize="x-small")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main(arguments: Sequence[str]) -> None:
    out = next((Path(item.partition("=")[2]) for item in arguments if item.startswith("out=")), HERE)
    points = []
    for point in Curves([item for item in arguments if not item.startswith("out=")]).points():
        print(
            f"{point.method:26} n={point.n:<3} EX {point.ex:.3f}  {point.calls:5.1f} calls {point.tokens:8.0f} tokens"
        )
        points.append(point)
    out.mkdir(parents=True, exist_ok=True)
    write(points, out / "calls.csv")
    plot(points, out / "calls.svg")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except LearnatError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
