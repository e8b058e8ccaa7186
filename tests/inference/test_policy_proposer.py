"""A policy proposes: its own mistakes in the trees, the same trees again, and every failure as one message."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from learnat.benchmarks.types import Example
from learnat.errors import LearnatError
from learnat.inference import chat_models, writer
from learnat.inference.decoding import Row
from learnat.inference.engines.base import NO_ROOM, Completion
from learnat.inference.parse import NO_SQL, NO_SUB_QUESTION
from learnat.inference.policy_proposer import TransformersProposer
from learnat.inference.step_models import ENDED, TrainedPolicy
from learnat.synthesis.proposers.base import Request, Unanswered
from learnat.synthesis.proposers.cache import Reply
from learnat.synthesis.proposers.chat import TRUNCATED
from learnat.synthesis.pruning import Included, Parses, Runs
from learnat.synthesis.reward import AstReward
from learnat.synthesis.runner import synthesize
from learnat.synthesis.search import MctsSearch
from learnat.synthesis.settings import describe
from learnat.synthesis.synthesizer import Synthesizer
from learnat.synthesis.tree import SearchTree, Step, read_trees
from learnat.training import models
from learnat.training.encoding import PromptEncoder
from learnat.training.selection import PairSelection
from learnat.training.tokenizer import END_TOKEN
from tests.inference.conftest import STEPS, counted_policy
from tests.synthesis.conftest import SCHEMA, SmallBenchmark, benchmark_of_music, music

__all__ = ["benchmark_of_music", "music"]  # fixtures

CONF = Path(__file__).parents[2] / "conf"


def request(question: str = "How many?", path: tuple[Step, ...] = (), k: int = 4, sample: int = 0) -> Request:
    example = Example(0, "train/0", "train", "music", question, "", "SELECT count(*) FROM singer")
    return Request(example, SCHEMA, path, k, sample, random.Random(0))


def trees(
    benchmark: SmallBenchmark, proposer: TransformersProposer, folder: Path, max_expansions: int = 6
) -> list[SearchTree]:
    """Trees without what may differ from run to run."""
    search = MctsSearch(max_expansions=max_expansions, in_flight=2)
    synthesizer = Synthesizer(proposer, search, (Parses(), Runs(), Included()), AstReward())
    found = read_trees(synthesize(benchmark, "train", synthesizer, folder))
    return [replace(tree, stats=replace(tree.stats, seconds=0.0)) for tree in found]


def test_trees_hold_the_policy_s_own_mistakes(
    checkpoint: Path, benchmark_of_music: SmallBenchmark, tmp_path: Path
) -> None:
    found = trees(replace(benchmark_of_music, limit=4), TransformersProposer(checkpoint), tmp_path / "4")
    nodes = [node for tree in found for node in tree.nodes]
    assert {node.source for node in nodes} == {"policy"}
    assert {"included", "runs"} <= {node.pruned_by for node in nodes}
    # What is drawn depends on the checkpoint's every byte, and a tokenizer's file holds its path: luck needs patience.
    benchmark = replace(benchmark_of_music, limit=1)
    [tree] = trees(benchmark, TransformersProposer(checkpoint), tmp_path / "1", max_expansions=48)
    assert tree.stats.solved
    pairs = PairSelection().pairs(tree)
    assert pairs and all(pair.margin > 0 for pair in pairs)


def test_a_rerun_reads_no_weights_and_makes_the_same_trees(
    checkpoint: Path, benchmark_of_music: SmallBenchmark, tmp_path: Path
) -> None:
    first = trees(benchmark_of_music, TransformersProposer(checkpoint, cache=tmp_path / "replies"), tmp_path / "1")
    assert not any(tree.stats.cached_calls for tree in first)
    again = TransformersProposer(checkpoint, cache=tmp_path / "replies", batch_size=1, concurrency=3)
    second = trees(benchmark_of_music, again, tmp_path / "2")
    assert again._thread is None
    assert all(tree.stats.cached_calls == tree.stats.calls for tree in second)
    assert [replace(tree, stats=replace(tree.stats, cached_calls=0)) for tree in second] == first


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_batches_change_nothing(
    checkpoint: Path, benchmark_of_music: SmallBenchmark, tmp_path: Path, temperature: float
) -> None:
    few = replace(benchmark_of_music, limit=3)
    alone = TransformersProposer(checkpoint, temperature=temperature, batch_size=1, concurrency=1)
    together = TransformersProposer(checkpoint, temperature=temperature, batch_size=16, concurrency=12)
    assert trees(few, alone, tmp_path / "1") == trees(few, together, tmp_path / "2")


def test_samples_are_new_for_each_call_and_seed(checkpoint: Path) -> None:
    proposer = TransformersProposer(checkpoint)
    asked = [proposer.propose(request(sample=sample)) for sample in (0, 1, 0)]
    other = TransformersProposer(checkpoint, seed=2).propose(request())
    assert asked[0] == asked[2] and asked[0].proposals[0] == other.proposals[0]  # the first is greedy
    assert len({answer.proposals for answer in (*asked, other)}) == 3
    greedy = TransformersProposer(checkpoint, temperature=0.0).propose(request())
    assert greedy.proposals == asked[0].proposals[:1]
    proposer.close()


def test_the_policy_sees_what_it_saw_in_training_and_no_gold(checkpoint: Path) -> None:
    model = TrainedPolicy(checkpoint)
    loaded = model.load()
    encoder = PromptEncoder(loaded.policy.tokenizer, loaded.policy.style)
    asked = request(path=STEPS[:2])
    database = SmallBenchmark(None).database("music")
    trained = encoder.prompt(database, asked.example)
    for step in STEPS[:2]:
        trained += encoder.step(step, last=False)
    prompt = loaded.prompt(asked, model.content(asked))
    assert prompt.ids == trained and prompt.ids[: prompt.shared] == encoder.database(database)
    other = replace(asked, example=replace(asked.example, gold_sql="SELECT 1"))
    assert model.content(other) == model.content(asked)
    assert "FROM singer" not in str(model.content(request()))


@pytest.mark.parametrize(
    ("text", "reason", "steps", "rejected"),
    [
        ("-- All?\nSELECT name\nFROM singer;\n", "stop", [Step("All?", "SELECT name\nFROM singer")], ()),
        ("-- A?\nSELECT 1\n-- B?\nSELECT 2;\n", "stop", [Step("A?", "SELECT 1")], ()),
        ("SELECT name FROM singer;\n", "stop", [], (NO_SUB_QUESTION,)),
        ("-- All?\nnothing;\n", "stop", [], (NO_SQL,)),
        ("-- All?\nSELECT name FROM", "length", [], (TRUNCATED,)),
        ("", "stop", [], (ENDED,)),
    ],
)
def test_replies_of_a_policy(
    checkpoint: Path, text: str, reason: str, steps: Sequence[Step], rejected: tuple[str, ...]
) -> None:
    reading = TrainedPolicy(checkpoint).read([Reply(text, reason, 10, 5)], 4)
    assert (list(reading.steps), reading.rejected) == (steps, rejected)


def test_a_prompt_that_leaves_no_room_is_a_rejected_call(checkpoint: Path) -> None:
    proposer = TransformersProposer(checkpoint)
    answer = proposer.propose(request("many " * 2000))
    assert answer.proposals == () and answer.rejected == (NO_ROOM,) * 4
    assert answer.prompt_tokens > 1024 and answer.completion_tokens == 0
    assert proposer.propose(request()).proposals  # the next one is answered
    proposer.close()


def test_weights_that_cannot_be_read_are_one_message_for_all(checkpoint: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(checkpoint, broken)
    (broken / "model.safetensors").write_bytes(b"no weights")
    proposer = TransformersProposer(broken)
    with ThreadPoolExecutor(6) as threads:
        calls = [threads.submit(proposer.propose, request(str(i))) for i in range(6)]
    for call in calls:
        with pytest.raises(LearnatError, match="The proposer's model failed"):
            call.result()
    proposer.close()


def test_a_closed_proposer_answers_no_more(checkpoint: Path) -> None:
    proposer = TransformersProposer(checkpoint)
    proposer.propose(request())
    proposer.close()
    with pytest.raises(Unanswered, match="given up"):
        proposer.propose(request("Another?"))


def test_a_batch_without_memory_is_halved(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    complete = writer.complete_sharing

    def short_of_memory(policy: Any, rows: Sequence[Row], *args: Any) -> list[Completion]:
        sizes.append(len(rows))
        if len(rows) > most:
            raise torch.OutOfMemoryError
        return complete(policy, rows, *args)

    monkeypatch.setattr(writer, "complete_sharing", short_of_memory)
    most = 3
    expected = TransformersProposer(checkpoint)
    proposer = TransformersProposer(checkpoint)
    assert len(proposer.propose(request(k=8)).proposals) == 8
    assert sizes == [8, 4, 2, 2, 4, 2, 2]
    proposer.propose(request("Another?", k=4))
    assert sizes[7:] == [2, 2]
    most = 100
    assert expected.propose(request(k=8)) == proposer.propose(request(k=8))
    most = 0
    with pytest.raises(LearnatError, match="no memory for a single prompt"):
        proposer.propose(request())
    for each in (expected, proposer):
        each.close()


def test_mistakes_in_the_settings(checkpoint: Path, tmp_path: Path) -> None:
    for wrong, message in (
        ({}, "Give what proposes"),
        ({"checkpoint": checkpoint, "model": "x"}, "not both"),
        ({"checkpoint": tmp_path}, "not a LearNAT checkpoint"),
        ({"model": str(tmp_path / "nowhere")}, "proposer.model=.*nowhere is no folder, and no name"),
        ({"model": "./nowhere"}, r"proposer.model=\./nowhere is no folder, and no name"),
        ({"model": "no-such-owner/no-such-model"}, "cannot be had: .* run `hf download no-such-owner/no-such-model"),
        ({"checkpoint": checkpoint, "final": "gold"}, "proposer.final='gold' is unknown"),
        ({"checkpoint": checkpoint, "top_p": 0.0}, "proposer.top_p=0.0"),
        ({"checkpoint": checkpoint, "temperature": -1.0}, "proposer.temperature=-1.0"),
        ({"checkpoint": checkpoint, "batch_size": 0}, "proposer.batch_size=0"),
        ({"checkpoint": checkpoint, "device": "tpu"}, "proposer.device='tpu'"),
    ):
        with pytest.raises(LearnatError, match=message):
            TransformersProposer(**wrong)  # type: ignore[arg-type]


def test_the_config_s_defaults_are_the_class_s_own(checkpoint: Path, tmp_path: Path) -> None:
    chosen = ["proposer=transformers", f"proposer.checkpoint={checkpoint}", f"cache_dir={tmp_path}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        configured = instantiate(compose("synthesize", overrides=chosen).proposer, _convert_="all")
    own = TransformersProposer(checkpoint)
    assert describe(configured) == describe(own)
    free = {name: getattr(own, name) for name in own.free_settings if name not in ("checkpoint", "cache")}
    assert free == {name: getattr(configured, name) for name in free}


def test_a_checkpoint_needs_the_sample_values_it_was_trained_with(
    checkpoint: Path, benchmark_of_music: SmallBenchmark, tmp_path: Path
) -> None:
    TransformersProposer(checkpoint).check(benchmark_of_music, "train")
    sampled = tmp_path / "sampled"
    shutil.copytree(checkpoint, sampled)
    manifest = json.loads((sampled / models.MANIFEST).read_text())
    manifest["prompt"]["samples"] = 2
    (sampled / models.MANIFEST).write_text(json.dumps(manifest))
    proposer = TransformersProposer(sampled)
    proposer.check(replace(benchmark_of_music, samples=3), "train")
    with pytest.raises(LearnatError, match=r"with 2 sample values .* data\.samples=1 .* give data\.samples=2"):
        proposer.check(replace(benchmark_of_music, samples=1), "train")


def test_trees_are_of_weights_not_of_a_path(checkpoint: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(checkpoint, moved, copy_function=shutil.copyfile)  # the files get times of their own
    assert describe(TransformersProposer(moved)) == describe(TransformersProposer(checkpoint))
    weights = bytearray((moved / "model.safetensors").read_bytes())
    weights[len(weights) // 2] ^= 1
    (moved / "model.safetensors").write_bytes(weights)
    assert describe(TransformersProposer(moved)) != describe(TransformersProposer(checkpoint))


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the hub has them, of a model that answers everything in a code fence."""
    policy = counted_policy(["```sql\nSELECT count(*) FROM singer" + END_TOKEN], 4096)
    folder = tmp_path_factory.mktemp("chat") / "counter"
    policy.model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    return folder


