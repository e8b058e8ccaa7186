"""Preference training on the SFT policy's own mistakes, shrunk: which questions, which trees, and how it goes on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from learnat.errors import LearnatError
from learnat.recipes.on_policy import check_on_policy, held_out, is_on_policy, without_held_out
from learnat.recipes.train import train
from learnat.synthesis.tree import SearchTree, read_trees

CONF = Path(__file__).parents[2] / "conf"
SHRUNK = [
    "data.num_databases=2", "data.num_unseen_databases=1", "data.train_questions=24", "data.dev_questions=4",
    "data.practice_questions=10", "data.eval_splits=[dev_seen]", "score_untrained=false",
    "model.architecture.hidden_size=32", "model.architecture.intermediate_size=48",
    "model.architecture.num_hidden_layers=2",
    "model.architecture.num_attention_heads=2", "model.architecture.num_key_value_heads=2",
    # until the policy writes steps, if seldom right ones
    "model.optim.sft.epochs=50", "model.optim.preference.epochs=1", "on_policy.search.k=4",
    "inference.max_new_tokens=24", "workers=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def config(folder: Path, cache: Path, *overrides: str) -> DictConfig:
    folder.mkdir(parents=True, exist_ok=True)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [*SHRUNK, f"run_dir={folder}", f"cache_dir={cache}", *overrides])
    OmegaConf.resolve(cfg)
    return cfg


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The folder of a whole run: SFT, trees of its policy, MADPO."""
    folder = tmp_path_factory.mktemp("whole")
    train(config(folder, cache))
    return folder


def own_trees(run: Path) -> tuple[dict[str, Any], list[SearchTree]]:
    """What a run's provenance says of the trees that preference training learnt from, and these trees."""
    record = json.loads((run / "provenance.json").read_text())["on_policy_trees"]
    return record, list(read_trees(Path(record["path"])))


def test_preference_training_learns_from_samples_of_its_sft_policy(whole: Path) -> None:
    assert list(json.loads((whole / "metrics.json").read_text())) == ["sft", "madpo"]
    record, trees = own_trees(whole)
    proposer = record["settings"]["synthesizer"]["proposer"]
    assert proposer["class"].endswith("MixedProposer") and proposer["right"]["mutation_rate"] == 0
    assert [tree.example_id for tree in trees] == [f"practice/{index}" for index in range(10)]
    assert all(tree.stats.solved for tree in trees)
    wrong = {node.source for tree in trees for node in tree.nodes if not (node.included or node.final)}
    assert wrong == {"policy"}
    hashes = json.loads((whole / "provenance.json").read_text())["data_hash"]
    assert set(hashes) == {"train", "practice", "dev_seen"}


def test_a_run_that_was_killed_while_trees_grew_goes_on(
    whole: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, trees = own_trees(whole)
    path = Path(record["path"])
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:6]) + lines[6][:40])  # killed while the seventh was written
    weights = whole / "checkpoints" / "madpo" / "model.safetensors"
    before = weights.read_bytes()
    (weights.parent / "learnat.json").unlink()
    train(config(whole, cache))
    said = capsys.readouterr().out
    assert "sft: complete" in said and "on policy: 10 trees, 100.0% solved" in said
    assert path.read_text().splitlines(keepends=True)[:6] == lines[:6]  # with the seconds they took
    assert [tree.nodes for tree in read_trees(path)] == [tree.nodes for tree in trees]
    assert weights.read_bytes() == before


@pytest.mark.parametrize("loss", ["dpo", "ipo"])
def test_other_losses_and_a_given_checkpoint_learn_from_the_same_trees(
    tmp_path: Path, whole: Path, cache: Path, loss: str, capsys: pytest.CaptureFixture[str]
) -> None:
    train(config(tmp_path, cache, f"loss={loss}", f"warm_start.checkpoint={whole / 'checkpoints' / 'sft'}"))
    said = capsys.readouterr().out
    assert "synthesis:" not in said and "on policy: 10 trees" in said
    assert re.search(rf"{loss}: \d+ questions, \d+ steps, \d+ step pairs", said)
    assert own_trees(tmp_path)[0] == own_trees(whole)[0]
    assert "trees" not in json.loads((tmp_path / "provenance.json").read_text())


