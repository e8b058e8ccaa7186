"""The shared-prefix cache in batched generation, beside transformers' own generate on the same prompts.

    python benchmarks/prefix_cache.py [--shape 7b] [--databases 20] [--batch 64 256] [--seconds 180] [--out FOLDER]

Made-up databases with a schema of 1,500 tokens and 20 questions each, random weights, greedy decoding of a fixed number
of tokens. Both sides sort and cut the prompts into the same batches. "Prefill" is the time that batches take to their
first tokens, "decoding" the tokens a second after these, "questions/s" is for whole answers. Before that, made-up
answers are fed to both sides, and their log-probs compared: in float32, which shows whether the same is computed, and
on a GPU in bfloat16 as well, beside what bfloat16 itself is off. KEY=VALUE arguments, which ``make bench`` gives to
every script, are ignored.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

import torch
from rich.console import Console
from rich.table import Table
from speed.clock import attempt, free
from speed.report import append, heading, quiet
from speed.shapes import SHAPES, Shape, random_model
from speed.teacher_forcing import FIRST_TOKEN, logprob_errors, logprob_table

from learnat.inference.decoding import Row
from learnat.inference.engines.base import Completion, Decoding
from learnat.inference.writer import BatchWriter
from learnat.training.models import Policy
from learnat.training.prompts import PromptStyle
from learnat.training.tokenizer import train_tokenizer

SCHEMA, QUESTION, QUESTIONS = 1500, (30, 60), 20
"""Tokens of a schema, of a question (from, to), and questions of a database."""

ROWS_CHECKED = 8
"""Answers whose log-probs are compared."""


NO_TIME = "not measured: --seconds were over"


@dataclass(frozen=True)
class Measured:
    """Seconds for all questions: until their batches' first tokens, and for whole answers. ``size``: of a batch."""

    prefill_s: float
    whole_s: float
    size: int
    completions: Sequence[Completion]


@dataclass(frozen=True)
class Result:
    """One line of the CSV file. ``fitting``: rows of a batch that there was memory for; rates are per second."""

    batch: int
    side: str
    fitting: int = 0
    prefill_s: float = 0.0
    decoding_rate: float = 0.0
    questions_rate: float = 0.0
    equal_texts: str = "–"
    error: str = ""


