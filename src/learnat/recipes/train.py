"""train.py: the whole recipe, from questions to a table of execution accuracy by stage.

A stage that is complete in the run folder is read instead of run again, so the same command with the same ``run_dir``
goes on where it stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from learnat.benchmarks.types import Benchmark
from learnat.errors import LearnatError
from learnat.inference.strategy import Strategy
from learnat.recipes.devices import check_devices
from learnat.recipes.engines import own_engine
from learnat.recipes.given_trees import check_trees, trees_record
from learnat.recipes.on_policy import held_out, is_on_policy, on_policy_source, without_held_out
from learnat.recipes.provenance import keep_settings, write_provenance
from learnat.recipes.scoring import Scorer
from learnat.recipes.stage_training import run_stage
from learnat.recipes.stages import Source, stages_of
from learnat.recipes.start_checks import check_start
from learnat.recipes.suggestion import ask_command
from learnat.recipes.synthesize import ensure_trees
from learnat.sql.execution import ExecutorPool
from learnat.sql.gold_results import GoldResults
from learnat.synthesis.tree import Step, read_trees
from learnat.training import models, ranks
from learnat.training.models import Policy
from learnat.training.packing import Packing
from learnat.training.prompts import PromptStyle, example_text, step_text
from learnat.training.selection import chosen_paths

console = Console(soft_wrap=True, quiet=not ranks.is_first())


def train(cfg: DictConfig) -> None:
    """Trees, made if there are none → SFT → its policy's own trees → preference training; see conf/train.yaml.

    Each stage is scored.
    On several devices all ranks train; the first one alone makes trees, scores and writes.
    """
    folder = Path(cfg.run_dir)
    cfg.data.eval_splits = split_names(cfg.data.eval_splits)
    L.seed_everything(cfg.seed, verbose=False)
    check_devices(cfg)
    if cfg.trainer.accelerator == "gpu":
        ranks.bind_gpu()
    check_start(cfg)
    models.check_available(cfg.model)
    engines, packing = own_engine(cfg), Packing(**cfg.packing)
    strategy: Strategy = instantiate(cfg.inference)
    benchmark: Benchmark = instantiate(cfg.data.benchmark)
    for split in cfg.data.eval_splits:
        strategy.check(benchmark, split)
    style = PromptStyle(cfg.data.schema_style, cfg.data.samples)
    learnt, own = without_held_out(cfg, benchmark), held_out(cfg, benchmark) if is_on_policy(cfg) else None
    splits = [cfg.data.train_split, *([cfg.data.on_policy_split] if own is not None else []), *cfg.data.eval_splits]
    data_hash = {split: benchmark.fingerprint(split) for split in dict.fromkeys(splits)}
    given = Path(cfg.trees) if cfg.trees is not None else None
    record = None
    if given is not None:
        console.print(check_trees(given, learnt, cfg.data.train_split))
        record = trees_record(given)
    digest = record["digest"] if record is not None else None
    ranks.on_first(partial(keep_settings, folder, cfg, data_hash=data_hash, trees=digest))
    searched = _searched(cfg, given, learnt) if own is None or cfg.warm_start.checkpoint is None else None
    policy, done = _initial_policy(cfg, benchmark, style, searched)
    known = {"data_hash": data_hash, "prompt_hash": policy.style.hash, "decoding": asdict(strategy.decoding)}
    if searched is not None:
        known["trees"] = record or trees_record(searched.trees)
    ranks.on_first(partial(write_provenance, folder, cfg, **known))
    with ExecutorPool(cfg.workers, cfg.executor.timeout_s, cfg.executor.max_rows) as pool:
        gold_results = GoldResults(pool, Path(cfg.cache_dir))
        timeout_s = cfg.executor.timeout_s
        scorer = Scorer(benchmark, cfg.data.eval_splits, engines, strategy, folder, pool, timeout_s, gold_results)
        if done != "untrained" or cfg.score_untrained:
            ranks.on_first(partial(scorer.score, done, policy))
        stages = stages_of(cfg)
        for stage in stages:
            source = searched
            if stage.is_preference and own is not None:
                source = on_policy_source(cfg, own, console)
                known["on_policy_trees"] = trees_record(source.trees)
                ranks.on_first(partial(write_provenance, folder, cfg, **known))
            assert source is not None, "where no trees were searched, all stages learn on policy"
            policy = run_stage(cfg, stage, policy, source, packing, console)
            ranks.on_first(partial(scorer.score, stage.name, policy))
        ranks.on_first(partial(scorer.report, f"Execution accuracy, %: {cfg.model.name}, {benchmark.name}"))
    _log_scores(scorer.metrics)
    command = ask_command(folder / "checkpoints" / stages[-1].name, benchmark, cfg.data.eval_splits)
    if command is not None:
        console.print(f"Ask it something: {command}", markup=False, highlight=False)


def split_names(given: object) -> list[str]:
    """``data.eval_splits`` as a list; one split may be named without brackets.

    Raises ``LearnatError`` for what are no names.
    """
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise LearnatError(f"data.eval_splits={given} must be names of splits, as in data.eval_splits=[dev].")
    return list(names)


def _searched(cfg: DictConfig, given: Path | None, benchmark: Benchmark) -> Source:
    """The search trees of the training questions: the given ones, or those that are made now or were before."""
    split = cfg.data.train_split
    return Source(
        benchmark, split, given or ranks.on_first(lambda: ensure_trees(cfg, benchmark, split, Path(cfg.cache_dir)))
    )


def _initial_policy(
    cfg: DictConfig, benchmark: Benchmark, style: PromptStyle, searched: Source | None
) -> tuple[Policy, str]:
    """The policy that the first stage starts from, and the name of the stage it has behind it."""
    if cfg.loss.name != "sft" and cfg.warm_start.checkpoint is not None:
        models.prompt_style(cfg.warm_start.checkpoint).check_samples(benchmark)
        return models.load(cfg.warm_start.checkpoint, cfg.model.quantization), "sft"
    assert searched is not None, "only what starts from a checkpoint does without search trees"
    return models.build(
        cfg.model, style, tokenizer_texts(searched.benchmark, style, searched.split, searched.trees)
    ), "untrained"


def tokenizer_texts(benchmark: Benchmark, style: PromptStyle, split: str, trees: Path) -> Iterator[str]:
    """What a tokenizer from scratch is trained on: prompts and chosen answers of the training split."""
    examples = {example.example_id: example for example in benchmark.examples(split)}
    for db_id in dict.fromkeys(example.db_id for example in examples.values()):
        yield style.database_text(benchmark.database(db_id))
    for tree in read_trees(trees):
        if tree.example_id in examples:
            yield example_text(examples[tree.example_id])
            for path in chosen_paths(tree, 1):
                yield from (step_text(Step(node.sub_question, node.sql)) for node in path)


def _log_scores(metrics: dict[str, dict[str, Any]]) -> None:
    """Put the final scores beside the curves where W&B is in use."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.run.summary.update(
            {f"{stage}/{split}/ex": s["ex"]["all"] for stage, splits in metrics.items() for split, s in splits.items()}
        )
