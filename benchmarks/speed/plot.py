"""Bars of a training benchmark's CSV file: each side's best with and without compilation, case by case.

    python benchmarks/speed/plot.py FOLDER

reads preference.csv and sft.csv in FOLDER, as far as they are there, and writes an SVG file beside each.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

COLOURS = {"ours": "#0b6e4f", "packed": "#0b6e4f", "TRL": "#8d99ae", "padded": "#8d99ae"}
UNITS = {"preference": "pairs a second", "sft": "examples a second"}


def best(path: Path) -> dict[str, dict[tuple[str, bool], float]]:
    """For each case the highest rate by side and whether it was compiled."""
    rates: dict[str, dict[tuple[str, bool], float]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if not row["error"]:
                of_case, key = rates.setdefault(row["case"], {}), (row["side"], row["compiled"] == "True")
                of_case[key] = max(of_case.get(key, 0.0), float(row["rate"]))
    return rates


def draw(axes: Any, case: str, rates: dict[tuple[str, bool], float]) -> None:
    """One bar a side and way of compiling, the highest first."""
    ordered = sorted(rates.items(), key=lambda pair: pair[1])
    labels = [f"{side}{', compiled' if compiled else ''}" for (side, compiled), _ in ordered]
    bars = axes.barh(labels, [rate for _, rate in ordered], color=[COLOURS[side] for (side, _), _ in ordered])
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set_title(f"case {case}" if len(case) == 1 else case)
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    for name, unit in UNITS.items():
        path = Path(sys.argv[1]) / f"{name}.csv"
        if not path.exists():
            continue
        cases = best(path)
        figure, axes = plt.subplots(1, len(cases), figsize=(4.5 * len(cases), 2.6), squeeze=False, layout="constrained")
        for ax, (case, rates) in zip(axes[0], sorted(cases.items()), strict=True):
            draw(ax, case, rates)
        figure.supxlabel(unit)
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
        plt.close(figure)
        print(path.with_suffix(".svg"))


if __name__ == "__main__":
    main()
