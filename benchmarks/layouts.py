"""Seconds of an optimiser step on this machine: packed search tries against padded rows, on the same questions.

    python benchmarks/layouts.py [--steps N] [--csv FILE] [KEY=VALUE …]

takes overrides of conf/train.yaml (``data.schema_style=ddl model.optim.questions_per_trie=16``). The layouts take turns
at each of the first N steps of SFT, on one model, so that other work on the machine hits all of them alike; all train
on the same loss. Padded rows are measured as one batch a step and as passes of similar lengths at several budgets.
CPU seconds are those of all threads: beside other work they say more than the clock's.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import lightning as L
import numpy as np
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn.utils import clip_grad_norm_

from learnat.benchmarks.types import Benchmark
from learnat.recipes.synthesize import ensure_trees
from learnat.recipes.train import tokenizer_texts
from learnat.training import models
from learnat.training.batches import TokenBatch
from learnat.training.datamodule import DecompositionDataModule
from learnat.training.encoding import PromptEncoder
from learnat.training.logprobs import token_logprobs
from learnat.training.losses import SftLoss
from learnat.training.packing import Packing
from learnat.training.preparation import prepare_for_training
from learnat.training.prompts import PromptStyle

CONF = Path(__file__).parents[1] / "conf"
WARM_UP = 2
"""Steps that are not counted: memory is allocated in them."""
HEADER = ("layout", "seconds", "CPU seconds", "positions", "passes", "against packed, CPU")


@dataclass
class Layout:
    """A way to lay a step out, and what its steps took."""

    name: str
    packing: Packing
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    passes: list[int] = field(default_factory=list)


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


def measure(cfg: DictConfig, steps: int) -> list[Layout]:
    """The layouts after ``steps`` SFT steps each, and a few to warm up."""
    L.seed_everything(cfg.seed, verbose=False)
    benchmark: Benchmark = instantiate(cfg.data.benchmark)
    style = PromptStyle(cfg.data.schema_style, cfg.data.samples)
    split = cfg.data.train_split
    trees = ensure_trees(cfg, benchmark, split, Path(cfg.cache_dir))
    policy = models.build(cfg.model, style, tokenizer_texts(benchmark, style, split, trees))
    prepare_for_training(policy, cfg.model, "sft")
    measured = layouts(Packing(**cfg.packing))
    data = DecompositionDataModule(
        make_trees=lambda: trees,
        benchmark=benchmark,
        split=split,
        encoder=PromptEncoder(policy.tokenizer, policy.style),
        packing=measured[0].packing,
        context_length=policy.context_length,
        seed=cfg.seed,
    )
    data.setup()
    loaders: list[Iterator[list[TokenBatch]]] = []
    for layout in measured:
        data.packing = layout.packing
        loaders.append(iter(data.train_dataloader()))
    optimizer = instantiate(cfg.model.optim.sft.optimizer)(policy.model)
    for step in range(WARM_UP + steps):
        for layout, loader in zip(measured, loaders, strict=True):
            seconds, cpu_seconds, packs = timed(loader, policy.model, optimizer.step)
            if step >= WARM_UP:
                layout.seconds.append(seconds)
                layout.cpu_seconds.append(cpu_seconds)
                layout.positions.append(sum(batch.input_ids.numel() for batch in packs))
                layout.passes.append(len(packs))
    return measured


def timed(
    loader: Iterator[list[TokenBatch]], model: nn.Module, update: Callable[[], object]
) -> tuple[float, float, list[TokenBatch]]:
    """Seconds and CPU seconds of one optimiser step, with the batches it was made of."""
    started, cpu_started = time.perf_counter(), time.process_time()
    packs = next(loader)
    model.zero_grad()
    total = sum(batch.node_weight[batch.node].sum() for batch in packs)
    for batch in packs:
        (SftLoss()(token_logprobs(model, batch), batch.node_weight[batch.node]) / total).backward()
    clip_grad_norm_(model.parameters(), 1.0)
    update()
    return time.perf_counter() - started, time.process_time() - cpu_started, packs


def row(layout: Layout, packed: Layout) -> tuple[str, ...]:
    means = [np.mean(x) for x in (layout.seconds, layout.cpu_seconds, layout.positions, layout.passes)]
    ratio = np.mean(layout.cpu_seconds) / np.mean(packed.cpu_seconds)
    return (layout.name, f"{means[0]:.3f}", f"{means[1]:.3f}", f"{means[2]:.0f}", f"{means[3]:.1f}", f"{ratio:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("overrides", nargs="*")
    args = parser.parse_args()
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        cfg = compose("train", overrides=args.overrides)
    measured = measure(cfg, args.steps)
    rows = [row(layout, measured[0]) for layout in measured]
    title = f"An optimiser step, mean of {args.steps}: {' '.join(args.overrides) or 'the embedded benchmark'}"
    table = Table(*HEADER, title=title)
    for cells in rows:
        table.add_row(*cells)
    Console().print(table)
    if args.csv is not None:
        with args.csv.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([HEADER, *rows])


if __name__ == "__main__":
    main()
