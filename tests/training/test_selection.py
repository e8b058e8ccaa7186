"""Which steps are learnt from, and how their tries are laid out."""

from __future__ import annotations

import pytest

from learnat.benchmarks.types import Database, Example
from learnat.errors import LearnatError
from learnat.sql.schema import Column, Schema, Table
from learnat.synthesis.tree import Node, SearchTree, Step, TreeStats
from learnat.training.encoding import PromptEncoder
from learnat.training.prompts import PromptStyle, example_text, step_text
from learnat.training.selection import PairSelection, TrieBuilder, chosen_paths
from learnat.training.tokenizer import CHAT_TEMPLATE, train_tokenizer
from learnat.training.tries import join

QUESTION = "How many singers are older than 30?"
GOLD = "SELECT count(*) FROM singer WHERE age > 30"
DATABASE = Database("music", None, Schema((Table("singer", (Column("name"), Column("age", "INTEGER"))),)))
EXAMPLE = Example(0, "train/0", "train", "music", QUESTION, "", GOLD)


def node(number: int, parent: int, sql: str, reward: float, **known: object) -> Node:
    facts = {"included": True, "final": False, "pruned_by": None, **known}
    known_by_search = {"visits": 1, "value": reward, "source": "ast"}
    return Node(number, parent, f"step {number}", sql, reward=reward, coverage=reward, **facts, **known_by_search)  # type: ignore[arg-type]


def tree(*nodes: Node) -> SearchTree:
    stats = TreeStats(any(n.final for n in nodes), 2, 1, 1, 0, 0, 0, 0.0)
    return SearchTree(1, "train/0", "music", QUESTION, "", GOLD, nodes, stats)


WRONG = {"included": False, "pruned_by": "included"}
TREE = tree(
    node(1, 0, "SELECT name FROM singer WHERE age > 30", 0.8),
    node(2, 0, "SELECT name FROM singer WHERE age < 30", 0.4, **WRONG),
    node(3, 0, "SELEC name", 0.0, included=False, pruned_by="parses"),
    node(4, 0, "SELECT age FROM singer", 0.7, pruned_by="progress"),
    node(5, 0, "SELECT name FROM singers", 0.2, included=False, pruned_by="runs"),
    node(6, 1, GOLD, 1.0, final=True),
    node(7, 1, "SELECT sum(age) FROM singer WHERE age > 30", 0.45, **WRONG),
)


@pytest.fixture(scope="module")
def encoder() -> PromptEncoder:
    texts = [step_text(Step(n.sub_question, n.sql)) for n in TREE.nodes] + [QUESTION]
    return PromptEncoder(train_tokenizer(texts, 400), PromptStyle("compact", 0))


def test_the_chosen_path_is_the_shortest_solved_one() -> None:
    assert [[n.id for n in path] for path in chosen_paths(TREE, 3)] == [[1, 6]]
    shortcut = tree(*TREE.nodes, node(8, 0, GOLD, 1.0, final=True))
    assert [[n.id for n in path] for path in chosen_paths(shortcut, 1)] == [[8]]


def test_right_sql_is_never_rejected() -> None:
    pairs = PairSelection(rejected_per_step=9).pairs(TREE)
    assert [(p.chosen.id, p.rejected.id) for p in pairs] == [(1, 2), (1, 5), (1, 3), (6, 7)]
    assert [round(p.margin, 2) for p in pairs] == [0.4, 0.6, 0.8, 0.55]


def test_pairs_can_be_capped_filtered_and_widened() -> None:
    def ids(**options: object) -> list[tuple[int, int]]:
        return [(p.chosen.id, p.rejected.id) for p in PairSelection(**options).pairs(TREE)]  # type: ignore[arg-type]

    assert ids(rejected_per_step=1) == [(1, 2), (6, 7)]
    assert ids(min_margin=0.5, rejected_per_step=9) == [(1, 5), (1, 3), (6, 7)]
    assert (1, 4) in ids(among_included=True, rejected_per_step=9)
    assert sorted(ids(rejected="random", rejected_per_step=9)) == sorted(ids(rejected_per_step=9))


