"""Real tries as token ids, in one file that needs neither the benchmark's data nor its readers.

    python benchmarks/speed/tokenised.py OUT.jsonl data=spider [KEY=VALUE …]

takes overrides of conf/synthesize.yaml: it synthesises trees of a sample of databases, renders ``m_schema`` prompts
with three sample values a column, and selects pairs with two rejected steps for each chosen one. Token ids come from a
byte-level BPE with Qwen2's pre-tokenizer, trained on the whole split's text (on less its tokens are shorter than a
pretrained model's, which would flatter shared prefixes). The file holds real questions: it is not to be committed.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learnat.training.packing import Item, shared_tries
from learnat.training.tries import TokenTrie, TrieNode, TriePair, join

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from learnat.benchmarks.types import Benchmark, Example
    from learnat.training.prompts import PromptStyle

CONF = Path(__file__).parents[2] / "conf"
DATABASES = 24
QUESTIONS = 32
"""Of each database, at most."""
QUESTIONS_PER_TRIE = 16
VOCABULARY = 32_000
STYLE = ("m_schema", 3)
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Question:
    """One question's tries; ``preference`` is None where a tree has no step pair."""

    db_id: str
    sft: TokenTrie
    preference: TokenTrie | None


def write(path: Path, questions: Sequence[Question]) -> None:
    """JSON lines: the databases' tokens, then a line a question whose tries leave their root out."""
    roots = {question.db_id: question.sft.nodes[0].ids for question in questions}
    lines: list[Any] = [roots]
    for question in questions:
        tries = {"sft": _packed(question.sft), "preference": question.preference and _packed(question.preference)}
        lines.append({"db_id": question.db_id, **tries})
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


def read(path: Path, vocabulary: int) -> list[Question]:
    """The questions of a file that ``write`` made; ids beyond a smaller ``vocabulary`` are wrapped around."""
    lines = path.read_text().splitlines()
    roots: dict[str, list[int]] = json.loads(lines[0])
    questions = []
    for line in lines[1:]:
        record = json.loads(line)
        root = TrieNode(-1, _wrapped(roots[record["db_id"]], vocabulary))
        sft, preference = (
            None if record[kind] is None else _unpacked(root, record[kind], vocabulary)
            for kind in ("sft", "preference")
        )
        assert sft is not None
        questions.append(Question(record["db_id"], sft, preference))
    return questions


def _packed(trie: TokenTrie) -> dict[str, Any]:
    return {
        "nodes": [[node.parent, int(node.supervised), node.weight, node.ids] for node in trie.nodes[1:]],
        "pairs": [[pair.chosen, pair.rejected, pair.margin] for pair in trie.pairs],
    }


def _unpacked(root: TrieNode, record: dict[str, Any], vocabulary: int) -> TokenTrie:
    nodes = [TrieNode(p, _wrapped(ids, vocabulary), bool(s), w) for p, s, w, ids in record["nodes"]]
    return TokenTrie((root, *nodes), tuple(TriePair(*pair) for pair in record["pairs"]))


def _wrapped(ids: Iterable[int], vocabulary: int) -> tuple[int, ...]:
    return tuple(i % vocabulary for i in ids)


