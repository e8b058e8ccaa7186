"""Preference training: pairs a second of our packed tries beside TRL's DPOTrainer, on the same pairs in one process.

    python benchmarks/preference.py [--shape 7b] [--cases a,b,c] [--out DIR] [--quick]
    python benchmarks/preference.py --shape 7b --cases d --data FILE

Cases: (a) 4 search trees of 6 pairs, prompt 1,500 tokens, steps of 80; (b) one pair a prompt, 1,500 and 100; (c) one
pair, 600 and 150; (d) real trees from FILE, made by benchmarks/speed/tokenised.py. Without --shape a CPU runs the cases
at a twentieth of their length on a tiny model. Both sides train LoRA of rank 16 on the same random weights in
bfloat16, against reference log-probs computed beforehand, and their steps include gradient clipping and AdamW. TRL is
given the best of checkpointing, batch size and torch_compile. KEY=VALUE arguments, which ``make bench`` gives to every
script, are ignored.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

import torch
from speed import dpo_trainer, ours
from speed.cases import Case, PairRow, case, pair_rows
from speed.clock import attempt, free, full_rate_seconds
from speed.dpo_trainer import BATCH_SIZES, GAIN, Setting
from speed.report import Report, heading, quiet, row
from speed.shapes import SHAPES, random_model, restore

MEASURED_STEPS = 5
NO_TIME = "not measured: --seconds were over"
CHECKED_PAIRS = 4
"""Pairs whose reference log-probs TRL computes too."""


@dataclass
class Bench:
    """One case on the shared model: both sides' rows go to ``report``."""

    model: Any
    case: Case
    device: torch.device
    report: Report
    quick: bool
    known: list[Setting]
    """TRL's settings to measure instead of a scan."""
    deadline: float
    """time.monotonic() after which no further setting starts."""

    def run(self) -> None:
        self.restore(compiled=True)
        self.case = ours.add_reference(self.model, self.case, self.device)
        rows = pair_rows(self.case.items)
        self.say(f"{self.case.title}; {len(rows)} pairs in all")
        self.check_logprobs(rows)
        first, *others = ours.variants(list(self.case.budgets), self.quick, self.device)
        self.measure_ours(first)
        whole = {
            setting: self.measure_theirs(rows, replace(setting, whole_step=True))
            for setting in self.known or self.scan(rows)
        }
        if whole and not self.quick and not any(setting.compile for setting in whole):
            # The faster one alone: compiling the whole model takes minutes.
            best = max(whole, key=lambda setting: whole[setting])
            self.measure_theirs(rows, replace(best, whole_step=True, compile=True))
        for variant in others:
            self.measure_ours(variant)

    def say(self, text: str) -> None:
        self.report.console.print(f"{self.case.name}: {text}", markup=False, highlight=False)

    def check_logprobs(self, rows: list[PairRow]) -> None:
        tries = [item.trie for item in self.case.items[:1]]
        few = rows[:CHECKED_PAIRS]
        packed = partial(ours.logprob_error, self.model, tries, self.device)
        reference = partial(dpo_trainer.reference_error, self.model, few, self.device)
        for what, error in (
            ("packed node log-probs against padded rows", packed),
            ("our reference log-probs against TRL's", reference),
        ):
            found = attempt(error)
            restore(self.model)
            self.say(f"{what}: " + (found if isinstance(found, str) else f"relative error {found:.1e}"))

    def measure_ours(self, variant: ours.Variant) -> None:
        if time.monotonic() > self.deadline:
            return self.report.add(row(self.case.name, "ours", variant.name, variant.compile, NO_TIME, 0.0))
        found = attempt(lambda: ours.train_pairs(self.model, self.case, variant, self.device, MEASURED_STEPS))
        self.restore(variant.compile)
        full_rate_s = full_rate_seconds(self.model, self.device)
        return self.report.add(row(self.case.name, "ours", variant.name, variant.compile, found, full_rate_s))

    def scan(self, rows: list[PairRow]) -> list[Setting]:
        """TRL's best batch size with and without checkpointing."""
        best = []
        for checkpointing in (False, True):
            fastest, kept = 0.0, None
            # A CPU is full at once, and its figures are no result.
            for size in BATCH_SIZES if self.device.type == "cuda" else BATCH_SIZES[:2]:
                setting = Setting(checkpointing, size)
                rate = self.measure_theirs(rows, setting)
                gain = rate / fastest if fastest else float(rate > 0) * GAIN
                if rate > fastest:
                    fastest, kept = rate, setting
                if gain < GAIN:
                    break
            best += [kept] if kept is not None else []
        return best

    def measure_theirs(self, rows: list[PairRow], setting: Setting) -> float:
        """Pairs a second, 0 where it failed or there was no time."""
        if time.monotonic() > self.deadline:
            self.report.add(row(self.case.name, "TRL", setting.name, setting.compile, NO_TIME, 0.0))
            return 0.0
        per_step = len(rows) * self.case.databases_per_step * self.case.questions_per_trie // len(self.case.items)
        found = attempt(lambda: dpo_trainer.train(self.model, rows, setting, per_step, self.device, steps=3))
        self.restore(setting.compile)
        full_rate_s = full_rate_seconds(self.model, self.device)
        measured = row(self.case.name, "TRL", setting.name, setting.compile, found, full_rate_s)
        self.report.add(measured)
        return measured.rate

    def restore(self, compiled: bool) -> None:
        restore(self.model)
        free(compiled)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    on_gpu = torch.cuda.is_available()
    parser.add_argument("--shape", choices=sorted(SHAPES), default="7b" if on_gpu else "tiny")
    parser.add_argument("--cases", default="a,b,c" if on_gpu else "a", help="letters, with commas between them")
    parser.add_argument("--data", type=Path, help="real tries for case d")
    parser.add_argument("--out", type=Path, help="folder for preference.csv, which is added to")
    parser.add_argument("--quick", action="store_true", help="without TRL's torch_compile and some of our variants")
    parser.add_argument(
        "--trl", default="", help="batch sizes instead of a scan, c: checkpointing, k: compiled: 4,4k,8c"
    )
    parser.add_argument("--seconds", type=float, default=math.inf, help="no setting of a case starts after this long")
    parser.add_argument("ignored", nargs="*", metavar="KEY=VALUE")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shape = SHAPES[args.shape]
    quiet()
    report = Report(args.out, "preference", unit="pairs", baseline="TRL")
    report.console.print(f"{heading(device)}; shape {shape.name}", highlight=False)
    cases = [case(name, shape, args.data) for name in args.cases.split(",")]
    model = random_model(shape, device)
    restore(model)
    known = [Setting("c" in size, int(size.rstrip("ck")), "k" in size) for size in args.trl.split(",") if size]
    for chosen in cases:
        deadline = time.monotonic() + args.seconds
        bench = Bench(model, chosen, device, report, args.quick or device.type != "cuda", known, deadline)
        error = attempt(bench.run)
        if error is not None:
            bench.say(error)
    report.print_table(f"Preference training, {shape.name} shape")


if __name__ == "__main__":
    main()