def test_trees_that_are_given_beside_a_checkpoint_are_what_is_learnt_from(
    tmp_path: Path, whole: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trees = json.loads((whole / "provenance.json").read_text())["trees"]["path"]
    start = [f"warm_start.checkpoint={whole / 'checkpoints' / 'sft'}", f"trees={trees}"]
    train(config(tmp_path, cache, *start, "trainer.max_steps=2"))
    said = capsys.readouterr().out
    assert "on policy" not in said and "trees: 24 of 24 questions" in said


def test_the_last_questions_of_the_training_split_are_kept_from_sft(tmp_path: Path, cache: Path) -> None:
    cfg = config(tmp_path, cache, "data.on_policy_split=train", "on_policy.questions=5")
    benchmark = instantiate(cfg.data.benchmark)
    ids = [example.example_id for example in benchmark.examples("train")]
    learnt = without_held_out(cfg, benchmark)
    assert [example.example_id for example in learnt.examples("train")] == ids[:-5]
    assert learnt.examples("dev_seen") == benchmark.examples("dev_seen")
    assert learnt.fingerprint("train") == benchmark.fingerprint("train")
    assert [example.example_id for example in held_out(cfg, benchmark).examples("train")] == ids[-5:]

    cfg.on_policy.questions = 24
    with pytest.raises(LearnatError, match=r"questions=24 leaves nothing to SFT of the 24 questions of train"):
        without_held_out(cfg, benchmark)
    cfg.on_policy.questions = 0
    assert without_held_out(cfg, benchmark) is benchmark


def test_a_split_of_their_own_leaves_all_training_questions_to_sft(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = config(tmp_path, cache, "on_policy.questions=3")
    benchmark = instantiate(cfg.data.benchmark)
    assert without_held_out(cfg, benchmark) is benchmark
    assert held_out(cfg, benchmark).examples("practice") == benchmark.examples("practice")[-3:]
    assert not caplog.records
    cfg.on_policy.questions = 99999
    assert held_out(cfg, benchmark).examples("practice") == benchmark.examples("practice")
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("on_policy.questions=99999, but practice has 10 questions here")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], True),
        (["loss=ipo"], True),
        (["loss=sft"], False),
        (["warm_start=none"], False),
        (["on_policy.questions=0"], False),
        (["model=qwen0_5b"], False),
        (["model=qwen0_5b", "on_policy.questions=100"], True),
        (["warm_start.checkpoint=x"], True),
        (["trees=x.jsonl"], True),
        (["warm_start.checkpoint=x", "trees=x.jsonl"], False),
    ],
)
def test_when_pairs_are_on_policy(overrides: list[str], expected: bool) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert is_on_policy(compose("train", overrides)) is expected


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["on_policy.questions=-1"], "on_policy.questions=-1 must be a whole number of at least 0."),
        (["on_policy.questions=0.1"], "on_policy.questions=0.1 must be a whole number of at least 0."),
        (["on_policy.questions=true"], "on_policy.questions=True must be a whole number of at least 0."),
        (["data.on_policy_split=dev_seen"], "data.on_policy_split=dev_seen is one of data.eval_splits"),
        (["proposer@on_policy.proposer=ast"], "proposer@on_policy.proposer=mixed"),
        (["on_policy=null"], "on_policy=null is needed as a mapping, with the keys of conf/train.yaml: leave it out."),
        (["on_policy.search=null"], "on_policy.search=null is needed as a mapping, with the keys of conf/search"),
        (["on_policy.search=3"], "on_policy.search=3 is needed as a mapping"),
        (["on_policy.proposer=null"], "on_policy.proposer=null is needed as a mapping, with the keys of conf/proposer"),
        (["on_policy.proposer.right=null"], "on_policy.proposer.right=null is needed as a mapping"),
        (["on_policy.proposer.sampled=null"], "on_policy.proposer.sampled=null is needed as a mapping"),
        (["pruning.rules=null"], "pruning.rules=null must be a list of rules, each with a _target_"),
        (["pruning.rules=a"], "pruning.rules=a must be a list of rules, each with a _target_"),
        (["pruning.rules=[a]"], "pruning.rules=['a'] must be a list of rules, each with a _target_"),
        (
            ["on_policy.proposer.sampled.checkpoint=/nowhere"],
            "on_policy.proposer.sampled.checkpoint=/nowhere: it is the policy that proposes here. Leave checkpoint",
        ),
    ],
)
def test_mistakes_name_the_way_out(overrides: list[str], message: str) -> None:
    if overrides[0].startswith("proposer"):
        overrides = [*overrides, "~on_policy.proposer.sampled"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", overrides)
    with pytest.raises(LearnatError, match=re.escape(message)):
        check_on_policy(cfg)


def test_a_policy_that_writes_no_step_says_what_to_do(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(LearnatError, match=r"on_policy\.questions"):
        train(config(tmp_path, cache, "trainer.max_steps=1", "on_policy.questions=2"))
