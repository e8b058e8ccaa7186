"""Batched generation with a local policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import GenerationConfig

from learnat.errors import LearnatError, nearest
from learnat.training.logprobs import causal_lm
from learnat.training.models import Policy

DEVICES = ("auto", "cpu", "cuda")
LONG_PROMPT = 512
"""Tokens from which a prompt's cache is allocated at once."""


@dataclass(frozen=True)
class Completion:
    """What the policy wrote. ``finished`` says that it ended by itself, not at the token limit."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finished: bool


@dataclass(frozen=True)
class GreedyGeneration:
    """Greedy decoding, ``batch_size`` prompts at a time, at most ``max_new_tokens`` tokens each.

    ``device`` is ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``; the policy is moved there.
    """

    batch_size: int = 64
    max_new_tokens: int = 256
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise LearnatError(f"inference.device={self.device!r} is not known. {nearest(self.device, DEVICES)}")

    def generate(self, policy: Policy, prompts: Sequence[Sequence[int]]) -> Iterator[tuple[int, Completion]]:
        """Yield (position in ``prompts``, completion), longest prompts first, a batch at a time.

        Sorting by length keeps padding small; starting with the longest shows a lack of memory at once. Prompts that
        leave no room in the context are answered by an empty, unfinished completion.
        """
        model = causal_lm(policy.model)
        model.set_attn_implementation(policy.attention)
        was_training = policy.model.training
        device = self.device if self.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        policy.model.to(device).eval()
        try:
            order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
            fitting = [i for i in order if len(prompts[i]) < policy.context_length]
            for i in order[: len(order) - len(fitting)]:
                yield i, Completion("", len(prompts[i]), 0, False)
            for start in range(0, len(fitting), self.batch_size):
                batch = fitting[start : start + self.batch_size]
                yield from zip(batch, self._batch(policy, [prompts[i] for i in batch]), strict=True)
        finally:
            policy.model.train(was_training)

    @torch.inference_mode()
    def _batch(self, policy: Policy, prompts: Sequence[Sequence[int]]) -> list[Completion]:
        tokenizer = policy.tokenizer
        width = max(len(prompt) for prompt in prompts)
        device = next(policy.model.parameters()).device
        ids = torch.full((len(prompts), width), tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        # A configuration of our own: what a model ships (Qwen's repetition penalty, say) would not be greedy decoding.
        config = GenerationConfig(
            max_new_tokens=min(self.max_new_tokens, policy.context_length - width),
            do_sample=False,
            # A growing cache copies itself at every token: behind long prompts one of full size is three times as fast.
            cache_implementation="static" if width >= LONG_PROMPT else None,
            disable_compile=True,
            eos_token_id=sorted(policy.end_tokens),
            pad_token_id=tokenizer.pad_token_id,
        )
        shipped, policy.model.generation_config = policy.model.generation_config, config
        try:
            out = policy.model.generate(input_ids=ids.to(device), attention_mask=mask.to(device))
        finally:
            policy.model.generation_config = shipped
        out = out[:, width:].tolist()
        return [self._completion(policy, prompt, tokens) for prompt, tokens in zip(prompts, out, strict=True)]

    def _completion(self, policy: Policy, prompt: Sequence[int], tokens: list[int]) -> Completion:
        end = next((i for i, token in enumerate(tokens) if token in policy.end_tokens), None)
        finished = end is not None
        answer = tokens[:end]
        return Completion(policy.tokenizer.decode(answer), len(prompt), len(answer) + finished, finished)
