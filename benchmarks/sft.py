"""SFT on real prompts: examples a second of packed tries beside padded batches, by one trainer on the same examples.

    python benchmarks/sft.py [--shape 7b] --data FILE [--out DIR] [--quick]

FILE holds real paths as token ids (benchmarks/speed/tokenised.py makes it); without it made-up questions stand in. An
optimiser step takes 16 questions of each of four databases. Packed, they are four tries in packs of a token budget;
padded, 64 rows sorted by length in batches of a token budget, with causal attention and no mask (right padding needs
none).
Both sides are measured with and without checkpointing and compiled layers. KEY=VALUE arguments, which ``make bench``
gives to every script, are ignored.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

import torch
from speed import ours
from speed.cases import Case, case
from speed.clock import StepClock, attempt, free, full_rate_seconds
from speed.ours import PAD, Variant
from speed.report import Measured, Report, heading, quiet, row
from speed.shapes import SHAPES, Shape, random_model, restore

from learnat.training.batches import TokenBatch
from learnat.training.losses import SftLoss
from learnat.training.modules import SftModule
from learnat.training.packing import Item, Packing, shared_tries
from learnat.training.tries import TokenTrie, TrieNode, join

MEASURED_STEPS = 4
ALIGNMENT = 8
"""Padded rows are rounded up to a multiple of this, below which bfloat16 kernels are slower."""
LayOut = Callable[[Sequence[TokenTrie]], list[TokenBatch]]


@dataclass(frozen=True)
class Plan:
    """Optimiser steps of tries, laid out when they are asked for: that work belongs to a step."""

    steps: list[list[TokenTrie]]
    lay_out: LayOut

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[TokenBatch]]:
        return map(self.lay_out, self.steps)


def steps_of(real: Case) -> list[list[TokenTrie]]:
    """Four steps of four databases' first 16 questions each, or as many steps as there are."""
    groups: dict[str, list[Item]] = {}
    for group in shared_tries(real.items, real.questions_per_trie):
        groups.setdefault(group[0].db_id, group)
    tries = [join([item.trie for item in group]) for group in groups.values()]
    random.Random(0).shuffle(tries)
    width = min(real.databases_per_step, len(tries))
    steps = [tries[i : i + width] for i in range(0, len(tries) - width + 1, width)]
    return steps[:MEASURED_STEPS]


def packed(tries: Sequence[TokenTrie], budget: int, bucket: int) -> list[TokenBatch]:
    """Packs of up to ``budget`` tokens, or one trie."""
    packs: list[list[TokenTrie]] = [[]]
    for trie in tries:
        if packs[-1] and sum(t.tokens for t in packs[-1]) + trie.tokens > budget:
            packs.append([])
        packs[-1].append(trie)
    packing = Packing("packed", length_bucket=bucket)
    return [packing.batch(pack, PAD) for pack in packs]


def padded(tries: Sequence[TokenTrie], budget: int, bucket: int) -> list[TokenBatch]:
    """Batches of rows of like length, up to ``budget`` positions each or one row, attended causally."""
    rows = sorted((single for trie in tries for single in _paths(trie)), key=lambda row: row.tokens)
    batches: list[list[TokenTrie]] = [[]]
    for one in rows:
        if batches[-1] and (len(batches[-1]) + 1) * _rounded(one.tokens, bucket) > budget:
            batches.append([])
        batches[-1].append(one)
    packing = Packing("padded", length_bucket=bucket)
    # With a mask SDPA could not use its flash kernel; rows are padded on the right, where causal attention never looks.
    return [replace(packing.batch(batch, PAD), attention_mask=None) for batch in batches]


def _rounded(tokens: int, bucket: int) -> int:
    return -(-tokens // bucket) * bucket


def _paths(trie: TokenTrie) -> Iterator[TokenTrie]:
    """Each root-to-leaf path as a trie of its own."""
    for leaf in trie.leaves:
        path = trie.path(leaf)
        yield TokenTrie(tuple(replace(trie.nodes[i], parent=depth - 1) for depth, i in enumerate(path)))


def made_up(shape: Shape) -> Case:
    """Questions of eight databases of one length, where no real ones are at hand."""
    rng = random.Random(0)

    def ids(count: float) -> tuple[int, ...]:
        return tuple(rng.randrange(shape.vocabulary) for _ in range(max(1, round(count * shape.scale))))

    items = []
    for database in range(8):
        root = TrieNode(-1, ids(1000))
        for _ in range(16):
            answer = TrieNode(1, ids(100), supervised=True, weight=1.0)
            items.append(Item(f"database {database}", TokenTrie((root, TrieNode(0, ids(40)), answer))))
    return Case("sft", "made-up questions", items, 16, 4, {"8k": 8192, "16k": 16384, "32k": 32768}, bucket=128)


def measure(model: Any, plan: Plan, variant: Variant, device: torch.device) -> Measured:
    """Train ``model`` on one pass over ``plan`` after a warm-up pass."""
    policy, clock, steps = ours.adapted(model), StepClock(device), len(plan)
    ours.prepare(policy, variant.checkpointing, variant.compile)
    module = SftModule(policy, SftLoss(), **ours.optimisation(2 * steps))
    seen = ours.fit(module, plan, clock, device, warmup=steps, steps=steps)
    return ours.measured(policy, seen, [sum(batch.questions for batch in step) for step in seen], clock)


def main() -> None:
    args = arguments()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shape = SHAPES[args.shape]
    quiet()
    report = Report(args.out, "sft", unit="examples", baseline="padded")
    report.console.print(f"{heading(device)}; shape {shape.name}", highlight=False)
    real = made_up(shape) if args.data is None else case("sft", shape, args.data)
    steps = steps_of(real)
    report.console.print(f"{real.title}; {len(steps)} steps of {real.databases_per_step} tries", highlight=False)
    model = random_model(shape, device)
    deadline = time.monotonic() + args.seconds
    for variant in ours.variants(list(real.budgets), args.quick, device):
        budget = real.budgets[variant.budget]
        for side, lay_out in (
            ("packed", partial(packed, budget=budget, bucket=real.bucket)),
            ("padded", partial(padded, budget=budget, bucket=ALIGNMENT)),
        ):
            if time.monotonic() > deadline:
                report.console.print(f"out of time for {side}, {variant.name}", highlight=False)
                continue
            restore(model)
            found = attempt(partial(measure, model, Plan(steps, lay_out), variant, device))
            restore(model)
            free(variant.compile)
            full_rate_s = full_rate_seconds(model, device)
            report.add(row("sft", side, variant.name, variant.compile, found, full_rate_s))
    report.print_table(f"SFT, {shape.name} shape, {real.title}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="7b" if torch.cuda.is_available() else "tiny")
    parser.add_argument("--data", type=Path, help="real paths as token ids")
    parser.add_argument("--out", type=Path, help="folder for sft.csv, which is added to")
    parser.add_argument("--quick", action="store_true", help="only the variants that are likely best")
    parser.add_argument("--seconds", type=float, default=math.inf, help="no variant starts after this long")
    parser.add_argument("ignored", nargs="*", metavar="KEY=VALUE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
