"""synthesize.py: search trees of a benchmark's questions, in the run folder or, for training, in the cache."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from learnat.benchmarks.types import Benchmark
from learnat.recipes.launchers import cpus_of_a_job
from learnat.synthesis.runner import read_summary, synthesize
from learnat.synthesis.settings import digest, schema_digests, settings_text, source_digest
from learnat.synthesis.shard import Shard
from learnat.synthesis.summary import print_summary
from learnat.synthesis.synthesizer import Synthesizer

console = Console(soft_wrap=True)


def run(cfg: DictConfig) -> None:
    """Write trees.jsonl and summary.json of ``cfg.data.split``, or of ``cfg.shard`` of it, into the run folder.

    A shard without a question says so in place of a summary.

    The same command with the same ``run_dir`` goes on where it stopped. Raises ``LearnatError`` as ``synthesize`` does.
    """
    shard = Shard.parse(cfg.shard) if cfg.shard is not None else None
    benchmark: Benchmark = instantiate(cfg.data.benchmark)
    synthesizer = synthesizer_of(cfg)
    synthesizer.proposer.check(benchmark, cfg.data.split)
    questions = benchmark.examples(cfg.data.split)
    empty = shard is not None and not shard.of(questions)
    folder = Path(cfg.run_dir)
    workers = cfg.workers or cpus_of_a_job(shard.count if shard is not None else None)
    try:
        synthesize(benchmark, cfg.data.split, synthesizer, folder, workers, shard=shard, unanswered=cfg.unanswered)
    except KeyboardInterrupt:
        print_summary(read_summary(benchmark, cfg.data.split, synthesizer.rules, folder, shard), console)
        console.print("Interrupted: what is done is kept, the same command with this run_dir goes on.")
        raise
    if empty:
        console.print(
            f"Shard {shard} is empty: there are more shards than questions of {cfg.data.split!r} ({len(questions):,}). "
            "A merge needs this folder all the same.",
            highlight=False,
        )
        return
    print_summary(read_summary(benchmark, cfg.data.split, synthesizer.rules, folder, shard), console)


def synthesizer_of(cfg: DictConfig) -> Synthesizer:
    """What the config groups proposer, search, pruning and reward, ``seed`` and ``executor`` describe."""
    return Synthesizer(
        proposer=instantiate(cfg.proposer, _convert_="all"),
        search=instantiate(cfg.search),
        rules=[instantiate(rule) for rule in cfg.pruning.rules],
        reward=instantiate(cfg.reward),
        seed=cfg.seed,
        timeout_s=cfg.executor.timeout_s,
        max_rows=cfg.executor.max_rows,
    )


def ensure_trees(cfg: DictConfig, benchmark: Benchmark, split: str, cache_dir: Path, label: str = "synthesis") -> Path:
    """The trees.jsonl that training on ``split`` learns from, made now if it is not in the cache.

    ``label`` begins the line that sums them up.

    The folder, ``cache_dir/trees/<benchmark>-<split>-<digest>``, is named by everything the trees depend on: questions,
    databases, proposer, search, pruning, reward, seed, and the code. A file lock lets several processes ask at once.
    """
    synthesizer = synthesizer_of(cfg)
    synthesizer.proposer.check(benchmark, split)
    examples = benchmark.examples(split)
    settings = settings_text(
        {
            "fingerprint": benchmark.fingerprint(split),
            "synthesizer": synthesizer,
            "examples": [example.example_id for example in examples],
            "schemas": schema_digests(benchmark, examples),
        }
    )
    folder = cache_dir / "trees" / f"{benchmark.name}-{split}-{digest(settings, source_digest())}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f"{folder.name}.lock"):
        path = synthesize(benchmark, split, synthesizer, folder, cfg.workers, unanswered=cfg.unanswered)
        summary = read_summary(benchmark, split, synthesizer.rules, folder)
    console.print(f"{label}: {summary.trees} trees, {summary.solved:.1%} solved, in {folder}")
    return path
