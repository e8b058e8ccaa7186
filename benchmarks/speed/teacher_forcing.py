"""Log-probs of made-up answers behind prompts that share their beginning, cached against computed whole."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from rich.table import Table

from learnat.inference.decoding import Row
from learnat.inference.generate import prepare
from learnat.inference.prefix_cache import PrefixCache, shared_prompts
from learnat.inference.prefix_decoding import DecodeStep, read_prompts
from learnat.inference.writer import BatchWriter
from learnat.training.models import Policy

FIRST_TOKEN = 3
"""The first id that is not a special token's."""

Answers = dict[tuple[int, ...], list[int]]
LogProbs = dict[tuple[int, ...], torch.Tensor]
"""Of each prompt's answer, token by token."""


@dataclass(frozen=True)
class Errors:
    """The greatest differences of log-probs: of a token in nats, of a token and of an answer relatively."""

    compared: str
    token: float
    token_relative: float
    answer_relative: float


def logprob_errors(policy: Policy, rows: Sequence[Row], tokens: int) -> list[Errors]:
    """How far made-up answers' log-probs are from one another. Afterwards the weights are as they were."""
    rng, vocabulary = random.Random(1), policy.model.config.vocab_size
    answers = {row.prompt: [rng.randrange(FIRST_TOKEN, vocabulary) for _ in range(tokens)] for row in rows}
    held, found = policy.model.dtype, {}
    for dtype in dict.fromkeys((held, torch.float32)):
        cast(policy, dtype)
        found[dtype] = whole_logprobs(policy, answers), cached_logprobs(policy, rows, answers)
    cast(policy, held)
    precise = found[torch.float32]
    errors = [errors_of("float32: cached against whole", precise[1], precise[0])]
    if held != torch.float32:
        name, (whole, cached) = str(held).removeprefix("torch."), found[held]
        errors.append(errors_of(f"{name}: cached against whole", cached, whole))
        errors.append(errors_of(f"cached {name} against whole float32", cached, precise[0]))
        errors.append(errors_of(f"whole {name} against whole float32", whole, precise[0]))
    return errors


def cast(policy: Policy, dtype: torch.dtype) -> None:
    """The weights alone: rotary frequencies are float32 in any case."""
    for parameter in policy.model.parameters():
        parameter.data = parameter.data.to(dtype)


def errors_of(compared: str, found: LogProbs, right: LogProbs) -> Errors:
    answers = torch.stack([found[prompt] for prompt in right]).double(), torch.stack(list(right.values())).double()
    each, sums = answers[0] - answers[1], answers[0].sum(-1) / answers[1].sum(-1) - 1
    return Errors(compared, float(each.abs().max()), float((each / answers[1]).abs().max()), float(sums.abs().max()))


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


def logprob_table(errors: Sequence[Errors]) -> Table:
    table = Table(title="Log-probs of made-up answers, greatest differences")
    for name in ("", "a token's, nats", "a token's, relative", "an answer's, relative"):
        table.add_column(name, justify="right" if name else "left")
    for one in errors:
        numbers = (one.token, one.token_relative, one.answer_relative)
        table.add_row(one.compared, *(f"{number:.1e}" for number in numbers))
    return table
