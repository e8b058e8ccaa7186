"""How long it takes to score Spider's dev split, start-up included: by EX and EM, and by test-suite accuracy.

    python benchmarks/evaluation.py [--predictions FILE] [--official FOLDER [--official-python PYTHON]]

reads ``spider/`` below the folder that ``LEARNAT_DATA`` names, and measures nothing without it. The predictions are the
gold queries unless a file names a model's, which take longer: nothing need be executed twice for what equals gold.

``--official`` names a checkout of taoyds/test-suite-sql-eval: its evaluator then scores the same queries, in turn with
ours. Its requirements (nltk with its tokenizer data, sqlparse, tqdm) must be there for ``--official-python``.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from learnat.benchmarks.spider import SpiderBenchmark
from learnat.evaluation.predictions import read_predictions
from learnat.sql.execution import usable_cpus

ROOT = Path(__file__).parents[1]
ROUNDS = 3


@dataclass(frozen=True)
class Timed:
    """One whole process and its children: elapsed and CPU time."""

    seconds: float
    cpu_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictions", type=Path)
    parser.add_argument("--official", type=Path)
    parser.add_argument("--official-python", default=sys.executable)
    given = parser.parse_args()
    spider = Path(os.environ.get("LEARNAT_DATA", "")) / "spider"
    if not (spider / "test_suite_database").is_dir():
        print("evaluation.py: skipped: LEARNAT_DATA names no folder with spider/ and its test_suite_database/ in it.")
        return
    predictions = (given.predictions or spider / "dev_gold.sql").resolve()
    with tempfile.TemporaryDirectory() as folder:
        commands = our_commands(spider, predictions, Path(folder))
        if given.official is not None:
            commands |= official_commands(spider, predictions, given.official, given.official_python, Path(folder))
        fastest = in_turn(commands)
    table = Table("command", "seconds", "CPU seconds", title=f"{usable_cpus()} CPUs; the fastest of {ROUNDS} processes")
    for what, timed in fastest.items():
        table.add_row(what, f"{timed.seconds:.2f}", f"{timed.cpu_seconds:.2f}")
    Console().print(table)


def our_commands(spider: Path, predictions: Path, folder: Path) -> dict[str, list[str]]:
    script = [sys.executable, str(ROOT / "evaluate.py"), "data=spider", f"data.root={spider}"]
    given = [f"predictions={predictions}", f"run_dir={folder / 'run'}"]
    return {
        "EX and EM": [*script, *given, "metrics=[em]"],
        "EX and test suite": [*script, *given, "metrics=[ts]"],
    }


def official_commands(
    spider: Path, predictions: Path, official: Path, python: str, folder: Path
) -> dict[str, list[str]]:
    """The official evaluator on what it can read: one query a line, no questions without test-suite databases."""
    benchmark = SpiderBenchmark(spider, samples=0)
    found = read_predictions(predictions)

    def command(kind: str, databases: Path) -> list[str]:
        examples = [e for e in benchmark.examples("dev") if (databases / e.db_id).is_dir()]
        gold, predicted = folder / f"{kind}_gold.txt", folder / f"{kind}_predicted.txt"
        gold.write_text("".join(f"{' '.join(e.gold_sql.split())}\t{e.db_id}\n" for e in examples))
        predicted.write_text("".join(f"{' '.join(found[e.index].split()) or 'SELECT'}\n" for e in examples))
        files = ["--gold", gold, "--pred", predicted, "--db", databases, "--table", spider / "tables.json"]
        return [python, str(official / "evaluation.py"), "--etype", kind, *map(str, files)]

    return {
        "EX and EM, official": command("all", spider / "database"),
        "test suite, official": command("exec", spider / "test_suite_database"),
    }


def in_turn(commands: Mapping[str, Sequence[str]]) -> dict[str, Timed]:
    """Each command's fastest process; they take turns, so that a machine that slows down slows them all."""
    rounds = [{what: timed(command) for what, command in commands.items()} for _ in range(ROUNDS)]
    return {what: min((turn[what] for turn in rounds), key=lambda timed: timed.seconds) for what in commands}


def timed(command: Sequence[str]) -> Timed:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    return Timed(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


if __name__ == "__main__":
    main()
