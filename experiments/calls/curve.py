"""Calls and tokens against execution accuracy, for every way to spend them, from one set of samples each.

    python experiments/calls/curve.py checkpoint=FOLDER label=NAME inference.demonstrations.trees=FILE [KEY=VALUE …]

All keys: conf/calls.yaml. Draws the samples of a question once for each kind of prompt and keeps them in the run
folder, so that a stopped run goes on. What n samples would have given is then the mean over random subsets of them, the
same for every method. A method's rows go into `out`/calls.csv as soon as they are known; report.py makes the table and
the figure of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig
from points import FILE_NAME, Point, check_questions, merge

from learnat.benchmarks.types import Benchmark
from learnat.errors import LearnatError
from learnat.evaluation.run import ScoringRun, executed_pair
from learnat.inference.candidates import Candidate, CandidateRunner
from learnat.inference.demonstrations import NearestDemonstrations
from learnat.inference.engines.base import Engine
from learnat.inference.recorded import RecordedEngine
from learnat.inference.repair import Repair
from learnat.inference.sampling import Question, Sample, Sampler
from learnat.inference.schema_filters import FullSchema, RetrievedSchema
from learnat.inference.strategy import Strategy
from learnat.inference.subsets import Drawn, outcome
from learnat.recipes.app import launch
from learnat.recipes.engines import open_engine
from learnat.recipes.evaluate import check_execute_on
from learnat.recipes.provenance import write_provenance
from learnat.sql.execution import ExecutorPool
from learnat.sql.gold_results import GoldResults
from learnat.sql.results import check_mode, equal
from learnat.synthesis.checks import check_count


def curve(cfg: DictConfig) -> None:
    """Measure every method over ``cfg``'s checkpoint and split, and put the rows into calls.csv.

    Raises ``LearnatError``, before anything is drawn, for what cannot be measured.
    """
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise LearnatError("curve.py measures one checkpoint a run: start it once for each, with one out=FOLDER.")
    folder, path, split = Path(cfg.run_dir), Path(cfg.out) / FILE_NAME, cfg.data.split
    label, sizes = _label(cfg.label), _sizes(cfg.sizes)
    check_count("subsets", cfg.subsets)
    check_execute_on(split, cfg.execute_on)
    if cfg.ex_mode is not None:
        check_mode(cfg.ex_mode)
    ways = methods(cfg.inference, max(sizes))
    benchmark: Benchmark = instantiate(cfg.data.benchmark)
    examples = benchmark.examples(split)
    if not examples:
        raise LearnatError(f"There is no question of {split!r} to ask under data.databases and data.limit.")
    for way in ways.values():
        way.check(benchmark, split)
    _make_folder(path.parent)
    check_questions(path, label, len(examples))
    with (
        ExecutorPool(cfg.workers, cfg.executor.timeout_s, cfg.executor.max_rows) as pool,
        closing(open_engine(cfg, benchmark)) as opened,
    ):
        measuring = Measuring(cfg, benchmark, pool)
        engine = RecordedEngine(opened, folder / "samples.jsonl")
        write_provenance(
            folder,
            cfg,
            data_hash={split: benchmark.fingerprint(split)},
            prompt_hash=engine.style.hash,
            decoding={method: asdict(way.decoding) for method, way in ways.items()},
        )
        for method, way in ways.items():
            drawn = measuring.draw(engine, way)
            lines = {method: False, f"{method}, early stop": True} if method == "vote" else {method: False}
            for name, early_stop in lines.items():
                points = [
                    Point(label, name, n, len(drawn), **asdict(outcome(drawn, n, cfg.subsets, early_stop)))
                    for n in (sizes if way.samples > 1 else [1])
                ]
                merge(path, points)
                for point in points:
                    print(
                        f"{name:26} n={point.n:<3} EX {point.ex:.3f}  some right {point.any_right:.3f}  failed "
                        f"{point.failed:.3f}  {point.calls:5.1f} calls {point.tokens:8.0f} tokens",
                        flush=True,
                    )


def methods(inference: DictConfig, samples: int) -> dict[str, Strategy]:
    """Every way to answer by its name: with one greedy answer, and with votes over ``samples``.

    Raises ``LearnatError`` for a value that is not allowed.
    """
    if not inference.temperature:
        raise LearnatError("inference.temperature=0 draws the same text every time: votes need one above 0.")
    repair = Repair(0, inference.repair.empty)
    greedy = Strategy(
        schema=FullSchema(),
        demonstrations=None,
        max_new_tokens=inference.max_new_tokens,
        temperature=0.0,
        top_p=1.0,
        seed=inference.seed,
        samples=1,
        early_stop=False,
        repair=repair,
    )
    vote = replace(greedy, temperature=inference.temperature, top_p=inference.top_p, samples=samples)
    retrieved = RetrievedSchema(inference.schema.columns)
    shown = inference.demonstrations
    nearest = NearestDemonstrations(shown.trees, shown.size, shown.same_database)
    return {
        "greedy": greedy,
        "greedy, repaired once": replace(greedy, repair=replace(repair, rounds=1)),
        "greedy, repaired twice": replace(greedy, repair=replace(repair, rounds=2)),
        "greedy, retrieved schema": replace(greedy, schema=retrieved),
        "greedy, demonstrations": replace(greedy, demonstrations=nearest),
        "vote": vote,
        "vote, repaired once": replace(vote, repair=replace(repair, rounds=1)),
        "vote, retrieved schema": replace(vote, schema=retrieved),
        "vote, demonstrations": replace(vote, demonstrations=nearest),
    }


class Measuring:
    """Draws samples for all questions of a split, and says which are right by evaluate.py's rules.

    Raises ``LearnatError`` where a database cannot be used.
    """

    def __init__(self, cfg: DictConfig, benchmark: Benchmark, pool: ExecutorPool) -> None:
        self._benchmark, self._pool = benchmark, pool
        self._mode = cfg.ex_mode or benchmark.ex_mode
        self._timeout_s = cfg.executor.timeout_s
        self._runner = CandidateRunner(pool, self._mode, self._timeout_s, cfg.execute_on)
        self._examples = benchmark.examples(cfg.data.split)
        nothing = {example.index: "" for example in self._examples}
        run = ScoringRun(benchmark, cfg.data.split, nothing, pool, self._timeout_s, execute_on=cfg.execute_on)
        addresses = run.addresses()
        self._addresses = [addresses[example.db_id] for example in self._examples]
        golds = [pair.gold for pair in run.pairs(self._mode)]
        self._golds = GoldResults(pool, Path(cfg.cache_dir)).map(golds, self._timeout_s)

    def draw(self, engine: Engine, way: Strategy) -> list[Drawn]:
        """All of ``way``'s samples of every question."""
        databases = [self._benchmark.database(example.db_id) for example in self._examples]
        questions = [
            Question(way.prompt(engine.style, database, example), self._runner.place(database))
            for database, example in zip(databases, self._examples, strict=True)
        ]
        with engine.session():
            sampler = Sampler(engine, way.decoding, self._runner, way.repair)
            samples = sampler.draw([(question, range(way.samples)) for question in questions])
        return [
            self._drawn(of_question, verdicts)
            for of_question, verdicts in zip(samples, self._verdicts(samples), strict=True)
        ]

    def _drawn(self, samples: Sequence[Sample], verdicts: dict[str, bool]) -> Drawn:
        agreed: dict[tuple[str, str], bool] = {}

        def agree(first: Candidate, second: Candidate) -> bool:
            key = first.sql, second.sql
            if key not in agreed:
                agreed[key] = self._runner.agree(first, second)
            return agreed[key]

        return Drawn(samples, agree, lambda candidate: verdicts[candidate.sql])

    def _verdicts(self, samples: Sequence[Sequence[Sample]]) -> list[dict[str, bool]]:
        """For each question, by the SQL of its samples, whether that is right."""
        pairs = [
            {each.best.sql: executed_pair(address, example.gold_sql, each.best.sql, self._mode) for each in of_question}
            for example, address, of_question in zip(self._examples, self._addresses, samples, strict=True)
        ]
        queries = sorted(
            {pair.predicted for of_question in pairs for pair in of_question.values()},
            key=lambda query: (str(query.path), query.sql),
        )
        results = dict(zip(queries, self._pool.map(queries, self._timeout_s), strict=True))
        return [
            {
                sql: equal(gold, results[pair.predicted], self._mode, example.gold_sql)
                for sql, pair in of_question.items()
            }
            for example, gold, of_question in zip(self._examples, self._golds, pairs, strict=True)
        ]


def _label(label: object) -> str:
    if label is None or not str(label).strip():
        raise LearnatError("label is empty: give what rows of calls.csv call this checkpoint, label=NAME.")
    return str(label)


def _sizes(sizes: object) -> list[int]:
    if not isinstance(sizes, (list, ListConfig)) or not sizes:
        raise LearnatError(f"sizes={sizes} must be a list of whole numbers: sizes=[1,5,10].")
    for size in sizes:
        check_count("sizes", size)
    return sorted(set(sizes))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LearnatError(f"out={folder} cannot be made a folder: {error.strerror}.") from error


if __name__ == "__main__":
    launch(curve, config_name="calls", config_dir=Path(__file__).parents[2] / "conf")