class PrefillClock:
    """A ``Watch`` that adds up what batches take until their first tokens are there."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._begun = 0.0
        self.seconds = 0.0

    def begin(self) -> None:
        self._begun = time.perf_counter()

    def __call__(self, written: torch.Tensor) -> bool:
        if written.shape[1] == 1:
            wait(self._device)
            self.seconds += time.perf_counter() - self._begun
        return False


def policy_of(shape: Shape, device: torch.device) -> Policy:
    """A policy that never ends an answer by itself, so that all answers have as many tokens."""
    rng = random.Random(0)
    words = ("".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 6))) for _ in range(20_000))
    tokenizer = train_tokenizer([" ".join(words)], min(shape.vocabulary, 4096))
    # On a CPU texts are compared: every token is to have one.
    model = random_model(replace(shape, vocabulary=len(tokenizer)) if device.type == "cpu" else shape, device)
    model.requires_grad_(False)
    model.lm_head.weight[tokenizer.eos_token_id] = 0.0  # a logit of 0 is never the highest of so many
    model.generation_config.eos_token_id = None
    return Policy(shape.name, model, tokenizer, PromptStyle(), 32768, "sdpa", None, shape.name)


def questions(databases: int, schema_tokens: int, vocabulary: int) -> list[Row]:
    """Those of one database side by side, as the engine sorts them."""
    rng = random.Random(0)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(FIRST_TOKEN, vocabulary) for _ in range(count))

    rows = []
    for _ in range(databases):
        schema = ids(schema_tokens)
        asked = [ids(rng.randint(*QUESTION)) for _ in range(QUESTIONS)]
        rows += [Row(schema + question, None, schema_tokens) for question in sorted(asked, key=len, reverse=True)]
    return rows


def measure(policy: Policy, rows: Sequence[Row], tokens: int, size: int, shared: bool) -> Measured:
    device = policy.model.device
    writer, clock = BatchWriter(policy, size, device.type, shared), PrefillClock(device)
    writer.start()
    # Libraries choose their kernels, and a batch that there is no memory for is halved.
    writer.write(rows[:size], Decoding(2))
    writer.release()
    writer.start()
    completions: list[Completion] = []
    begun = time.perf_counter()
    while len(completions) < len(rows):
        batch = rows[len(completions) : len(completions) + writer.size]
        clock.begin()
        completions += writer.write(batch, Decoding(tokens), clock)
    wait(device)
    whole_s = time.perf_counter() - begun
    writer.release()
    return Measured(clock.seconds, whole_s, writer.size, completions)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    args, begun = arguments(), time.monotonic()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    console = Console(width=150, highlight=False)
    quiet()

    def say(text: str) -> None:
        console.print(f"[{time.monotonic() - begun:.0f} s] {text}", markup=False)

    shape = SHAPES[args.shape]
    say(f"{heading(device)}; shape {args.shape}, {args.databases * QUESTIONS} questions of {args.databases} databases")
    policy, schema_tokens = policy_of(shape, device), round(SCHEMA * shape.scale)
    rows = questions(args.databases, schema_tokens, policy.model.config.vocab_size)
    say("weights made")
    errors = attempt(partial(logprob_errors, policy, rows[:ROWS_CHECKED], args.tokens))
    if isinstance(errors, str):
        say(f"log-probs: {errors}")
    else:
        console.print(logprob_table(errors))
        for error in errors if args.out else ():
            append(args.out / "logprobs.csv", error)
    title = f"Schemas of {schema_tokens} tokens, {QUESTIONS} questions each, answers of {args.tokens} tokens"
    table = Table(title=title)
    for name in ("batch", "side", "prefill s", "×", "decoding tokens/s", "×", "questions/s", "×", "equal texts"):
        table.add_column(name, justify="right")
    for size in args.batch:
        found: dict[str, Measured | str] = {}
        for side, shared in (("cached", True), ("whole", False)):
            over = time.monotonic() - begun > args.seconds
            found[side] = NO_TIME if over else attempt(partial(measure, policy, rows, args.tokens, size, shared))
            free(compiled=False)
            say(f"batch {size}, {side}: {told(found[side])}")
        results = {side: result(size, side, one, found["whole"], args.tokens) for side, one in found.items()}
        for one in results.values():
            table.add_row(*cells(one, results["whole"]))
            if args.out:
                append(args.out / "throughput.csv", one)
    console.print(table)


def told(one: Measured | str) -> str:
    return one if isinstance(one, str) else f"{one.prefill_s:.1f} s to first tokens, {one.whole_s:.1f} s in all"


def result(batch: int, side: str, one: Measured | str, base: Measured | str, tokens: int) -> Result:
    if isinstance(one, str):
        return Result(batch, side, error=one)
    questions = len(one.completions)
    alike = "–"
    if isinstance(base, Measured):
        equal = sum(a.text == b.text for a, b in zip(one.completions, base.completions, strict=True))
        alike = f"{equal}/{questions}"
    decoding = questions * (tokens - 1) / (one.whole_s - one.prefill_s)
    return Result(batch, side, one.size, one.prefill_s, decoding, questions / one.whole_s, alike)


def cells(one: Result, base: Result) -> list[str]:
    if one.error:
        return [str(one.batch), one.side, one.error]
    values = [f"{one.prefill_s:.3f}", f"{one.decoding_rate:,.0f}", f"{one.questions_rate:.1f}"]
    ratios = ["–"] * 3
    if not base.error:
        faster = (
            base.prefill_s / one.prefill_s,
            one.decoding_rate / base.decoding_rate,
            one.questions_rate / base.questions_rate,
        )
        ratios = [f"{ratio:.2f}" for ratio in faster]
    batch = str(one.batch) if one.fitting == one.batch else f"{one.batch} → {one.fitting}"
    return [batch, one.side, *(cell for pair in zip(values, ratios, strict=True) for cell in pair), one.equal_texts]


def arguments() -> argparse.Namespace:
    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="7b" if on_gpu else "embedded")
    parser.add_argument("--databases", type=int, default=20 if on_gpu else 2)
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256] if on_gpu else [20])
    parser.add_argument("--tokens", type=int, default=64, help="tokens of an answer, 2 at least")
    limit = 180 if on_gpu else math.inf
    parser.add_argument("--seconds", type=float, default=limit, help="no side is measured that starts after this long")
    parser.add_argument("--out", type=Path, help="folder to add CSV files to")
    parser.add_argument("ignored", nargs="*", metavar="KEY=VALUE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
