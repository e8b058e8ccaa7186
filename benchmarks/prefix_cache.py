"""The shared-prefix cache in batched generation, beside transformers' own generate on the same prompts.

    python benchmarks/prefix_cache.py [--shape 7b] [--databases 20] [--batch 64 256] [--seconds 180]

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

os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

import torch
from rich.console import Console
from rich.table import Table
from speed.clock import attempt, free
from speed.report import heading, quiet
from speed.shapes import SHAPES, Shape, random_model

from learnat.inference.decoding import Row
from learnat.inference.engines.base import Completion, Decoding
from learnat.inference.generate import prepare
from learnat.inference.prefix_cache import PrefixCache, shared_prompts
from learnat.inference.prefix_decoding import DecodeStep, read_prompts
from learnat.inference.writer import BatchWriter
from learnat.training.models import Policy
from learnat.training.prompts import PromptStyle
from learnat.training.tokenizer import train_tokenizer

SCHEMA, QUESTION, QUESTIONS = 1500, (30, 60), 20
"""Tokens of a schema, of a question (from, to), and questions of a database."""

FIRST_TOKEN = 3
"""The first id that is not a special token's."""

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
class Errors:
    """The greatest differences of log-probs: of a token in nats, of a token and of an answer relatively."""

    token: float
    token_relative: float
    answer_relative: float


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


def logprob_errors(policy: Policy, rows: Sequence[Row], tokens: int) -> dict[str, Errors]:
    """How far made-up answers' log-probs are from one another, by what is compared. Weights are as they were after."""
    rng, vocabulary = random.Random(1), policy.model.config.vocab_size
    answers = {row.prompt: [rng.randrange(FIRST_TOKEN, vocabulary) for _ in range(tokens)] for row in rows}
    held, found = policy.model.dtype, {}
    for dtype in dict.fromkeys((held, torch.float32)):
        cast(policy, dtype)
        found[dtype] = whole_logprobs(policy, answers), cached_logprobs(policy, rows, answers)
    cast(policy, held)
    precise = found[torch.float32]
    errors = {"float32: cached against whole": errors_of(precise[1], precise[0])}
    if held != torch.float32:
        name, (whole, cached) = str(held).removeprefix("torch."), found[held]
        errors[f"{name}: cached against whole"] = errors_of(cached, whole)
        errors[f"cached {name} against whole float32"] = errors_of(cached, precise[0])
        errors[f"whole {name} against whole float32"] = errors_of(whole, precise[0])
    return errors


def cast(policy: Policy, dtype: torch.dtype) -> None:
    """The weights alone: rotary frequencies are float32 in any case."""
    for parameter in policy.model.parameters():
        parameter.data = parameter.data.to(dtype)


def errors_of(found: LogProbs, right: LogProbs) -> Errors:
    answers = torch.stack([found[prompt] for prompt in right]).double(), torch.stack(list(right.values())).double()
    each, sums = answers[0] - answers[1], answers[0].sum(-1) / answers[1].sum(-1) - 1
    return Errors(float(each.abs().max()), float((each / answers[1]).abs().max()), float(sums.abs().max()))


Answers = dict[tuple[int, ...], list[int]]
LogProbs = dict[tuple[int, ...], torch.Tensor]
"""Of each prompt's answer, token by token."""


@torch.inference_mode()
def whole_logprobs(policy: Policy, answers: Answers) -> LogProbs:
    """By one pass over prompt and answer, one sequence at a time."""
    prepare(policy, policy.model.device.type)
    found = {}
    for prompt, answer in answers.items():
        ids = torch.tensor([[*prompt, *answer]], device=policy.model.device)
        output = policy.model(input_ids=ids, use_cache=False, logits_to_keep=len(answer) + 1)
        logprobs = output.logits[0, :-1].float().log_softmax(-1)
        found[prompt] = logprobs.gather(-1, ids[0, -len(answer) :, None])[:, 0]
    return found


@torch.inference_mode()
def cached_logprobs(policy: Policy, rows: Sequence[Row], answers: Answers) -> LogProbs:
    """By the steps that decoding takes, all rows together."""
    writer = BatchWriter(policy, len(rows), policy.model.device.type)
    writer.start()
    prompts = shared_prompts(rows, PrefixCache(), policy.model)
    given = torch.tensor([answers[prompt] for prompt in prompts.ids], device=policy.model.device)
    logits, key_values = read_prompts(policy.model, prompts)
    step = DecodeStep(policy, prompts, key_values, range(len(prompts.ids)), given.shape[1])
    logprobs = []
    for tokens in given.T:
        logprobs.append(logits.log_softmax(-1).gather(-1, tokens[:, None])[:, 0])
        logits = step(tokens)
    writer.release()
    return dict(zip(prompts.ids, torch.stack(logprobs, dim=1), strict=True))


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
        for side, one in found.items():
            table.add_row(*cells(size, side, one, found["whole"], len(rows), args.tokens))
    console.print(table)


def logprob_table(errors: dict[str, Errors]) -> Table:
    table = Table(title=f"Log-probs of {ROWS_CHECKED} made-up answers, greatest differences")
    for name in ("", "a token's, nats", "a token's, relative", "an answer's, relative"):
        table.add_column(name, justify="right" if name else "left")
    for what, one in errors.items():
        table.add_row(what, *(f"{error:.1e}" for error in (one.token, one.token_relative, one.answer_relative)))
    return table


def told(one: Measured | str) -> str:
    return one if isinstance(one, str) else f"{one.prefill_s:.1f} s to first tokens, {one.whole_s:.1f} s in all"


def cells(size: int, side: str, one: Measured | str, base: Measured | str, questions: int, tokens: int) -> list[str]:
    if isinstance(one, str):
        return [str(size), side, one]
    decoding = _decoding(one, questions, tokens)
    values = [f"{one.prefill_s:.3f}", f"{decoding:,.0f}", f"{questions / one.whole_s:.1f}"]
    ratios, equal = ["–"] * 3, "–"
    if isinstance(base, Measured):
        faster = (
            base.prefill_s / one.prefill_s,
            decoding / _decoding(base, questions, tokens),
            base.whole_s / one.whole_s,
        )
        ratios = [f"{ratio:.2f}" for ratio in faster]
        equal = f"{sum(a.text == b.text for a, b in zip(one.completions, base.completions, strict=True))}/{questions}"
    batch = str(size) if one.size == size else f"{size} → {one.size}"
    return [batch, side, *(cell for pair in zip(values, ratios, strict=True) for cell in pair), equal]


def _decoding(one: Measured, questions: int, tokens: int) -> float:
    """Tokens a second after the first ones."""
    return questions * (tokens - 1) / (one.whole_s - one.prefill_s)


def arguments() -> argparse.Namespace:
    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="7b" if on_gpu else "embedded")
    parser.add_argument("--databases", type=int, default=20 if on_gpu else 2)
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256] if on_gpu else [20])
    parser.add_argument("--tokens", type=int, default=64, help="tokens of an answer, 2 at least")
    limit = 180 if on_gpu else math.inf
    parser.add_argument("--seconds", type=float, default=limit, help="no side is measured that starts after this long")
    parser.add_argument("ignored", nargs="*", metavar="KEY=VALUE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
