"""A language model small enough to be made in a test, taught to answer every prompt with one of a few replies."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from learnat.training.tokenizer import train_tokenizer

# The parser of replies in transformers serve knows a Qwen model's own turns by these marks.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STEPS = 100
BATCH = 8
WINDOW = 32
"""Tokens that attention looks back. What is learnt behind the end of a prompt then holds behind a whole one."""


def make_chat_model(folder: Path, chats: Sequence[Sequence[dict[str, str]]], replies: Sequence[str]) -> float:
    """Write a Qwen2 model of about a million parameters, and its tokenizer, to ``folder``.

    Trained on ``chats``, each with one of ``replies`` drawn at random, so that sampling gives all of them. Returns the
    last loss, a mean over reply tokens.
    """
    rng = random.Random(0)
    torch.manual_seed(0)
    tokenizer = train_tokenizer([*(message["content"] for chat in chats for message in chat), *replies], 1024)
    tokenizer.chat_template = CHAT_TEMPLATE
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        use_sliding_window=True,
        sliding_window=WINDOW,
        max_window_layers=0,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen2ForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    loss = torch.tensor(0.0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a model only waits for more of them, above all on a busy machine
    for _ in range(STEPS):
        rows = [_row(tokenizer, rng.choice(chats), rng.choice(replies)) for _ in range(BATCH)]
        ids = torch.nn.utils.rnn.pad_sequence([row[0] for row in rows], True, tokenizer.pad_token_id)
        labels = torch.nn.utils.rnn.pad_sequence([row[1] for row in rows], True, -100)
        loss = model(input_ids=ids, labels=labels).loss  # padding is on the right: causal attention never sees it
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.set_num_threads(threads)
    model.generation_config.update(do_sample=True, eos_token_id=tokenizer.eos_token_id)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return float(loss.detach())


def _row(tokenizer: object, chat: Sequence[dict[str, str]], reply: str) -> tuple[torch.Tensor, torch.Tensor]:
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)  # type: ignore[attr-defined]
    prompt_ids = tokenizer(prompt).input_ids[-2 * WINDOW :]  # type: ignore[operator]
    reply_ids = [*tokenizer(reply).input_ids, tokenizer.eos_token_id]  # type: ignore[operator,attr-defined]
    labels = [-100] * len(prompt_ids) + reply_ids
    return torch.tensor(prompt_ids + reply_ids), torch.tensor(labels)
