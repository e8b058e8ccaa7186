"""A byte-level BPE trained on the benchmark's own text, for models trained from scratch.

It uses Qwen2's normaliser and pre-tokenizer: ``AutoTokenizer`` swaps those in when it loads a Qwen2 folder, so any
other choice would change ids on reload.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PAD_TOKEN = "<|endoftext|>"
END_TOKEN = "<|im_end|>"
ANSWER_TOKEN = "<|answer|>"

# A model trained from scratch learns its one task from examples: the system message would only cost tokens.
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '" + ANSWER_TOKEN + "' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerBase:
    """A Qwen2 tokenizer with at most ``vocab_size`` entries, special tokens included, trained on ``texts``."""
    import json

    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import AddedToken, Qwen2Tokenizer

    template = Qwen2Tokenizer()._tokenizer
    bpe = Tokenizer(models.BPE())
    bpe.normalizer, bpe.pre_tokenizer = template.normalizer, template.pre_tokenizer
    special = [PAD_TOKEN, END_TOKEN, ANSWER_TOKEN]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    trained = json.loads(bpe.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=trained["vocab"],
        merges=[tuple(merge) for merge in trained["merges"]],
        unk_token=None,
        eos_token=END_TOKEN,
        pad_token=PAD_TOKEN,
        extra_special_tokens=[AddedToken(ANSWER_TOKEN, special=True)],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
