"""Seconds of the optimiser steps of a run on this machine: packed search tries against padded rows, same questions.

    python benchmarks/layouts.py [--steps N] [--csv FILE] [KEY=VALUE …]

takes overrides of conf/train.yaml (``data.schema_style=ddl model.optim.questions_per_trie=16``). With ``run_dir`` of a
run, preference steps are on the pairs of its SFT policy; otherwise on those of the search trees. The layouts take turns
at each of the first N steps of every stage, on one model, so that other work on the machine hits all of them alike; all
train on the same loss. Padded rows are measured as one batch a step and as passes of similar lengths at several
budgets. CPU seconds are those of all threads: beside other work they say more than the clock's. The last rows take each
stage's mean step for all of its steps: the training part of a run. (Preference steps are measured against reference
log-probs of 0, which cost what any others do.)
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch import nn

from learnat.benchmarks.types import Benchmark
from learnat.recipes.on_policy import held_out, is_on_policy, on_policy_source, without_held_out
from learnat.recipes.stages import Source, Stage, stages_of
from learnat.recipes.synthesize import ensure_trees
from learnat.recipes.train import tokenizer_texts
from learnat.training import models
from learnat.training.batches import TokenBatch
from learnat.training.datamodule import DecompositionDataModule
from learnat.training.encoding import PromptEncoder
from learnat.training.metrics import gradient_norm
from learnat.training.modules import PolicyModule, PreferenceModule, SftModule
from learnat.training.packing import Packing
from learnat.training.preparation import finish_training, prepare_for_training
from learnat.training.prompts import PromptStyle

CONF = Path(__file__).parents[1] / "conf"
WARM_UP = 2
"""Steps that are not counted: memory is allocated in them."""
HEADER = ("stage", "layout", "seconds", "CPU seconds", "positions", "passes", "against packed, CPU")


@dataclass
class Layout:
    """A way to lay a step out, and what its steps took."""

    name: str
    packing: Packing
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    passes: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Measured:
    """A stage's layouts, packed first, and the steps that a whole run makes of it."""

    name: str
    run_steps: int
    layouts: list[Layout]


def layouts(packing: Packing) -> list[Layout]:
    """Packed, padded as one batch a step, padded in sorted passes; none rounds lengths up, which serves GPUs alone."""
    exact = replace(packing, layout="packed", length_bucket=1)
    padded = replace(exact, layout="padded")
    sorted_passes = [
        Layout(f"padded, sorted, passes of {budget}", replace(padded, token_budget=budget))
        for budget in (384, 640, 1024, 2048)
    ]
    whole = Layout("padded, one batch", replace(padded, token_budget=2**31))
    return [Layout("packed", exact), whole, *sorted_passes]


def measure(cfg: DictConfig, steps: int) -> list[Measured]:
    """The layouts after ``steps`` steps of each stage, and a few to warm up."""
    L.seed_everything(cfg.seed, verbose=False)
    benchmark: Benchmark = instantiate(cfg.data.benchmark)
    style = PromptStyle(cfg.data.schema_style, cfg.data.samples)
    learnt, split = without_held_out(cfg, benchmark), cfg.data.train_split
    searched = Source(learnt, split, ensure_trees(cfg, learnt, split, Path(cfg.cache_dir)))
    policy = models.build(cfg.model, style, tokenizer_texts(learnt, style, split, searched.trees))
    measured = []
    for stage in stages_of(cfg):
        source = own_trees(cfg, benchmark) or searched if stage.is_preference else searched
        data = DecompositionDataModule(
            make_trees=partial(getattr, source, "trees"),
            benchmark=source.benchmark,
            split=source.split,
            encoder=PromptEncoder(policy.tokenizer, policy.style),
            packing=Packing(**cfg.packing),
            context_length=policy.context_length,
            seed=cfg.seed,
            selection=instantiate(stage.loss.pairs),
        )
        data.setup()
        if stage.is_preference:
            data.set_reference(torch.zeros(data.supervised_nodes))
        prepare_for_training(policy, cfg.model, stage.name)
        measured.append(measure_stage(stage, policy.model, data, steps))
        finish_training(policy, cfg.model)
    return measured


