"""Replay: what a file says is proposed, whoever made it, and nothing else is asked."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from learnat.benchmarks.spider import SpiderBenchmark
from learnat.benchmarks.types import Benchmark, Example
from learnat.errors import LearnatError
from learnat.synthesis.growth import Budget
from learnat.synthesis.proposers.ast import AstProposer
from learnat.synthesis.proposers.base import Proposal, Proposals, Proposer, Request
from learnat.synthesis.proposers.replay import NOTHING_KNOWN, ReplayProposer
from learnat.synthesis.pruning import Depth, Duplicate, Included, Parses, Progress, PruningRule, Runs
from learnat.synthesis.reward import AstReward
from learnat.synthesis.runner import synthesize
from learnat.synthesis.search import BeamSearch, GreedySearch, MctsSearch, Search
from learnat.synthesis.synthesizer import Synthesizer
from learnat.synthesis.tree import SearchTree, Step, read_trees
from tests.synthesis.conftest import QUESTIONS, SCHEMA, SmallBenchmark

RULES: tuple[PruningRule, ...] = (Parses(), Runs(), Included(), Duplicate(), Progress(), Depth(8))
OLDEST = SmallBenchmark(None).examples("train")[2]
FRENCH = Step("Who is from France?", "SELECT name, age FROM singer WHERE country = 'France'")
IDS = Step("Ids of the French?", "SELECT singer_id FROM singer WHERE country = 'France'")
LAST = Step("The oldest?", OLDEST.gold_sql)
WRONG = Step("The youngest?", "SELECT name FROM singer WHERE country = 'France' ORDER BY age LIMIT 1")


def line(*steps: Step, **fields: object) -> str:
    record = {"example_id": OLDEST.example_id, **fields, "steps": [vars(step) for step in steps]}
    return json.dumps({name: value for name, value in record.items() if value is not None}) + "\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "proposals.jsonl"


def ask(proposer: Proposer, *path: Step, k: int = 4, sample: int = 0, example: Example = OLDEST) -> Proposals:
    return proposer.propose(Request(example, SCHEMA, path, k, sample, random.Random(0)))


def steps(proposals: Proposals) -> list[Step]:
    return [Step(proposal.sub_question, proposal.sql) for proposal in proposals.proposals]


def test_decompositions_that_agree_with_the_path(file: Path) -> None:
    file.write_text(
        line(FRENCH, LAST)
        + line(IDS, WRONG, source="someone")
        + line(FRENCH, WRONG, source="a-model", question=OLDEST.question, db_id=OLDEST.db_id)
        + line(LAST, example_id=None, index=OLDEST.index)
        + line(IDS, example_id="train/7")
    )
    proposer = ReplayProposer(file)
    assert steps(ask(proposer)) == [FRENCH, IDS, LAST]
    assert ask(proposer).proposals[1] == Proposal(IDS.sub_question, IDS.sql, "someone", "execution")
    assert steps(ask(proposer, FRENCH)) == [LAST, WRONG]
    assert [proposal.source for proposal in ask(proposer, FRENCH).proposals] == ["replay", "a-model"]
    assert steps(ask(proposer, IDS)) == [WRONG]
    assert ask(proposer, LAST) == ask(proposer, WRONG) == Proposals(())
    assert steps(ask(proposer, example=SmallBenchmark(None).examples("train")[7])) == [IDS]


def test_spelling_and_sub_question_do_not_matter_for_the_path(file: Path) -> None:
    file.write_text(line(FRENCH, LAST))
    spelled = Step("French ones", 'select t.NAME, t.age from Singer AS t where "France" = t.country;')
    assert steps(ask(ReplayProposer(file), spelled)) == [LAST]
    assert steps(ask(ReplayProposer(file), replace(FRENCH, sql=FRENCH.sql.replace("France", "Peru")))) == []


def test_sql_that_cannot_be_parsed_is_a_path_of_its_own(file: Path) -> None:
    broken = Step("?", "SELECT FROM WHERE")
    file.write_text(line(broken, LAST) + line(broken, WRONG))
    assert steps(ask(ReplayProposer(file))) == [broken]
    assert steps(ask(ReplayProposer(file), broken)) == [LAST, WRONG]


def test_k_at_a_time_until_nothing_is_left(file: Path) -> None:
    file.write_text("".join(line(step) for step in (FRENCH, IDS, FRENCH, LAST)))
    proposer = ReplayProposer(file)
    answers = [steps(ask(proposer, k=2, sample=sample)) for sample in range(4)]
    assert answers == [[FRENCH, IDS], [LAST], [], []]


def test_trees_are_told_from_decompositions(benchmark_of_music: SmallBenchmark, tmp_path: Path, file: Path) -> None:
    made = synthesize(benchmark_of_music, "train", synthesizer(AstProposer()), tmp_path / "made")
    tree = list(read_trees(made))[OLDEST.index]
    assert any(node.source.startswith("mutation:") for node in tree.nodes)
    # The second line is what a kill leaves of a tree.
    file.write_text(line(IDS) + made.read_text() + '{"version": 1, "example_id": "train/2", "no', "utf-8")

    for final in ("canonical", "execution"):
        proposals = ask(ReplayProposer(file, final), k=99).proposals
        roots = [node for node in tree.nodes if node.parent == 0]
        assert [p.source for p in proposals] == ["replay", *(node.source for node in roots if node.sql != IDS.sql)]
        for proposal in proposals:
            assert proposal.final == ("canonical" if proposal.source.startswith("mutation:") else final)
        deep = next(node for node in tree.nodes if node.parent != 0)
        parent = tree.nodes[deep.parent - 1]
        assert parent.parent == 0
        assert deep.step in steps(ask(ReplayProposer(file, final), parent.step, k=99))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r":1: .*Mend or delete the line"),
        ("[1]", r":1: neither a search tree .* nor a decomposition"),
        ('{"example_id": "train/2"}', r":1: neither a search tree"),
        ('{"example_id": "train/2", "nodes": []}', r":1: version None"),
        (line(FRENCH) + line(FRENCH, sauce="x"), r":2: unknown fields \['sauce'\]"),
        (line(FRENCH, index=2), r":1: example_id and index both"),
        (line(FRENCH, example_id=2), r":1: example_id=2 is no text"),
        (line(FRENCH, example_id=None, index="2"), r":1: index='2' is no whole number"),
        (line(FRENCH, example_id=None), r":1: nothing says which question"),
        (line(FRENCH, example_id=None, question="Who?"), r":1: it is not said which question of the benchmark"),
        (line(FRENCH, source=3), r":1: source=3 is no text"),
        (line(), r":1: steps must be a list of at least one step"),
        ('\n{"index": 2, "steps": [{"sql": "SELECT 1"}]}\n', r":2: a step has the fields sub_question and sql"),
        (line(Step("", "SELECT 1")), r":1: sub_question and sql of a step must be text"),
    ],
)
def test_a_wrong_line_is_named(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(LearnatError, match=rf"proposals\.jsonl{message}"):
        ReplayProposer(file)


def test_mistakes_of_the_user(file: Path) -> None:
    with pytest.raises(LearnatError, match=r"proposals\.jsonl: no file of decompositions can be read"):
        ReplayProposer(file)
    file.write_text(line(FRENCH, question="Another question?"))
    with pytest.raises(LearnatError, match=r"proposer\.final='canonic'.*Did you mean 'canonical'"):
        ReplayProposer(file, "canonic")
    proposer = ReplayProposer(file)
    with pytest.raises(LearnatError, match=r"question 'Another question\?', but the benchmark has .*other questions"):
        ask(proposer)
    file.write_text(line(IDS))
    os.utime(file, ns=(1, 1))
    with pytest.raises(LearnatError, match="has changed since"):
        ask(proposer)


def test_a_file_about_other_questions_is_refused(benchmark_of_music: SmallBenchmark, file: Path) -> None:
    file.write_text(line(LAST))
    proposer = ReplayProposer(file)
    proposer.check(benchmark_of_music, "train")
    with pytest.raises(LearnatError, match=r"no proposals for any question of split dev of small \(dev/0, for one\)"):
        proposer.check(benchmark_of_music, "dev")
    file.write_text(line(LAST, example_id=None, index=OLDEST.index))
    ReplayProposer(file).check(benchmark_of_music, "dev")


def test_questions_without_proposals_are_counted_once(
    benchmark_of_music: SmallBenchmark, tmp_path: Path, file: Path
) -> None:
    file.write_text(line(FRENCH, LAST) + line(Step("All?", QUESTIONS[0][1]), example_id="train/0"))
    made = synthesize(benchmark_of_music, "train", synthesizer(ReplayProposer(file)), tmp_path / "run")
    summary = json.loads(made.with_name("summary.json").read_text())
    assert summary["rejected"] == {NOTHING_KNOWN: len(QUESTIONS) - 2}
    assert summary["solved"] == pytest.approx(2 / len(QUESTIONS), abs=1e-6)


def test_worker_processes_and_resumption(
    benchmark_of_music: SmallBenchmark, tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = synthesize(benchmark_of_music, "train", synthesizer(AstProposer()), tmp_path / "made")
    alone = synthesize(benchmark_of_music, "train", synthesizer(ReplayProposer(made)), tmp_path / "alone", workers=1)
    monkeypatch.setattr("learnat.synthesis.run.QUESTIONS_PER_WORKER", 1)
    together = synthesize(benchmark_of_music, "train", synthesizer(ReplayProposer(made)), tmp_path / "two", workers=2)
    assert without_seconds(alone) == without_seconds(together)

    # The same content elsewhere is the same proposer, another content is not.
    shutil.copy(made, file)
    synthesize(benchmark_of_music, "train", synthesizer(ReplayProposer(file)), tmp_path / "alone")
    with file.open("a") as stream:
        stream.write(line(IDS))
    with pytest.raises(LearnatError, match="other settings"):
        synthesize(benchmark_of_music, "train", synthesizer(ReplayProposer(file)), tmp_path / "alone")


def test_the_config_s_defaults_are_the_class_s_own(file: Path) -> None:
    file.write_text(line(FRENCH))
    config = OmegaConf.load(Path(__file__).parents[2] / "conf" / "proposer" / "replay.yaml")
    config.file = str(file)
    proposer = instantiate(config, _convert_="all")
    assert isinstance(proposer, ReplayProposer) and vars(proposer) == vars(ReplayProposer(file))


class Counting(AstProposer):
    """Knows how often it was asked."""

    asked = 0

    def propose(self, request: Request) -> Proposals:
        type(self).asked += 1
        return super().propose(request)


BUDGET = Budget(max_calls=3)
"""Too little for some of the questions, so that their shares tell something."""


@pytest.mark.parametrize(
    "search", [MctsSearch(BUDGET), BeamSearch(BUDGET), GreedySearch(BUDGET)], ids=lambda search: type(search).__name__
)
def test_a_run_s_own_trees_give_its_solved_share(learnat_data: Path, tmp_path: Path, search: Search) -> None:
    benchmark = SpiderBenchmark(learnat_data / "spider", missing="skip", limit=100)
    Counting.asked = 0
    made = run(benchmark, Counting(orders=2, mutation_rate=0.8), search, RULES, tmp_path / "made")
    asked = Counting.asked
    assert asked == sum(tree.stats.calls for tree in made)
    assert 0.3 < share(made) < 0.97
    file = tmp_path / "made" / "trees.jsonl"

    again = run(benchmark, ReplayProposer(file, "canonical"), search, RULES, tmp_path / "again")
    same = sum(a.stats.solved == b.stats.solved for a, b in zip(made, again, strict=True))
    print(
        f"{type(search).__name__}: solved {share(made):.3f}, replayed {share(again):.3f}, alike {same} of {len(made)}"
    )
    assert same == len(made)
    assert sum(tree.stats.calls for tree in again) <= sum(tree.stats.calls for tree in made)

    unpruned = run(benchmark, ReplayProposer(file, "canonical"), search, (), tmp_path / "unpruned")
    assert Counting.asked == asked
    assert not any(node.pruned_by for tree in unpruned for node in tree.nodes)
    known = {(tree.example_id, node.sql) for tree in made for node in tree.nodes}
    assert {(tree.example_id, node.sql) for tree in unpruned for node in tree.nodes} <= known


def test_a_large_file_is_read_quickly_and_is_small_in_a_pickle(
    benchmark_of_music: SmallBenchmark, tmp_path: Path, file: Path
) -> None:
    made = synthesize(benchmark_of_music, "train", synthesizer(AstProposer()), tmp_path)
    lines = made.read_text("utf-8").splitlines(keepends=True)
    with file.open("w") as stream:
        for number in range(2000):
            stream.write(lines[number % len(lines)].replace(f'"train/{number % len(lines)}"', f'"train/{number}"', 1))
    proposer = ReplayProposer(file)
    assert len(pickle.dumps(proposer)) < 50 * 2000 < file.stat().st_size
    assert ask(pickle.loads(pickle.dumps(proposer))) == ask(proposer) != Proposals(())


def synthesizer(
    proposer: Proposer, search: Search | None = None, rules: tuple[PruningRule, ...] = RULES
) -> Synthesizer:
    return Synthesizer(proposer, search or MctsSearch(), rules, AstReward(), seed=1)


def run(
    benchmark: Benchmark, proposer: Proposer, search: Search, rules: tuple[PruningRule, ...], out_dir: Path
) -> list[SearchTree]:
    return list(read_trees(synthesize(benchmark, "train", synthesizer(proposer, search, rules), out_dir, workers=1)))


def share(trees: list[SearchTree]) -> float:
    return sum(tree.stats.solved for tree in trees) / len(trees)


def without_seconds(path: Path) -> list[SearchTree]:
    return [replace(tree, stats=replace(tree.stats, seconds=0.0)) for tree in read_trees(path)]