def test_the_sft_trie_spells_prompt_and_answer(encoder: PromptEncoder) -> None:
    trie = TrieBuilder(encoder).sft(TREE, EXAMPLE, DATABASE, paths=1)
    assert trie is not None
    last = len(trie.nodes) - 1
    text = encoder.tokenizer.decode([i for n in trie.path(last) for i in trie.nodes[n].ids])
    answer = f"-- step 1\nSELECT name FROM singer WHERE age > 30;\n-- step 6\n{GOLD};\n<|im_end|>"
    assert text == PromptStyle("compact", 0).database_text(DATABASE) + example_text(EXAMPLE) + "<|answer|>" + answer
    assert [(n.supervised, n.weight) for n in trie.nodes] == [(False, 0), (False, 0), (True, 1), (True, 1)]


def test_right_steps_may_be_learnt_without_a_pair(encoder: PromptEncoder) -> None:
    strict = {"min_margin": 0.5, "rejected_per_step": 1}
    assert PairSelection(**strict).alone(TREE) == []  # type: ignore[arg-type]
    selection = PairSelection(**strict, unpaired=True)  # type: ignore[arg-type]
    assert [step.id for step in selection.alone(TREE)] == [1, 6]

    builder = TrieBuilder(encoder)
    trie = builder.preference(TREE, EXAMPLE, DATABASE, [], selection.alone(TREE))
    sft = builder.sft(TREE, EXAMPLE, DATABASE, paths=1)
    assert sft is not None and trie.nodes == sft.nodes and trie.pairs == ()
    paired = builder.preference(TREE, EXAMPLE, DATABASE, selection.pairs(TREE)[:1], selection.alone(TREE))
    assert [(n.supervised, n.weight) for n in paired.nodes[2:]] == [(True, 1), (True, 1), (True, 0)]


def test_the_preference_trie_holds_each_prefix_once(encoder: PromptEncoder) -> None:
    pairs = PairSelection(rejected_per_step=9).pairs(TREE)
    trie = TrieBuilder(encoder).preference(TREE, EXAMPLE, DATABASE, pairs)
    assert len(trie.nodes) == 2 + 6  # schema, question; 1, 2, 3, 5, 6, 7
    for pair, (chosen, rejected) in zip(trie.pairs, [(1, 2), (1, 5), (1, 3), (6, 7)], strict=True):
        for index, number in ((pair.chosen, chosen), (pair.rejected, rejected)):
            assert f"step {number}\n" in encoder.tokenizer.decode(trie.nodes[index].ids)
        assert trie.nodes[pair.chosen].parent == trie.nodes[pair.rejected].parent
    for i, end in enumerate(trie.subtree_end):
        assert all((i in trie.path(j)) == (i <= j < end) for j in range(len(trie.nodes)))
    joined = join([trie, trie])
    assert joined.tokens == 2 * trie.tokens - len(trie.nodes[0].ids)
    assert joined.questions == 2 and len(joined.pairs) == 8


def test_an_unsolved_tree_teaches_nothing(encoder: PromptEncoder) -> None:
    unsolved = tree(*TREE.nodes[:5])
    assert TrieBuilder(encoder).sft(unsolved, EXAMPLE, DATABASE, 1) is None
    assert PairSelection().pairs(unsolved) == []


def test_steps_tokenised_alone_are_the_whole_answer(encoder: PromptEncoder) -> None:
    steps = [Step(n.sub_question, n.sql) for n in TREE.nodes]
    encoder.check(DATABASE, EXAMPLE, steps)


def test_a_tokenizer_without_chat_template_is_refused() -> None:
    tokenizer = train_tokenizer([QUESTION], 300)
    tokenizer.chat_template = None
    with pytest.raises(LearnatError, match="no chat template"):
        PromptEncoder(tokenizer, PromptStyle())
    tokenizer.chat_template = CHAT_TEMPLATE
    assert PromptEncoder(tokenizer, PromptStyle()).eos_token_id == tokenizer.eos_token_id
