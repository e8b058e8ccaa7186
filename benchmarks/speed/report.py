"""Rows as they come, to a CSV file and the terminal, and one table at the end."""

from __future__ import annotations

import csv
import logging
import statistics
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

LIBRARIES = ("torch", "transformers", "trl", "peft", "lightning")


@dataclass(frozen=True)
class Measured:
    """One setting's steps after warm-up: for each its items (pairs or examples), tokens and seconds."""

    items: Sequence[int]
    fed_tokens: Sequence[int]
    """Positions that the model computes, padding included."""
    real_tokens: Sequence[int]
    product_tokens: Sequence[float]
    """Positions that go through the decoder's products: fewer where a part of them is left out."""
    seconds: Sequence[float]
    peak_gib: float


@dataclass(frozen=True)
class Row:
    """One line of the CSV file. Items are pairs or examples, ``rate`` is in items a second.

    Items, tokens and ``seconds`` are means of a step, ``spread`` is (max − min)/median of the seconds of an item.
    """

    case: str
    side: str
    variant: str
    compiled: bool
    items: float = 0.0
    fed_tokens: float = 0.0
    real_tokens: float = 0.0
    seconds: float = 0.0
    spread: float = 0.0
    rate: float = 0.0
    mfu: float = 0.0
    peak_gib: float = 0.0
    error: str = ""


def row(case: str, side: str, variant: str, compiled: bool, measured: Measured | str, full_rate_s: float) -> Row:
    """Totals over what was measured, whose steps may differ in size, or the error.

    ``full_rate_s`` is ``clock.full_rate_seconds``; the MFU counts padding where a side computes it.
    """
    if isinstance(measured, str):
        return Row(case, side, variant, compiled, error=measured)
    steps, seconds = len(measured.seconds), sum(measured.seconds)
    each = [s / n for s, n in zip(measured.seconds, measured.items, strict=True)]
    return Row(
        case,
        side,
        variant,
        compiled,
        items=sum(measured.items) / steps,
        fed_tokens=sum(measured.fed_tokens) / steps,
        real_tokens=sum(measured.real_tokens) / steps,
        seconds=seconds / steps,
        spread=(max(each) - min(each)) / statistics.median(each),
        rate=sum(measured.items) / seconds,
        mfu=full_rate_s * sum(measured.product_tokens) / seconds,
        peak_gib=measured.peak_gib,
    )


class Report:
    """Collects rows; ``unit`` names the items, ``baseline`` the side that the others are compared with."""

    def __init__(self, out: Path | None, name: str, unit: str, baseline: str) -> None:
        self.rows: list[Row] = []
        self._started = time.monotonic()
        self.unit, self.baseline = unit, baseline
        self.console = Console(width=190)
        self._path = out / f"{name}.csv" if out is not None else None

    def add(self, row: Row) -> None:
        """Keep and print ``row``; it is on disk at once, since the next setting may end the process."""
        self.rows.append(row)
        if self._path is not None:
            append(self._path, row)
        said = row.error or f"{row.rate:.2f} {self.unit}/s, {row.seconds:.3f} s a step, {row.peak_gib:.1f} GiB"
        passed = f"[{time.monotonic() - self._started:.0f} s]"
        self.console.print(f"{passed} {row.case} {row.side} {row.variant}: {said}", markup=False, highlight=False)

    def best(self, case: str, side: str, compiled: bool = True) -> Row | None:
        """The fastest row of a side; with ``compiled`` false among those without torch.compile."""
        rows = [
            r for r in self.rows if (r.case, r.side) == (case, side) and not r.error and (compiled or not r.compiled)
        ]
        return max(rows, key=lambda r: r.rate, default=None)

    def print_table(self, title: str) -> None:
        table = Table(title=title)
        names = ["case", "side", "variant", f"{self.unit}/step", "fed tokens", "real tokens", "token ratio", "s/step"]
        names += ["spread", f"{self.unit}/s", f"× {self.baseline}", f"× {self.baseline}, not compiled", "MFU", "GiB"]
        for name in names:
            table.add_column(name, justify="left" if name in ("case", "side", "variant") else "right")
        for r in self.rows:
            table.add_row(*self._cells(r))
        self.console.print(table)

    def _cells(self, r: Row) -> list[str]:
        if r.error:
            return [r.case, r.side, r.variant, r.error]
        best, plain = self.best(r.case, self.baseline), self.best(r.case, self.baseline, compiled=False)
        saved = f"{best.fed_tokens / best.items * r.items / r.fed_tokens:.2f}" if best else "–"
        times = [f"{r.rate / other.rate:.2f}" if other else "–" for other in (best, plain)]
        numbers = [f"{r.items:.0f}", f"{r.fed_tokens:,.0f}", f"{r.real_tokens:,.0f}", saved, f"{r.seconds:.3f}"]
        numbers += [f"{r.spread:.1%}", f"{r.rate:.2f}", *times, f"{r.mfu:.3f}", f"{r.peak_gib:.1f}"]
        return [r.case, r.side, r.variant, *numbers]


def append(path: Path, row: DataclassInstance) -> None:
    """Add a line to a CSV file, which begins with the names of the fields."""
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(row)])
        if new:
            writer.writeheader()
        writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in asdict(row).items()})


def heading(device: torch.device) -> str:
    """The device and the libraries' versions, without which a figure means nothing."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return ", ".join([name, *(f"{library} {_version(library)}" for library in LIBRARIES)])


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "missing"


def quiet() -> None:
    """Rows are the output: libraries' tips and deprecations, the same for every setting, would bury them."""
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "transformers", "trl"):
        logging.getLogger(name).setLevel(logging.ERROR)