def test_a_chat_model_gives_one_reply_a_call(
    chat_model: Path, benchmark_of_music: SmallBenchmark, tmp_path: Path
) -> None:
    few = replace(benchmark_of_music, limit=2)
    proposer = TransformersProposer(model=str(chat_model), cache=tmp_path / "replies", temperature=0.1)
    found = trees(few, proposer, tmp_path / "1")
    assert found[0].stats.solved and not found[1].stats.solved
    assert {node.source for tree in found for node in tree.nodes} == {"transformers:counter"}
    again = TransformersProposer(model=str(chat_model), cache=tmp_path / "replies", temperature=0.1)
    assert [tree.nodes for tree in trees(few, again, tmp_path / "2")] == [tree.nodes for tree in found]
    assert again._thread is None


def test_a_folder_without_a_model_is_not_to_be_downloaded(tmp_path: Path) -> None:
    with pytest.raises(
        LearnatError, match=rf"proposer.model={tmp_path} holds no model .*\(Couldn't .*convert\)\. Give"
    ):
        chat_models.load(str(tmp_path))


def test_a_model_without_a_chat_template_is_refused(chat_model: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(chat_model, plain)
    (plain / "chat_template.jinja").unlink()
    proposer = TransformersProposer(model=str(plain))
    with pytest.raises(LearnatError, match="has no chat template"):
        proposer.propose(request())
    proposer.close()
