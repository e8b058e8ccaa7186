"""The table of calls.csv as Markdown and, with --plot, the curves as calls.svg beside it.

    python experiments/calls/report.py [FOLDER] [--plot]

FOLDER holds calls.csv; without one it is the folder of this file. Rows of several checkpoints become means with the
lowest and the highest EX. Drawing alone needs matplotlib.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from points import FILE_NAME, Point, Summary, read, summarise

from learnat.errors import LearnatError

VOTE, STOPPED = "vote", "vote, early stop"
IN_SIGHT = 0.25
"""Methods whose EX is always this far below the best would squeeze the other curves into one: the title names them."""


def markdown(points: Sequence[Point]) -> str:
    """The table, a line a method, and below it what the rows say beyond it. Raises as ``summarise`` does."""
    summaries = summarise(points)
    # Runs side by side come in any order.
    labels = sorted({point.label for point in points})
    several = len(labels) > 1
    cells = {(each.method, each.n): _cell(each, several) for each in summaries}
    sizes = sorted({each.n for each in summaries})
    rows = [["method", f"n = {sizes[0]}", *map(str, sizes[1:])]]
    for method in dict.fromkeys(each.method for each in summaries):
        rows.append([method, *(cells.get((method, n), "–") for n in sizes)])
    header, *body = ("| " + " | ".join(row) + " |" for row in rows)
    of = f"mean (lowest–highest) of the checkpoints {', '.join(labels)}" if several else "one checkpoint"
    title = f"EX in per cent · tokens a question; {points[0].questions} questions, {of}:"
    remarks = _remarks({(each.method, each.n): each for each in summaries})
    return "\n".join([title, "", header, "|---" * len(rows[0]) + "|", *body, "", *remarks])


def _cell(each: Summary, several: bool) -> str:
    spread = f" ({100 * each.low:.1f}–{100 * each.high:.1f})" if several else ""
    return f"{100 * each.ex:.1f}{spread} · {each.tokens / 1000:.1f} K"


def _remarks(summaries: dict[tuple[str, int], Summary]) -> list[str]:
    saved = [
        f"{100 * (1 - stopped.calls / summaries[VOTE, n].calls):.0f} % at n = {n}"
        for (method, n), stopped in summaries.items()
        if method == STOPPED and n > 1 and (VOTE, n) in summaries
    ]
    lines = [f"- Calls that early stop saves: {', '.join(saved)}."] if saved else []
    votes = [each for (method, _), each in summaries.items() if method == VOTE]
    most = max(votes, key=lambda each: each.n, default=None)
    if most is not None and most.any_right is not None and most.failed is not None:
        lines.append(
            f"- Of {most.n} samples one or more is right for {100 * most.any_right:.1f} % of the questions; "
            f"{100 * most.failed:.1f} % of the samples fail or find nothing."
        )
    return lines


def plot(points: Sequence[Point], path: Path) -> None:
    """EX against samples and against tokens, a line a method, with the range over checkpoints where there are several.

    Raises ``LearnatError`` where matplotlib is not installed, and as ``summarise`` does.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise LearnatError("Drawing needs matplotlib: pip install -e '.[plots]', or leave --plot out.") from error
    matplotlib.use("Agg")
    # Otherwise every drawing of the same rows has other names in it.
    matplotlib.rcParams["svg.hashsalt"] = "calls"
    from matplotlib import pyplot

    summaries = summarise(points)
    best = max(each.ex for each in summaries)
    lines = {each.method: [other for other in summaries if other.method == each.method] for each in summaries}
    far = [method for method, line in lines.items() if max(each.ex for each in line) < best - IN_SIGHT]
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), sharey=True)
    for method, line in lines.items():
        if method in far:
            continue
        style = "x" if len(line) == 1 else "o-"
        mean = [100 * each.ex for each in line]
        below, above = [100 * (each.ex - each.low) for each in line], [100 * (each.high - each.ex) for each in line]
        for axis, values in zip(axes, ([each.n for each in line], [each.tokens for each in line]), strict=True):
            if any(below) or any(above):
                axis.errorbar(values, mean, (below, above), fmt=style, label=method, markersize=4, linewidth=1)
            else:
                axis.plot(values, mean, style, label=method, markersize=4, linewidth=1)
    for axis, label in zip(axes, ("samples a question", "tokens a question (prompt and completion)"), strict=True):
        axis.set(xlabel=label, xscale="log")
        axis.grid(alpha=0.3)
    sizes = sorted({each.n for each in summaries})
    axes[0].set_xticks(sizes, list(map(str, sizes)))
    axes[0].set_xticks([], minor=True)
    axes[0].set_ylabel("EX, %")
    if far:
        axes[0].set_title(f"too low to be shown: {'; '.join(far)}", fontsize="x-small", loc="left")
    axes[1].legend(fontsize="x-small")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    parser.add_argument("--plot", action="store_true", help="draw calls.svg into the folder")
    given = parser.parse_args(arguments)
    points = read(given.folder / FILE_NAME)
    if not points:
        raise LearnatError(f"{given.folder / FILE_NAME} is not there or has no rows: curve.py writes it.")
    print(markdown(points))
    if given.plot:
        plot(points, given.folder / "calls.svg")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except LearnatError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
