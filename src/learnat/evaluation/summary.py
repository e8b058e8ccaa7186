"""Values per question → figures by difficulty and by SQL feature, with intervals and provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from learnat.benchmarks.types import Benchmark
from learnat.errors import LearnatError
from learnat.evaluation.executed_on import SQLITE, ExecutedOn
from learnat.evaluation.metric import LEARNAT, Measured, Metric, mean
from learnat.evaluation.scores import Figure, MetricProvenance, Provenance, Scores, Verdict
from learnat.evaluation.significance import bootstrap_interval
from learnat.sql.features import query_features

Groups = Mapping[str, Sequence[int]]
"""Positions of questions by the name of their group."""


def make_scores(
    metrics: Sequence[tuple[Metric, Measured]],
    verdicts: Sequence[Verdict],
    benchmark: Benchmark,
    timeout_s: float,
    schema_given: str,
    executed_on: ExecutedOn | None = None,
) -> Scores:
    """The figures of ``metrics``, whose values stand in the order of ``verdicts``.

    A group in which a metric scored no question has no figure of it. ``executed_on``: what was executed on instead of
    the benchmark's SQLite files (``ScoringRun.executed_on``).

    Raises:
        LearnatError: there is no verdict, or they come from several splits.
    """
    splits = sorted({verdict.split for verdict in verdicts})
    if len(splits) != 1:
        raise LearnatError(
            f"{benchmark.name}: no question to score." if not splits else f"One split at a time, not {splits}."
        )
    levels = _levels(verdicts, benchmark)
    figures = {metric.name: _figures(metric, measured, levels) for metric, measured in metrics}
    features = _features(verdicts, benchmark)
    return Scores(
        metrics={name: {level: figure.value for level, figure in by.items()} for name, by in figures.items()},
        intervals={name: {level: figure.interval for level, figure in by.items()} for name, by in figures.items()},
        scored={name: {level: figure.questions for level, figure in by.items()} for name, by in figures.items()},
        questions={level: len(group) for level, group in levels.items()},
        features={
            feature: {
                metric.name: figure
                for metric, measured in metrics
                for figure in _figures(metric, measured, {feature: group}).values()
            }
            for feature, group in features.items()
        },
        provenance=_provenance(metrics, verdicts, benchmark, timeout_s, schema_given, executed_on),
    )


def _levels(verdicts: Sequence[Verdict], benchmark: Benchmark) -> Groups:
    known = dict.fromkeys((*benchmark.difficulties, *sorted({verdict.difficulty for verdict in verdicts})))
    groups = {
        level: [i for i, verdict in enumerate(verdicts) if verdict.difficulty == level] for level in known if level
    }
    return {"all": range(len(verdicts))} | {level: group for level, group in groups.items() if group}


def _features(verdicts: Sequence[Verdict], benchmark: Benchmark) -> Groups:
    """By what the gold query uses; a question may be in several groups."""
    gold = {example.index: example.gold_sql for example in benchmark.examples(verdicts[0].split)}
    groups: dict[str, list[int]] = {}
    for i, verdict in enumerate(verdicts):
        for feature in query_features(gold[verdict.index]):
            groups.setdefault(feature, []).append(i)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def _figures(metric: Metric, measured: Measured, groups: Groups) -> dict[str, Figure]:
    figures = {}
    for name, group in groups.items():
        values = [value for i in group if (value := measured.values[i]) is not None]
        share = mean(values)
        if share is not None:
            figures[name] = Figure(share, bootstrap_interval(values, is_share=metric.is_share), len(values))
    return figures


def _provenance(
    metrics: Sequence[tuple[Metric, Measured]],
    verdicts: Sequence[Verdict],
    benchmark: Benchmark,
    timeout_s: float,
    schema_given: str,
    executed_on: ExecutedOn | None,
) -> Provenance:
    split = verdicts[0].split
    ex_mode = next((measured.comparison for metric, measured in metrics if metric.name == "ex"), benchmark.ex_mode)
    return Provenance(
        evaluator=f"{LEARNAT}, execution accuracy",
        benchmark=benchmark.name,
        split=split,
        ex_mode=ex_mode,
        engine=SQLITE if executed_on is None else executed_on.engine,
        database_hash=benchmark.fingerprint(split) if executed_on is None else executed_on.database_hash,
        timeout_s=timeout_s,
        questions=len(verdicts),
        skipped=benchmark.skipped(split),
        failed=sum(not verdict.executed for verdict in verdicts),
        timed_out=sum(verdict.timed_out for verdict in verdicts),
        truncated=sum(verdict.truncated for verdict in verdicts),
        gold_failed=sum(verdict.gold_error is not None for verdict in verdicts),
        schema_given=schema_given,
        execute_on=None if executed_on is None else executed_on.address,
        metrics={metric.name: _of_metric(metric, measured, executed_on) for metric, measured in metrics},
    )


def _of_metric(metric: Metric, measured: Measured, executed_on: ExecutedOn | None) -> MetricProvenance:
    elsewhere = executed_on if measured.executes == "run" else None
    own = None if measured.executes == "nothing" else SQLITE
    return MetricProvenance(
        evaluator=metric.evaluator,
        comparison=measured.comparison,
        engine=own if elsewhere is None else elsewhere.engine,
        database_hash=measured.database_hash if elsewhere is None else elsewhere.database_hash,
        questions=measured.scored,
        not_scored=len(measured.values) - measured.scored,
        timed_out=measured.timed_out,
        truncated=measured.truncated,
        gold_failed=measured.gold_failed,
        control=measured.control,
    )
