"""The scripts of experiments/calls, as modules and as commands."""

from __future__ import annotations

import csv
import importlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "experiments" / "calls"
SIZES = ["data.num_databases=1", "data.num_unseen_databases=1", "data.train_questions=2", "data.dev_questions=2"]


@contextmanager
def imported() -> Iterator[dict[str, ModuleType]]:
    names = ("points", "curve", "report", "recall")
    sys.path.insert(0, str(FOLDER))
    yield {name: importlib.import_module(name) for name in names}
    sys.path.remove(str(FOLDER))
    for name in names:
        del sys.modules[name]


def said(folder: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / script), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
