"""A byte-level BPE trained on the benchmark's own text, for models trained from scratch.

It uses Qwen2's normaliser and pre-tokenizer: ``AutoTokenizer`` swaps those in when it loads a Qwen2 folder, so any
other choice would change ids on reload.

Qwen2's pre-tokenizer glues the character before a word to it, so plain BPE would spell one name in many ways:
``" name"`` in a question, ``".name"``, ``"(name"`` and ``"'name"`` in SQL. A small model could then not copy a value or
a column from question to SQL, because no two occurrences share a token. Here words are merged without what precedes
them; only words that always follow the same character (``" FROM"``, ``" whose"``) are merged with it.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

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

# A pre-token of Qwen2 that is one character and the word it precedes.
_PREFIXED_WORD = re.compile(r"([^\r\n\w]|_)([^\W\d_]+)")


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerBase:
    """A Qwen2 tokenizer with at most ``vocab_size`` entries, special tokens included, trained on ``texts``."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
    from transformers import AddedToken, Qwen2Tokenizer

    corpus = list(texts)
    template = Qwen2Tokenizer()._tokenizer
    prefixes = _constant_prefixes(corpus, template.normalizer)
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = template.normalizer
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            template.pre_tokenizer[0],
            pre_tokenizers.Split(Regex(r"\p{L}+"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    special = [PAD_TOKEN, END_TOKEN, ANSWER_TOKEN]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - min(len(prefixes), vocab_size // 4),
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(corpus, trainer)
    trained = json.loads(bpe.to_str())["model"]
    vocab, merges = trained["vocab"], [tuple(merge) for merge in trained["merges"]]
    # Appended merges have the lowest priority: a word is whole before it meets its prefix.
    for word, prefix in prefixes.items():
        if len(vocab) == vocab_size:
            break
        if word in vocab and prefix in vocab and prefix + word not in vocab:
            vocab[prefix + word] = len(vocab)
            merges.append((prefix, word))
    tokenizer = Qwen2Tokenizer(
        vocab=vocab,
        merges=merges,
        unk_token=None,
        eos_token=END_TOKEN,
        pad_token=PAD_TOKEN,
        extra_special_tokens=[AddedToken(ANSWER_TOKEN, special=True)],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _constant_prefixes(corpus: list[str], normalizer: Any) -> dict[str, str]:
    """Words that always follow one and the same character, most frequent first, with it; both as byte-level text."""
    from tokenizers import pre_tokenizers

    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for text in corpus:
        for prefix, word in _PREFIXED_WORD.findall(normalizer.normalize_str(" " + text)):
            seen[word][prefix] += 1
    constant = {word: counts for word, counts in seen.items() if len(counts) == 1 and counts.total() > 1}
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)

    def encoded(piece: str) -> str:
        return byte_level.pre_tokenize_str(piece)[0][0]

    ordered = sorted(constant, key=lambda word: (-constant[word].total(), word))
    return {encoded(word): encoded(next(iter(constant[word]))) for word in ordered}
