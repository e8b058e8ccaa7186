"""Batched generation with a local policy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import GenerationConfig, StopStringCriteria

from learnat.errors import LearnatError, nearest
from learnat.inference.decoding import Row, RowEnds, RowSampler, Watch, go_on
from learnat.inference.engines.base import Completion, Decoding, without_room
from learnat.training.logprobs import causal_lm
from learnat.training.models import Policy

DEVICES = ("auto", "cpu", "cuda")
LONG_PROMPT = 512
"""Tokens from which a prompt's cache is allocated at once."""


def check_device(key: str, device: str) -> None:
    """Raise ``LearnatError`` unless ``device``, configured as ``key``, is one of ``DEVICES`` and to be had here."""
    if device not in DEVICES:
        raise LearnatError(f"{key}={device!r} is not known. {nearest(str(device), DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise LearnatError(f"{key}=cuda, but PyTorch sees no GPU here: use {key}=auto or cpu, or another machine.")


def prepare(policy: Policy, device: str) -> None:
    """Move the policy to ``device`` (``auto``: a GPU if there is one) and make it ready to generate."""
    causal_lm(policy.model).set_attn_implementation(policy.attention)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    policy.model.to(device).eval()


def complete(
    policy: Policy,
    rows: Sequence[Row],
    decoding: Decoding,
    stop: StopStringCriteria | None = None,
    watch: Watch = go_on,
) -> list[Completion]:
    """The completions of ``rows``, decoded together by a policy that is ready to (see ``prepare``).

    Each row has the room that its own prompt leaves in the context; where that is none, its completion is empty and
    unfinished.

    Args:
        stop: of ``decoding.stop``, see ``stop_criteria``.
        watch: told of every token; once it says so, what is written so far is returned.
    """
    room = rooms(policy, rows, decoding)
    fitting = [i for i in range(len(rows)) if room[i] > 0]
    completions = [without_room(len(row.prompt)) for row in rows]
    if fitting:
        chosen, limits = [rows[i] for i in fitting], [room[i] for i in fitting]
        for i, completion in zip(fitting, _generate(policy, chosen, limits, decoding, stop, watch), strict=True):
            completions[i] = completion
    return completions


def rooms(policy: Policy, rows: Sequence[Row], decoding: Decoding) -> list[int]:
    """How many tokens each row may get; none, or less, where its prompt fills the context."""
    return [min(decoding.max_new_tokens, policy.context_length - len(row.prompt)) for row in rows]


@torch.inference_mode()
def _generate(
    policy: Policy,
    rows: Sequence[Row],
    room: Sequence[int],
    decoding: Decoding,
    stop: StopStringCriteria | None,
    watch: Watch,
) -> list[Completion]:
    device = next(policy.model.parameters()).device
    width = max(len(row.prompt) for row in rows)
    ids = torch.full((len(rows), width), policy.tokenizer.pad_token_id)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, width - len(row.prompt) :] = torch.tensor(row.prompt)
        mask[i, width - len(row.prompt) :] = 1
    # A configuration of our own: what a model ships (Qwen's repetition penalty, say) would change the decoding.
    config = GenerationConfig(
        max_new_tokens=max(room),
        do_sample=False,
        # A growing cache copies itself at every token: behind long prompts one of full size is three times as fast.
        cache_implementation="static" if width >= LONG_PROMPT else None,
        disable_compile=True,
        eos_token_id=sorted(policy.end_tokens),
        pad_token_id=policy.tokenizer.pad_token_id,
    )
    ends = RowEnds(width, room, stop, watch, device)
    sampled = any(row.seed is not None for row in rows)
    samplers = [RowSampler(rows, decoding, max(room), device)] if sampled else []
    shipped, policy.model.generation_config = policy.model.generation_config, config
    try:
        out = policy.model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            logits_processor=samplers,
            stopping_criteria=[ends],
        )
    finally:
        policy.model.generation_config = shipped
    written = zip(rows, out[:, width:].tolist(), ends.lengths(), strict=True)
    return [completion_of(policy, row, tokens[:length], stopped) for row, tokens, (length, stopped) in written]


def completion_of(policy: Policy, row: Row, tokens: Sequence[int], stopped: bool, cached: int = 0) -> Completion:
    """What ``tokens`` say up to the first end token. ``stopped``: they end with the stop string."""
    end = next((i for i, token in enumerate(tokens) if token in policy.end_tokens), None)
    answer = tokens[:end]
    ended = end is not None
    return Completion(policy.tokenizer.decode(answer), len(row.prompt), len(answer) + ended, ended or stopped, cached)
