"""What a verified decomposition costs: solved share against proposer calls, for the jobs of a synthesis sweep.

    python -m learnat.reporting.search_cost SWEEP_FOLDER [-o FOLDER]

A search that stops at its first solution has spent, on a question it solved, exactly the calls that it needed: so one
run with a large budget tells the solved share and the mean cost for every smaller one. That makes searches comparable
*at the same solved share*, which their final figures are not.

Writes ``cost.csv``, one row a setting (its seeds together), and ``cost.svg``.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.table import Table

from learnat.errors import LearnatError
from learnat.reporting.jobs import ERROR_FILE, job_folders, overrides_of
from learnat.synthesis.tree import read_trees

SHARES = (0.5, 0.8, 0.9, 0.95, 0.99)
"""Solved shares at which costs are compared."""


@dataclass(frozen=True)
class Cost:
    """One run: the proposer calls of each question it solved, ascending, and of each that it did not."""

    solved: tuple[int, ...]
    unsolved: tuple[int, ...]
    nodes: int
    parents: int
    example_ids: frozenset[str]

    @property
    def questions(self) -> int:
        return len(self.solved) + len(self.unsolved)

    @property
    def share(self) -> float:
        return len(self.solved) / self.questions

    @property
    def branching(self) -> float:
        """Mean number of distinct proposals of an expanded node."""
        return self.nodes / max(self.parents, 1)

    def calls_per_solved(self, budget: int | None = None) -> float:
        """Calls over all questions, each ended at ``budget`` calls, for one solved question; inf if none is."""
        spent = [*self.solved, *self.unsolved]
        if budget is None:
            return sum(spent) / len(self.solved) if self.solved else float("inf")
        solved = sum(calls <= budget for calls in self.solved)
        return sum(min(calls, budget) for calls in spent) / solved if solved else float("inf")

    def budget_for(self, share: float) -> int | None:
        """The least budget of calls a question that solves ``share`` of the questions; None if none does."""
        needed = max(-(-share * self.questions // 1), 1)
        return self.solved[int(needed) - 1] if needed <= len(self.solved) else None


def read_cost(trees: Path) -> Cost:
    """The cost of the run that wrote ``trees``. Raises ``LearnatError`` where that is no tree file, or an empty one."""
    solved: list[int] = []
    unsolved: list[int] = []
    nodes = parents = 0
    example_ids = set()
    for tree in read_trees(trees):
        (solved if tree.stats.solved else unsolved).append(tree.stats.calls)
        nodes += len(tree.nodes)
        parents += len({node.parent for node in tree.nodes})
        example_ids.add(tree.example_id)
    if not solved and not unsolved:
        raise LearnatError(f"{trees} holds no search tree: wait for its run to end, or leave its folder out.")
    return Cost(tuple(sorted(solved)), tuple(sorted(unsolved)), nodes, parents, frozenset(example_ids))


def read_sweep(folder: Path) -> dict[tuple[tuple[str, str], ...], list[Cost]]:
    """The runs below ``folder`` by the overrides that differ between them, runs that differ in their seed together.

    Raises ``LearnatError`` when it holds no job, a job failed, or jobs have trees of different questions.
    """
    jobs = {job: overrides_of(job) for job in job_folders(folder)}
    if not jobs:
        raise LearnatError(f"{folder} holds no jobs of a sweep: give the folder that `synthesize.py -m …` named last.")
    costs = _complete_costs(jobs)
    keys = dict.fromkeys(key for overrides in jobs.values() for key in overrides if key != "seed")
    varied = [key for key in keys if len({overrides.get(key) for overrides in jobs.values()}) > 1]
    groups: dict[tuple[tuple[str, str], ...], list[Cost]] = defaultdict(list)
    for job, overrides in jobs.items():
        setting = tuple((key, overrides.get(key, "")) for key in varied)
        groups[setting].append(costs[job])
    return dict(groups)


def _complete_costs(jobs: Iterable[Path]) -> dict[Path, Cost]:
    """The cost of each job; raises ``LearnatError`` naming the folders of those that cannot be compared."""
    failed = [job for job in jobs if (job / ERROR_FILE).exists()]
    if failed:
        raise LearnatError(
            f"Failed, says their {ERROR_FILE}: {', '.join(map(str, failed))}. Run the sweep again with the same "
            "hydra.sweep.dir, it goes on where it stopped; or move these folders out of it."
        )
    costs = {job: read_cost(job / "trees.jsonl") for job in jobs}
    everything = frozenset[str]().union(*(cost.example_ids for cost in costs.values()))
    partial = [f"{job} ({cost.questions:,})" for job, cost in costs.items() if cost.example_ids != everything]
    if partial:
        raise LearnatError(
            "Costs are comparable on the same questions only, and these jobs lack trees that others have, of "
            f"{len(everything):,} questions: {', '.join(partial)}. Where a job was interrupted, run the sweep again "
            "with the same hydra.sweep.dir; a sweep over data takes one table for each."
        )
    return costs


def tabulate(groups: Mapping[tuple[tuple[str, str], ...], Sequence[Cost]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: means over the seeds; the calls at a share are empty where a seed never reaches it."""
    names = [key for key, _ in next(iter(groups))]
    header = [*names, "runs", "solved", "solved min", "solved max", "calls/solved", "nodes/solved", "branching"]
    header += [f"calls/solved at {share:.0%}" for share in SHARES]
    rows = []
    for setting, costs in groups.items():
        shares = [cost.share for cost in costs]
        row = [*(value for _, value in setting), str(len(costs)), f"{mean(shares):.4f}"]
        row += [f"{min(shares):.4f}", f"{max(shares):.4f}"]
        row += [f"{mean(cost.calls_per_solved() for cost in costs):.2f}"]
        row += [f"{mean(cost.nodes / max(len(cost.solved), 1) for cost in costs):.2f}"]
        row += [f"{mean(cost.branching for cost in costs):.2f}"]
        for share in SHARES:
            budgets = [cost.budget_for(share) for cost in costs]
            known = [
                cost.calls_per_solved(budget) for cost, budget in zip(costs, budgets, strict=True) if budget is not None
            ]
            row.append(f"{mean(known):.2f}" if len(known) == len(costs) else "")
        rows.append(row)
    return header, rows


