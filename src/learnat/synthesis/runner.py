"""Synthesis of a benchmark's split: what is made, where it is kept, and how a stopped run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from learnat.benchmarks.types import Benchmark, Example
from learnat.errors import LearnatError, nearest
from learnat.sql.execution import usable_cpus
from learnat.synthesis.pruning import PruningRule
from learnat.synthesis.run import Run
from learnat.synthesis.settings import schema_digests, settings_text, source_digest
from learnat.synthesis.shard import Shard, Split
from learnat.synthesis.store import TreeStore
from learnat.synthesis.summary import Summary, summarize, write_summary
from learnat.synthesis.synthesizer import Synthesizer
from learnat.synthesis.tree import read_trees

UNANSWERED = ("error", "skip")


def synthesize(
    benchmark: Benchmark,
    split: str,
    synthesizer: Synthesizer,
    out_dir: Path,
    workers: int | None = None,
    console: Console | None = None,
    shard: Shard | None = None,
    unanswered: str = "error",
) -> Path:
    """Make the trees of ``split`` in ``out_dir``: ``trees.jsonl``, ``summary.json`` and ``trees.settings.json``.

    Questions whose tree is there already are passed over. When all are done the file is put in the benchmark's order,
    so that it depends neither on the number of workers nor on interruptions (but for the seconds in it). A question
    whose proposer or search raises an unexpected error is logged and gets an unsolved tree without nodes.

    Args:
        workers: processes; default: the CPUs this process may use. Few questions are done without any.
        console: where progress is shown; default: standard error, and only on a terminal.
        unanswered: what becomes of a question that the proposer never answered: ``error`` leaves it open, so that the
            same command asks again, ``skip`` gives it an unsolved tree with the reasons.
        shard: make the trees of this part of the split only, and write beside them what ``shards.merge`` needs.

    Returns:
        The path of ``trees.jsonl``.

    Raises:
        LearnatError: ``out_dir`` holds trees of other or unknown settings or a corrupt line, or another synthesis
            writes there; a worker process died; the proposer cannot be had, or left questions without an answer.
        KeyboardInterrupt: after Ctrl-C, when what is done has been written and summed up.
    """
    check_unanswered(unanswered)
    examples = _examples(benchmark, split, shard)
    whole = Split.of(benchmark, split, [rule.name for rule in synthesizer.rules])
    learns = synthesizer.proposer.round_size is not None
    settings = settings_text(
        {
            "benchmark": benchmark.name,
            "split": split,
            "fingerprint": benchmark.fingerprint(split),
            "synthesizer": synthesizer,
            "schemas": schema_digests(benchmark, examples),
            "code": source_digest(),
            **(whole.settings(shard, learns) if shard is not None else {}),
        }
    )
    store = TreeStore(out_dir, settings)
    try:
        with store, Run(benchmark, examples, synthesizer, store, workers or usable_cpus(), console, unanswered) as run:
            if shard is not None:
                whole.write(out_dir)
            run.grow()
            store.sort(example.example_id for example in examples)
    finally:
        synthesizer.proposer.close()
        write_summary(read_summary(benchmark, split, synthesizer.rules, out_dir, shard), out_dir / "summary.json")
    return store.path


def check_unanswered(unanswered: object) -> None:
    """Raise ``LearnatError`` unless ``unanswered`` is one of ``UNANSWERED``."""
    if unanswered not in UNANSWERED:
        raise LearnatError(f"unanswered={unanswered!r} is unknown. {nearest(str(unanswered), UNANSWERED)}")


def _examples(benchmark: Benchmark, split: str, shard: Shard | None) -> list[Example]:
    examples = benchmark.examples(split)
    return examples if shard is None else shard.of(examples)


def read_summary(
    benchmark: Benchmark, split: str, rules: Sequence[PruningRule], out_dir: Path, shard: Shard | None = None
) -> Summary:
    """The summary of the trees in ``out_dir`` so far, of ``shard`` alone if it is given."""
    return summarize(
        read_trees(out_dir / "trees.jsonl"),
        {example.example_id: example.difficulty for example in _examples(benchmark, split, shard)},
        [rule.name for rule in rules],
        benchmark.difficulties,
        benchmark.skipped(split),
    )