def own_trees(cfg: DictConfig, benchmark: Benchmark) -> Source | None:
    """Trees of the SFT policy in ``run_dir``, where there is one and the run learns from it."""
    if not is_on_policy(cfg) or not (Path(cfg.run_dir) / "checkpoints" / "sft").is_dir():
        return None
    return on_policy_source(cfg, held_out(cfg, benchmark), Console())


def measure_stage(stage: Stage, model: nn.Module, data: DecompositionDataModule, steps: int) -> Measured:
    kind: Any = PreferenceModule if stage.is_preference else SftModule
    module: PolicyModule = kind(
        model,
        instantiate(stage.loss.objective),
        optimizer=instantiate(stage.optim.optimizer),
        schedule=instantiate(stage.optim.schedule),
        gradient_clip=stage.optim.gradient_clip,
        total_steps=steps,
    )
    optimizer = module.configure_optimizers()["optimizer"]
    run_steps = stage.optim.epochs * len(data.train_dataloader())
    measured = layouts(data.packing)
    loaders: list[Iterator[list[TokenBatch]]] = []
    for layout in measured:
        data.packing = layout.packing
        loaders.append(iter(data.train_dataloader()))
    for step in range(WARM_UP + steps):
        for layout, loader in zip(measured, loaders, strict=True):
            seconds, cpu_seconds, packs = timed(loader, module, stage.optim.gradient_clip, optimizer.step)
            if step >= WARM_UP:
                layout.seconds.append(seconds)
                layout.cpu_seconds.append(cpu_seconds)
                layout.positions.append(sum(batch.input_ids.numel() for batch in packs))
                layout.passes.append(len(packs))
    return Measured(stage.name, run_steps, measured)


def timed(
    loader: Iterator[list[TokenBatch]], module: PolicyModule, clip: float, update: Callable[[], object]
) -> tuple[float, float, list[TokenBatch]]:
    """Seconds and CPU seconds of one optimiser step, with the batches it was made of."""
    started, cpu_started = time.perf_counter(), time.process_time()
    packs = next(loader)
    module.zero_grad()
    total = module.step_total(packs)
    for batch in packs:
        module.pack_loss(batch, total)[0].backward()
    gradient_norm(module.parameters(), clip)
    update()
    return time.perf_counter() - started, time.process_time() - cpu_started, packs


def rows(stages: Sequence[Measured]) -> list[tuple[str, ...]]:
    """A row for each layout of each stage, then one for each layout's total over a run."""
    table = []
    for stage in stages:
        packed = np.mean(stage.layouts[0].cpu_seconds)
        for layout in stage.layouts:
            seconds, cpu_seconds, positions, passes = (
                np.mean(x) for x in (layout.seconds, layout.cpu_seconds, layout.positions, layout.passes)
            )
            sizes = (f"{positions:.0f}", f"{passes:.1f}")
            ratio = f"{cpu_seconds / packed:.2f}"
            table.append((stage.name, layout.name, f"{seconds:.3f}", f"{cpu_seconds:.3f}", *sizes, ratio))
    totals = [run_totals(stages, i) for i in range(len(stages[0].layouts))]
    for layout, (seconds, cpu_seconds) in zip(stages[0].layouts, totals, strict=True):
        ratio = f"{cpu_seconds / totals[0][1]:.2f}"
        table.append(("whole run", layout.name, f"{seconds:.0f}", f"{cpu_seconds:.0f}", "", "", ratio))
    return table


def run_totals(stages: Sequence[Measured], layout: int) -> tuple[float, float]:
    """Seconds and CPU seconds of all steps of a run in the layout of that number."""
    measured = [(stage.run_steps, stage.layouts[layout]) for stage in stages]
    return (
        sum(steps * float(np.mean(x.seconds)) for steps, x in measured),
        sum(steps * float(np.mean(x.cpu_seconds)) for steps, x in measured),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_args()
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        cfg = compose("train", overrides=args.overrides)
    measured = rows(measure(cfg, args.steps))
    title = f"An optimiser step, mean of {args.steps}: {' '.join(args.overrides) or 'the embedded benchmark'}"
    table = Table(*HEADER, title=title)
    for cells in measured:
        table.add_row(*cells)
    Console().print(table)
    if args.csv is not None:
        with args.csv.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([HEADER, *measured])


if __name__ == "__main__":
    main()
