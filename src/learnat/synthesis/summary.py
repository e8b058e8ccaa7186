"""What a synthesis run gave, as numbers (``summary.json``) and as tables."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

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
    ``failed`` trees are those whose proposer or search raised an error; ``timed_out`` counts proposals that were left
    out of the trees because running them reached the time limit, ``rejected`` counts failed attempts and replies that
    were no steps, by reason.
    """

    questions: int
    trees: int
    skipped: int
    failed: int
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


_ADDED_UP = tuple(field.name for field in fields(TreeStats) if field.name not in ("solved", "depth", "rejected"))


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
    kept = [tree for tree in trees if tree.example_id in difficulty]
    totals: Counter[str] = Counter()
    pruned: Counter[str] = Counter(dict.fromkeys(rules, 0))
    sources: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    parents = 0
    for tree in kept:
        totals.update({name: getattr(tree.stats, name) for name in _ADDED_UP})
        rejected.update(tree.stats.rejected)
        pruned.update(node.pruned_by for node in tree.nodes if node.pruned_by is not None)
        sources.update(node.source for node in tree.nodes)
        parents += len({node.parent for node in tree.nodes})
    nodes = sum(len(tree.nodes) for tree in kept)
    solved = sum(tree.stats.solved for tree in kept)
    rank = {level: position for position, level in enumerate(levels)}
    depths = Counter(tree.stats.depth for tree in kept if tree.stats.solved)
    return Summary(
        questions=len(difficulty),
        trees=len(kept),
        skipped=skipped,
        failed=sum(not tree.nodes and not tree.stats.calls for tree in kept),
        solved=_share(kept).solved,
        by_depth=_grouped(kept, {tree.example_id: f"{tree.stats.depth:3d}" for tree in kept}),
        by_difficulty=_grouped(kept, difficulty, rank),
        depth_histogram={str(depth): depths[depth] for depth in sorted(depths)},
        nodes=nodes,
        nodes_per_tree=_ratio(nodes, len(kept)),
        branching=_ratio(nodes, parents),
        simulations=int(totals["simulations"]),
        calls=int(totals["calls"]),
        cached_calls=int(totals["cached_calls"]),
        calls_per_solved=_ratio(totals["calls"], solved),
        nodes_per_solved=_ratio(nodes, solved),
        prompt_tokens=int(totals["prompt_tokens"]),
        completion_tokens=int(totals["completion_tokens"]),
        seconds=round(totals["seconds"], 3),
        timed_out=int(totals["timed_out"]),
        pruned=dict(pruned),
        sources=dict(sorted(sources.items())),
        rejected=dict(sorted(rejected.items())),
    )


def _grouped(
    trees: Sequence[SearchTree], key: Mapping[str, str], rank: Mapping[str, int] | None = None
) -> dict[str, Solved]:
    groups: dict[str, list[SearchTree]] = {}
    for tree in trees:
        groups.setdefault(key[tree.example_id], []).append(tree)
    order = sorted(groups, key=lambda name: ((rank or {}).get(name, len(rank or ())), name))
    return {name.strip() or "unknown": _share(groups[name]) for name in order}


def _share(trees: Sequence[SearchTree]) -> Solved:
    return Solved(len(trees), _ratio(sum(tree.stats.solved for tree in trees), len(trees)))


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
