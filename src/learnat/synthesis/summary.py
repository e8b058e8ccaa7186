"""What a synthesis run gave, as numbers (``summary.json``) and as tables."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from learnat.synthesis.tree import SearchTree, TreeStats


@dataclass(frozen=True)
class Solved:
    """``solved`` is a share in [0, 1] of ``questions``."""

    questions: int
    solved: float


@dataclass(frozen=True)
class Summary:
    """One run. Shares are in [0, 1]; ``seconds`` is time spent in searches, summed over worker processes.

    ``questions`` is how many were asked for, ``trees`` how many are there (fewer after an interrupt); shares are over
    trees. ``skipped`` questions have no database file and are in neither. ``by_depth`` goes by ``TreeStats.depth``,
    ``depth_histogram`` counts solved trees by the steps of their shortest decomposition, ``branching`` is the mean
    number of distinct proposals of an expanded node, pruned ones included, and ``pruned`` counts nodes by rule.
    ``calls_per_solved`` and ``nodes_per_solved`` are those of all trees, unsolved ones too, over the solved trees.
    ``failed`` trees are those whose proposer or search raised an error, ``unanswered`` those of questions that the
    proposer gave no answer to; ``timed_out`` counts proposals that were left
    out of the trees because running them reached the time limit, ``rejected`` counts failed attempts and replies that
    were no steps, by reason.
    """

    questions: int
    trees: int
    skipped: int
    failed: int
    unanswered: int
    solved: float
    by_depth: dict[str, Solved]
    by_difficulty: dict[str, Solved]
    depth_histogram: dict[str, int]
    nodes: int
    nodes_per_tree: float
    branching: float
    simulations: int
    calls: int
    cached_calls: int
    calls_per_solved: float
    nodes_per_solved: float
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    timed_out: int
    pruned: dict[str, int]
    sources: dict[str, int]
    rejected: dict[str, int]


_ADDED_UP = tuple(field.name for field in fields(TreeStats) if field.type == "int" and field.name != "depth")


def summarize(
    trees: Iterable[SearchTree],
    difficulty: Mapping[str, str],
    rules: Sequence[str] = (),
    levels: Sequence[str] = (),
    skipped: int = 0,
) -> Summary:
    """The summary of those ``trees`` whose example id ``difficulty`` lists; its ids without a tree are not done yet.

    ``rules`` and ``levels`` give the order of pruning rules and difficulties; a rule that pruned nothing shows 0.
    """
    # Trees are looked at one by one: a run's need not fit into memory together.
    outcomes: list[_Outcome] = []
    totals: Counter[str] = Counter()
    pruned: Counter[str] = Counter(dict.fromkeys(rules, 0))
    sources: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    for tree in trees:
        if tree.example_id not in difficulty:
            continue
        stats = tree.stats
        outcomes.append(_Outcome(difficulty[tree.example_id], stats.depth, stats.solved, stats.seconds))
        totals.update({name: getattr(stats, name) for name in _ADDED_UP})
        parents = {node.parent for node in tree.nodes}
        bare = not tree.nodes and not stats.calls
        totals.update(
            nodes=len(tree.nodes),
            parents=len(parents),
            failed=bare and not stats.rejected,
            unanswered=bare and bool(stats.rejected),
        )
        rejected.update(stats.rejected)
        pruned.update(node.pruned_by for node in tree.nodes if node.pruned_by is not None)
        sources.update(node.source for node in tree.nodes)
    solved = sum(outcome.solved for outcome in outcomes)
    depths = Counter(outcome.depth for outcome in outcomes if outcome.solved)
    known_levels = [*levels, *sorted({outcome.difficulty for outcome in outcomes} - {*levels})]
    return Summary(
        questions=len(difficulty),
        trees=len(outcomes),
        skipped=skipped,
        failed=int(totals["failed"]),
        unanswered=int(totals["unanswered"]),
        solved=_ratio(solved, len(outcomes)),
        by_depth=_grouped(outcomes, lambda outcome: outcome.depth, sorted({outcome.depth for outcome in outcomes})),
        by_difficulty=_grouped(outcomes, lambda outcome: outcome.difficulty, known_levels),
        depth_histogram={str(depth): depths[depth] for depth in sorted(depths)},
        nodes=int(totals["nodes"]),
        nodes_per_tree=_ratio(totals["nodes"], len(outcomes)),
        branching=_ratio(totals["nodes"], totals["parents"]),
        simulations=int(totals["simulations"]),
        calls=int(totals["calls"]),
        cached_calls=int(totals["cached_calls"]),
        calls_per_solved=_ratio(totals["calls"], solved),
        nodes_per_solved=_ratio(totals["nodes"], solved),
        prompt_tokens=int(totals["prompt_tokens"]),
        completion_tokens=int(totals["completion_tokens"]),
        # Exact, so that it does not depend on the order of trees: a merge's is that of a whole run.
        seconds=round(math.fsum(outcome.seconds for outcome in outcomes), 3),
        timed_out=int(totals["timed_out"]),
        pruned=dict(pruned),
        sources=dict(sorted(sources.items())),
        rejected=dict(sorted(rejected.items())),
    )


class _Outcome(NamedTuple):
    """What the tables need of one tree."""

    difficulty: str
    depth: int
    solved: bool
    seconds: float


def _grouped(
    outcomes: Sequence[_Outcome], key: Callable[[_Outcome], Hashable], order: Sequence[Hashable]
) -> dict[str, Solved]:
    """The share solved of each group that has a question, in ``order``."""
    groups: dict[Hashable, list[bool]] = {}
    for outcome in outcomes:
        groups.setdefault(key(outcome), []).append(outcome.solved)
    return {
        str(name) or "unknown": Solved(len(groups[name]), _ratio(sum(groups[name]), len(groups[name])))
        for name in order
        if name in groups
    }


def _ratio(part: float, whole: float) -> float:
    return round(part / whole, 6) if whole else 0.0


def write_summary(summary: Summary, path: Path) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(summary), indent=2) + "\n", "utf-8")
    os.replace(temporary, path)


def print_summary(summary: Summary, console: Console | None = None) -> None:
    """Four small tables: the run, solved by depth and by difficulty, nodes by pruning rule and by source."""
    console = console or Console()
    run = Table(title="Decomposition synthesis", show_header=False)
    run.add_column()
    run.add_column(justify="right")
    for name, value in (
        ("questions", f"{summary.trees} of {summary.questions}"),
        ("skipped (no database file)", str(summary.skipped)),
        ("failed (an error, see the log)", str(summary.failed)),
        ("unanswered by the proposer", str(summary.unanswered)),
        ("solved", f"{summary.solved:.4f}"),
        ("nodes a question", f"{summary.nodes_per_tree:.2f}"),
        ("branching", f"{summary.branching:.2f}"),
        ("proposer calls (cached)", f"{summary.calls} ({summary.cached_calls})"),
        ("calls / nodes per solved question", f"{summary.calls_per_solved:.2f} / {summary.nodes_per_solved:.2f}"),
        ("tokens in / out", f"{summary.prompt_tokens} / {summary.completion_tokens}"),
        ("proposals timed out", str(summary.timed_out)),
        ("search seconds, all workers", f"{summary.seconds:.1f}"),
    ):
        run.add_row(name, value)
    console.print(run)
    console.print(_solved_table("Solved by depth (steps)", "depth", summary.by_depth, summary.depth_histogram))
    console.print(_solved_table("Solved by difficulty", "difficulty", summary.by_difficulty))
    console.print(
        _count_table(
            "Nodes by pruning rule", {"(kept)": summary.nodes - sum(summary.pruned.values()), **summary.pruned}
        )
    )
    console.print(_count_table("Nodes by source", summary.sources))
    if summary.rejected:
        console.print(_count_table("Failed attempts and rejected replies", summary.rejected, "count"))


def _solved_table(title: str, name: str, groups: dict[str, Solved], histogram: dict[str, int] | None = None) -> Table:
    table = Table(title=title)
    table.add_column(name)
    table.add_column("questions", justify="right")
    table.add_column("solved", justify="right")
    widest = max((histogram or {}).values(), default=0)
    if histogram is not None:
        table.add_column("solved trees")
    for key, group in groups.items():
        row = [key, str(group.questions), f"{group.solved:.4f}"]
        if histogram is not None:
            count = histogram.get(key, 0)
            row.append(f"{'█' * round(24 * count / widest) if widest else ''} {count}")
        table.add_row(*row)
    return table


def _count_table(title: str, counts: Mapping[str, int], what: str = "nodes") -> Table:
    table = Table(title=title)
    table.add_column("")
    table.add_column(what, justify="right")
    for name, count in counts.items():
        table.add_row(name, str(count))
    return table