def plot(groups: Mapping[tuple[tuple[str, str], ...], Sequence[Cost]], path: Path) -> None:
    """Solved share against the budget of calls a question, a line a setting (mean of its seeds).

    Raises ``LearnatError`` when matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise LearnatError("The plot needs matplotlib: pip install -e '.[plots]'. The table is written.") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    first = list(dict.fromkeys(setting[0][1] if setting else "" for setting in groups))
    panels, axes = pyplot.subplots(1, len(first), figsize=(4 * len(first), 3.4), sharey=True, squeeze=False)
    for setting, costs in groups.items():
        axis = axes[0][first.index(setting[0][1] if setting else "")]
        budgets = range(1, max(max(cost.solved + cost.unsolved) for cost in costs) + 1)
        curve = [mean(sum(c <= b for c in cost.solved) / cost.questions for cost in costs) for b in budgets]
        axis.step(budgets, curve, where="post", label=" ".join(value for _, value in setting[1:]) or "all")
    for axis, name in zip(axes[0], first, strict=True):
        axis.set(title=name, xlabel="proposer calls a question, at most", xscale="log", ylim=(0, 1.02))
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("share solved")
    axes[0][-1].legend(loc="lower right", fontsize="small")
    panels.tight_layout()
    panels.savefig(path, metadata={"Date": None})
    pyplot.close(panels)


def _print(header: list[str], rows: list[list[str]]) -> None:
    """The table without the columns that only the file needs."""
    shown = [place for place, name in enumerate(header) if name not in ("runs", "solved min", "solved max")]
    table = Table(*(header[place] for place in shown))
    for row in rows:
        table.add_row(*(row[place] for place in shown))
    console = Console()
    console.print(table, width=max(console.width, 140))


def _write(out: Path, table: list[list[str]]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with (out / "cost.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(table)
    except OSError as error:
        raise LearnatError(f"{out}: no table can be written there ({error.strerror}). Name another folder.") from error


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m learnat.reporting.search_cost", description=__doc__.split("\n")[0])
    parser.add_argument("sweep", type=Path, help="the folder of a sweep of synthesize.py")
    parser.add_argument("-o", "--out", type=Path, help="where cost.csv and cost.svg go; default: the sweep's folder")
    arguments = parser.parse_args()
    out: Path = arguments.out or arguments.sweep
    try:
        groups = read_sweep(arguments.sweep)
        header, rows = tabulate(groups)
        _write(out, [header, *rows])
        _print(header, rows)
        plot(groups, out / "cost.svg")
        print(f"{out / 'cost.csv'}, {out / 'cost.svg'}")
    except LearnatError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
