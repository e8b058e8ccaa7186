"""How many questions a second decomposition synthesis solves on this machine, without a language model.

    python benchmarks/synthesis.py [KEY=VALUE …]

takes overrides of conf/synthesize.yaml (``data=spider proposer.granularity=block workers=1``). Two runs, of few
questions and of all, tell the start-up (spawning processes, first imports) from the rate behind it.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from learnat.benchmarks.types import Benchmark
from learnat.recipes.synthesize import synthesizer_of
from learnat.sql.execution import usable_cpus
from learnat.synthesis.runner import read_summary, synthesize

CONF = Path(__file__).parents[1] / "conf"
FEW = 64
"""Questions of the short run: enough for the runner to start two processes."""


def config(overrides: list[str], limit: int | None) -> DictConfig:
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        limited = [] if limit is None else [f"data.limit={limit}"]
        return compose("synthesize", overrides=["data.split=train", *overrides, *limited])


def timed(cfg: DictConfig) -> tuple[int, float, float]:
    """Questions, share of them solved, seconds."""
    benchmark: Benchmark = instantiate(cfg.data.benchmark)
    benchmark.examples(cfg.data.split)
    synthesizer = synthesizer_of(cfg)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        synthesize(benchmark, cfg.data.split, synthesizer, Path(folder), cfg.workers)
        seconds = time.perf_counter() - started
        summary = read_summary(benchmark, cfg.data.split, synthesizer.rules, Path(folder))
    return summary.trees, summary.solved, seconds


def main() -> None:
    overrides = sys.argv[1:]
    few, _, start = timed(config(overrides, FEW))
    cfg = config(overrides, None)
    questions, solved, seconds = timed(cfg)
    rate = (questions - few) / (seconds - start) if questions > few else questions / seconds
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    table = Table("what", "value", title=f"Synthesis: {' '.join(overrides) or 'the embedded benchmark'}")
    for what, value in (
        ("questions", f"{questions:,}"),
        ("solved", f"{solved:.4f}"),
        ("processes, at most", f"{cfg.workers or usable_cpus()}"),
        (f"seconds for the first {few}, start-up included", f"{start:.2f}"),
        ("seconds for all", f"{seconds:.2f}"),
        ("questions a second after start-up", f"{rate:.1f}"),
        ("peak memory of the largest process, MiB", f"{peak / 1024:.0f}"),
    ):
        table.add_row(what, value)
    Console().print(table)


if __name__ == "__main__":
    main()
