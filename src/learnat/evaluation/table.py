"""Tables of scores: per metric one row a stage and split, one column a difficulty; and one by SQL feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from learnat.evaluation.formats import Rows
from learnat.evaluation.registry import NOT_SHARES, TITLES

Metrics = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""``{stage: {split: scores}}``, as train.py writes it to metrics.json; ``scores`` is ``Scores.as_dict()``."""

NOT_METRICS = {"intervals", "scored", "questions", "features", "provenance"}
_SAID = (
    ("comparison", "comparison"),
    ("database_hash", "databases"),
    ("engine", ""),
    ("schema_given", "schema given:"),
    ("evaluator", "evaluator:"),
)
_COUNTS = (
    ("skipped", "skipped"),
    ("failed", "did not run"),
    ("unanswered", "of these without an answer"),
    ("not_scored", "not scored"),
    ("timed_out", "timed out"),
    ("truncated", "cut by a cap"),
    ("gold_failed", "gold failed"),
)
_ALWAYS_SAID = ("skipped", "failed", "timed_out")


def rows(metrics: Metrics, metric: str = "ex", title: str | None = None) -> Rows:
    """The cells, times 100, ``all`` with its 95 % interval; below, what the figures must be read with.

    The column ``n`` is how many questions the metric scored. A level's figure says so itself where it is not all of the
    level's questions.
    """
    scores = [
        (stage, split, of_split)
        for stage, splits in metrics.items()
        for split, of_split in splits.items()
        if metric in of_split
    ]
    levels = list(dict.fromkeys(level for _, _, of_split in scores for level in of_split[metric]))
    cells = tuple(
        (stage, split, _questions(of_split, metric), *(_cell(of_split, metric, level) for level in levels))
        for stage, split, of_split in scores
    )
    return Rows(
        title=title or f"{_title(metric)}, {'× 100' if metric in NOT_SHARES else '%'}",
        columns=("stage", "split", "n", *levels),
        rows=cells,
        note=_note([of_split for _, _, of_split in scores], metric),
        labels=2,
    )


def feature_rows(scores: Mapping[str, Any], of: str = "") -> Rows:
    """One split's figures, times 100, by what the gold query uses: one column a metric; ``of`` says in the title whose.

    The note holds what each metric's own table says, so that this one may be copied alone. The column ``n`` is how
    many questions there are of a feature; a figure of fewer says of how many.
    """
    names = list(dict.fromkeys(name for by_metric in scores["features"].values() for name in by_metric))
    lines = []
    for feature, by_metric in scores["features"].items():
        questions = max((figure["questions"] for figure in by_metric.values()), default=0)
        lines.append((feature, str(questions), *(_feature_cell(by_metric.get(name), questions) for name in names)))
    return Rows(
        title="By what the gold query uses, × 100" + (f": {of}" if of else ""),
        columns=("feature", "n", *map(_title, names)),
        rows=tuple(lines),
        note=" ".join(
            filter(
                None,
                (
                    "n: questions, each in every row that applies to it; beside a figure, where its metric scored "
                    "fewer. In brackets: 95 % intervals.",
                    _note_of_several(scores, names),
                ),
            )
        ),
        labels=1,
    )


def metric_names(metrics: Metrics) -> list[str]:
    """The metrics that occur, in order of appearance: each makes a table of its own."""
    return list(
        dict.fromkeys(
            name
            for splits in metrics.values()
            for of_split in splits.values()
            for name in of_split
            if name not in NOT_METRICS
        )
    )


def _title(metric: str) -> str:
    return TITLES.get(metric, metric.upper())


def _questions(of_split: Mapping[str, Any], metric: str) -> str:
    """How many questions the metric scored."""
    own = of_split.get("provenance", {}).get("metrics", {}).get(metric, {})
    return str(own.get("questions", of_split.get("questions", {}).get("all", "")))


def _cell(of_split: Mapping[str, Any], metric: str, level: str) -> str:
    value = of_split[metric].get(level)
    interval = of_split.get("intervals", {}).get(metric, {}).get(level) if level == "all" else None
    scored, questions = (of_split.get(key, {}) for key in ("scored", "questions"))
    # The column n says it of all of them.
    n = None if level == "all" else scored.get(metric, {}).get(level)
    return _figure(value, interval, None if n == questions.get(level) else n)


def _feature_cell(figure: Mapping[str, Any] | None, questions: int) -> str:
    if figure is None:
        return "–"
    n = figure["questions"]
    return _figure(figure["value"], figure["interval"], None if n == questions else n)


def _figure(value: float | None, interval: Sequence[float] | None, n: int | None = None) -> str:
    if value is None:
        return "–"
    shown = f"{100 * value:.1f}" + (f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]" if interval else "")
    return shown if n is None else f"{shown} (n {n})"


def _note_of_several(scores: Mapping[str, Any], metrics: Sequence[str]) -> str:
    """What is said of all ``metrics`` once, then what each alone says."""
    parts = {metric: _parts([scores], metric) for metric in metrics}
    shared = [part for part in next(iter(parts.values()), []) if all(part in of_one for of_one in parts.values())]
    own = {metric: [part for part in of_one if part not in shared] for metric, of_one in parts.items()}
    sentences = ["; ".join(shared), *(f"{_title(metric)}: {'; '.join(said)}" for metric, said in own.items() if said)]
    return ". ".join(filter(None, sentences))


def _note(scores: Sequence[Mapping[str, Any]], metric: str) -> str:
    return "; ".join(_parts(scores, metric))


def _parts(scores: Sequence[Mapping[str, Any]], metric: str) -> list[str]:
    """Evaluator, comparison mode, databases, engine, demonstrations, and counts of what is no plain verdict."""
    found = [_provenance(of_split["provenance"], metric) for of_split in scores if "provenance" in of_split]
    if not found:
        return []
    parts = [
        f"{label} {', '.join(dict.fromkeys(_said(provenance[key]) for provenance in found))}".strip()
        for key, label in _SAID
        if all(key in provenance for provenance in found)
    ]
    controls = [provenance["control"] for provenance in found if provenance.get("control") is not None]
    if controls:
        parts.append(f"gold against itself {'/'.join(f'{100 * control:.1f}' for control in controls)}")
    solved = [provenance["demonstrations"] for provenance in found if provenance.get("demonstrations") is not None]
    if solved:
        told = dict.fromkeys(f"{each['count']} ({each['digest']})" for each in solved)
        parts.append(f"demonstrations {', '.join(told)}")
    # Counts follow the rows of the table where they differ.
    for key, label in _COUNTS:
        counts = [provenance.get(key, 0) for provenance in found]
        if any(counts) or key in _ALWAYS_SAID:
            parts.append(f"{label} {counts[0] if len(set(counts)) == 1 else '/'.join(map(str, counts))}")
    return parts


def _said(value: object) -> str:
    """An engine is None where there was nothing for it to do."""
    return "nothing executed" if value is None else str(value)


def _provenance(of_split: Mapping[str, Any], metric: str) -> Mapping[str, Any]:
    """What is said of all metrics, and over it what is said of this one."""
    own = of_split.get("metrics", {}).get(metric)
    if own is None:
        return {**of_split, "comparison": of_split["ex_mode"]}
    return {**of_split, **own}