def make(overrides: Sequence[str], databases: int = DATABASES) -> list[Question]:
    """Synthesise, render, tokenise and select; prints what a reader needs to judge the lengths by."""
    from hydra.utils import instantiate

    from learnat.recipes.synthesize import synthesizer_of
    from learnat.synthesis.runner import synthesize
    from learnat.synthesis.tree import read_trees
    from learnat.training.encoding import PromptEncoder
    from learnat.training.prompts import PromptStyle
    from learnat.training.selection import PairSelection, TrieBuilder

    cfg, style = config(overrides), PromptStyle(*STYLE)
    whole: Benchmark = instantiate(cfg.data.benchmark)
    examples = whole.examples(cfg.data.split)
    names = sample(examples, databases)
    encoder = PromptEncoder(tokenizer(texts(whole, examples, style)), style)
    chosen: Benchmark = instantiate(cfg.data.benchmark, databases=names)
    by_id = {example.example_id: example for example in chosen.examples(cfg.data.split)}
    builder, selection = TrieBuilder(encoder), PairSelection(rejected_per_step=2)
    questions: dict[str, list[Question]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        path = synthesize(chosen, cfg.data.split, synthesizer_of(cfg), Path(folder), cfg.workers)
        for tree in read_trees(path):
            example, database, pairs = by_id[tree.example_id], whole.database(tree.db_id), selection.pairs(tree)
            sft = builder.sft(tree, example, database, paths=1)
            if sft is not None and len(questions[tree.db_id]) < QUESTIONS:
                preference = builder.preference(tree, example, database, pairs) if pairs else None
                questions[tree.db_id].append(Question(tree.db_id, sft, preference))
    found = [question for group in questions.values() for question in group]
    schemas = [style.database_text(whole.database(name)) for name in names]
    queries = [example.gold_sql for example in by_id.values()]
    for what, parts in (("schema", schemas), ("SQL", queries)):
        tokens = sum(map(len, encoder.tokenizer(parts)["input_ids"]))
        print(f"{what}: {sum(map(len, parts)) / tokens:.2f} characters a token")
    describe(found)
    return found


def config(overrides: Sequence[str]) -> Any:
    from hydra import compose, initialize_config_dir

    fixed = ["data.split=train", f"data.schema_style={STYLE[0]}", f"data.samples={STYLE[1]}"]
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        return compose("synthesize", overrides=[*fixed, *overrides])


def sample(examples: Sequence[Example], databases: int) -> list[str]:
    """Some of the databases that have questions enough, the same at every call; all where there are few."""
    counts = Counter(example.db_id for example in examples)
    enough = sorted(name for name, count in counts.items() if count >= QUESTIONS) or sorted(counts)
    return sorted(random.Random(0).sample(enough, min(databases, len(enough))))


def texts(benchmark: Benchmark, examples: Sequence[Example], style: PromptStyle) -> Iterator[str]:
    """What the tokenizer learns from: schemas, questions and SQL."""
    for db_id in dict.fromkeys(example.db_id for example in examples):
        yield style.database_text(benchmark.database(db_id))
    for example in examples:
        yield f"{example.question}\n{example.gold_sql}"


def tokenizer(corpus: Iterable[str]) -> PreTrainedTokenizerBase:
    """A byte-level BPE with Qwen2's normaliser, pre-tokenizer, special tokens and chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer

    template = Qwen2Tokenizer()._tokenizer
    bpe = Tokenizer(models.BPE())
    bpe.normalizer, bpe.pre_tokenizer, bpe.decoder = template.normalizer, template.pre_tokenizer, template.decoder
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        ),
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = CHAT_TEMPLATE
    return fast


def describe(questions: Sequence[Question]) -> None:
    """Print lengths, pairs, and how many times the tokens of tries the rows of single pairs are, without padding."""
    tries = [question.preference for question in questions if question.preference is not None]
    prompts = [sum(len(node.ids) for node in question.sft.nodes[:2]) for question in questions]
    steps = [len(node.ids) for trie in tries for node in trie.nodes if node.supervised]
    pairs = [len(trie.pairs) for trie in tries]
    print(
        f"{len(questions)} questions of {len({q.db_id for q in questions})} databases, {len(tries)} with "
        f"{sum(pairs)} pairs; medians: prompt {statistics.median(prompts):.0f} tokens (longest {max(prompts)}), "
        f"step {statistics.median(steps):.0f}, pairs a question {statistics.median(pairs):.0f}"
    )
    items = [Item(question.db_id, question.preference) for question in questions if question.preference is not None]
    shared = sum(join([item.trie for item in group]).tokens for group in shared_tries(items, QUESTIONS_PER_TRIE))
    ends = [(trie, node) for trie in tries for pair in trie.pairs for node in (pair.chosen, pair.rejected)]
    single = sum(len(trie.nodes[i].ids) for trie, node in ends for i in trie.path(node))
    print(
        f"{single:,} tokens in rows of pairs, {shared:,} in tries of {QUESTIONS_PER_TRIE} questions: "
        f"{single / shared:.1f} times as many"
    )


def main() -> None:
    if len(sys.argv) < 2 or "=" in sys.argv[1] or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    out = Path(sys.argv[1])
    write(out, make(sys.argv[2:]))
    print(f"{out}: {out.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
