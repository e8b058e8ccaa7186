"""train.py, shrunk: every loss and warm start runs the whole recipe and leaves what it promises."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from learnat.errors import LearnatError
from learnat.recipes.command_line import hydra_arguments
from learnat.recipes.evaluate import evaluate
from learnat.recipes.train import split_names, train

CONF = Path(__file__).parents[2] / "conf"
SHRUNK = [
    "data.num_databases=2", "data.num_unseen_databases=1", "data.train_questions=24", "data.dev_questions=6",
    "model.architecture.hidden_size=32", "model.architecture.intermediate_size=48",
    "model.architecture.num_hidden_layers=2",
    "model.architecture.num_attention_heads=2", "model.architecture.num_key_value_heads=2",
    "inference.max_new_tokens=24", "trainer.max_steps=3", "trainer.log_every_n_steps=1", "workers=1",
    # a policy of three steps writes nothing that could be a mistake, see test_on_policy.py
    "on_policy.questions=0", "data.practice_questions=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One generated benchmark and its trees for all tests of this file."""
    return tmp_path_factory.mktemp("cache")


def config(folder: Path, cache: Path, *overrides: str) -> DictConfig:
    folder.mkdir(parents=True, exist_ok=True)
    places = [f"run_dir={folder}", f"cache_dir={cache}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [*SHRUNK, *places, *overrides])
    OmegaConf.resolve(cfg)
    return cfg


def metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


@pytest.mark.parametrize(
    ("overrides", "stages"),
    [
        ([], ["untrained", "sft", "madpo"]),
        (["loss=sft", "packing.layout=padded"], ["untrained", "sft"]),
        (["loss=dpo", "warm_start=none"], ["untrained", "dpo"]),
        (["loss=ipo", "score_untrained=false"], ["sft", "ipo"]),
        (["loss.margin.transform=log", "loss.pairs.rejected=random", "pruning=none"], ["untrained", "sft", "madpo"]),
    ],
)
def test_a_run_leaves_scores_predictions_and_checkpoints(
    tmp_path: Path, cache: Path, overrides: list[str], stages: list[str]
) -> None:
    train(config(tmp_path, cache, *overrides))
    scores = metrics(tmp_path)
    assert list(scores) == stages
    for stage in stages:
        assert set(scores[stage]) == {"dev_seen", "dev_unseen"}
        assert 0 <= scores[stage]["dev_seen"]["ex"]["all"] <= 1
    rows = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == 12 * len(stages)
    assert {
        "index",
        "question",
        "db_id",
        "split",
        "stage",
        "steps",
        "predicted",
        "executed",
        "correct",
        "tokens",
    } <= set(rows[0])
    trained = [stage for stage in stages if stage != "untrained"]
    assert all((tmp_path / "checkpoints" / stage / "learnat.json").is_file() for stage in trained)
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert set(provenance["data_hash"]) == {"train", "dev_seen", "dev_unseen"} and provenance["prompt_hash"]
    page = (tmp_path / "table.md").read_text()
    assert "| stage |" in page
    assert (tmp_path / "table.tex").read_text().count(r" \\") == 1 + 2 * len(stages)
    # Three steps from scratch get no question right, of which nothing follows.
    before, after = scores[stages[-2]]["dev_seen"]["ex"]["all"], scores[stages[-1]]["dev_seen"]["ex"]["all"]
    assert (before, after) != (0.0, 0.0) or ("no question differs" in page and " than " not in page)


def test_a_finished_stage_is_read_instead_of_run_again(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(config(tmp_path, cache, "loss=sft"))
    before = metrics(tmp_path)
    weights = (tmp_path / "checkpoints" / "sft" / "model.safetensors").read_bytes()
    capsys.readouterr()
    train(config(tmp_path, cache, "loss=sft"))
    said = capsys.readouterr().out
    assert "sft: complete" in said
    # What is suggested at the end is a command that works.
    [command] = re.findall(r"Ask it something: python ask\.py (.*)", said)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("ask", hydra_arguments(shlex.split(command), ["explain"], ["database", "question"]))
    assert Path(cfg.checkpoint) == tmp_path / "checkpoints" / "sft" and Path(cfg.database).is_file() and cfg.explain
    assert metrics(tmp_path) == before
    assert (tmp_path / "checkpoints" / "sft" / "model.safetensors").read_bytes() == weights


def test_preference_training_starts_from_a_given_checkpoint(tmp_path: Path, cache: Path) -> None:
    train(config(tmp_path / "a", cache, "loss=sft"))
    checkpoint = tmp_path / "a" / "checkpoints" / "sft"
    train(config(tmp_path / "b", cache, f"warm_start.checkpoint={checkpoint}"))
    assert list(metrics(tmp_path / "b")) == ["sft", "madpo"]
    assert metrics(tmp_path / "b")["sft"]["dev_seen"]["ex"] == metrics(tmp_path / "a")["sft"]["dev_seen"]["ex"]


def test_failed_gold_queries_are_told_of_once_a_split(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("learnat.recipes.scoring.tell_gold_failures", lambda verdicts: told.append(verdicts[0].split))
    train(config(tmp_path / "a", cache))
    assert len(metrics(tmp_path / "a")) > 1
    assert told == ["dev_seen", "dev_unseen"]


def test_a_checkpoint_is_asked_with_the_sample_values_it_was_trained_with(tmp_path: Path, cache: Path) -> None:
    train(config(tmp_path / "a", cache, "loss=sft", "data.samples=2", "score_untrained=false"))
    checkpoint = tmp_path / "a" / "checkpoints" / "sft"
    with pytest.raises(LearnatError, match=r"data\.samples=1 reads fewer: give data\.samples=2\."):
        train(config(tmp_path / "b", cache, f"warm_start.checkpoint={checkpoint}", "data.samples=1"))
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(
            "evaluate", [*SHRUNK[:4], f"cache_dir={cache}", f"checkpoint={checkpoint}", f"run_dir={tmp_path / 'c'}"]
        )
    with pytest.raises(LearnatError, match=r"data\.samples=0 reads fewer: give data\.samples=2\."):
        evaluate(cfg)


def test_given_trees_are_learned_from_wherever_they_lie_until_they_change(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ["loss=sft", "score_untrained=false"]
    train(config(tmp_path / "made", cache, *short))
    made = json.loads((tmp_path / "made" / "provenance.json").read_text())["trees"]
    assert made["settings"]["split"] == "train"
    here, there = tmp_path / "here.jsonl", tmp_path / "there.jsonl"
    shutil.copy(made["path"], here)
    train(config(tmp_path / "given", cache, *short, f"trees={here}"))
    assert f"trees: 24 of 24 questions, 24 solved, from {here}" in capsys.readouterr().out
    given = json.loads((tmp_path / "given" / "provenance.json").read_text())["trees"]
    assert given == {"path": str(here), "digest": made["digest"], "settings": None}
    here.with_suffix(".settings.json").write_text("{")
    with pytest.raises(LearnatError, match=r"here\.settings\.json, which says"):
        train(config(tmp_path / "damaged", cache, *short, f"trees={here}"))
    assert not any((tmp_path / "damaged").iterdir())
    weights = [(tmp_path / run / "checkpoints" / "sft" / "model.safetensors").read_bytes() for run in ("made", "given")]
    assert weights[0] == weights[1]

    here.rename(there)
    train(config(tmp_path / "given", cache, *short, f"trees={there}"))
    assert "sft: complete" in capsys.readouterr().out
    there.write_text("".join(there.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(LearnatError, match=rf"other settings: trees \({made['digest']} → [0-9a-f]{{16}}\)\. Give"):
        train(config(tmp_path / "given", cache, *short, f"trees={there}"))


def test_a_context_too_short_for_any_question_says_so(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(LearnatError, match=r"no solved paths to train on .* longer than model.context_length=20"):
        train(config(tmp_path, cache, "loss=sft", "model.context_length=20", "score_untrained=false"))


def test_a_folder_of_another_run_is_refused(tmp_path: Path, cache: Path) -> None:
    train(config(tmp_path, cache, "loss=sft"))
    with pytest.raises(LearnatError, match=r"other settings: .*\bseed \(1 → 2\)\. Give another run_dir"):
        train(config(tmp_path, cache, "loss=sft", "seed=2"))


@pytest.mark.parametrize(
    ("given", "splits"),
    [("dev_seen", ["dev_seen"]), ("[dev_seen]", ["dev_seen"]), ("[dev_unseen,dev_seen]", ["dev_unseen", "dev_seen"])],
)
def test_one_split_needs_no_brackets(given: str, splits: list[str]) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [f"data.eval_splits={given}"])
    assert split_names(cfg.data.eval_splits) == splits


def test_the_splits_that_are_measured_must_be_names(tmp_path: Path, cache: Path) -> None:
    for given in ("null", "3", "[dev_seen,3]"):
        with pytest.raises(
            LearnatError, match=r"data\.eval_splits=.* names of splits, as in data\.eval_splits=\[dev\]"
        ):
            train(config(tmp_path, cache, f"data.eval_splits={given}"))
    # A name that is given without brackets is taken for one.
    with pytest.raises(LearnatError, match="no question file of split 'dev_sen'"):
        train(config(tmp_path, cache, "data.eval_splits=dev_sen"))


def pretrained(folder: Path, cache: Path, path: Path, *overrides: str) -> DictConfig:
    """The config of a model of the hub whose weights lie in ``path``."""
    shrunk = [override for override in SHRUNK if not override.startswith("model.")]
    hub = ["model=qwen0_5b", f"model.path={path}", "model.dtype=float32", "model.lora.r=2", "model.lora.alpha=4"]
    folder.mkdir(parents=True, exist_ok=True)
    places = [f"run_dir={folder}", f"cache_dir={cache}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [*shrunk, *hub, *places, *overrides])
    OmegaConf.resolve(cfg)
    return cfg


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "learnat.json").read_text())


def test_pretrained_models_go_through_the_whole_recipe(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Adapters over the published weights, full fine-tuning, and an adapter over what that gave."""
    train(config(tmp_path / "base", cache, "loss=sft", "score_untrained=false"))
    base = tmp_path / "base" / "checkpoints" / "sft"
    train(pretrained(tmp_path / "lora", cache, base, "model.gradient_checkpointing=true"))
    assert list(metrics(tmp_path / "lora")) == ["untrained", "sft", "madpo"]
    for stage in ("sft", "madpo"):
        manifest = record(tmp_path / "lora" / "checkpoints" / stage)
        assert (manifest["kind"], manifest["base_model"]) == ("adapter", str(base.resolve()))

    train(pretrained(tmp_path / "full", cache, base, "model.lora.enabled=false", "score_untrained=false"))
    for stage in ("sft", "madpo"):
        assert record(tmp_path / "full" / "checkpoints" / stage)["kind"] == "full"

    sft = tmp_path / "full" / "checkpoints" / "sft"
    train(pretrained(tmp_path / "over", cache, base, f"warm_start.checkpoint={sft}", "reference=base"))
    assert list(metrics(tmp_path / "over")) == ["sft", "madpo"]
    assert record(tmp_path / "over" / "checkpoints" / "madpo")["base_model"] == str(sft.resolve())


def test_reference_logprobs_are_computed_once(tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "cache"
    shutil.copytree(cache, own, ignore=shutil.ignore_patterns("reference"))
    short = ["warm_start=none", "score_untrained=false"]
    train(config(tmp_path / "a", own, *short))
    assert "reference log-probs" not in capsys.readouterr().out
    (kept,) = (own / "reference").iterdir()
    content, written = kept.read_bytes(), kept.stat().st_mtime_ns

    train(config(tmp_path / "b", own, *short, "loss.beta=0.2"))
    assert re.search(rf"madpo: reference log-probs of [\d,]+ steps read from {kept}\n", capsys.readouterr().out)
    assert kept.stat().st_mtime_ns == written

    kept.write_bytes(content[:-1])
    train(config(tmp_path / "c", own, *short))
    assert f"madpo: {kept} is damaged (" in capsys.readouterr().out
    assert kept.read_bytes() == content
    for run in ("b", "c"):
        trained = (tmp_path / run / "checkpoints" / "madpo" / "model.safetensors").read_bytes()
        same = trained == (tmp_path / "a" / "checkpoints" / "madpo" / "model.safetensors").read_bytes()
        assert same == (run == "c")

    # Other prompts are other log-probs.
    train(config(tmp_path / "d", own, *short, "data.schema_style=ddl"))
    assert "read from" not in capsys.readouterr().out
    assert len(list((own / "reference").iterdir())) == 2


def test_a_reference_cache_that_cannot_be_written_stops_no_run(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "cache"
    shutil.copytree(cache, own, ignore=shutil.ignore_patterns("reference"))
    (own / "reference").touch()
    train(config(tmp_path / "run", own, "warm_start=none", "score_untrained=false"))
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(rf"madpo: {own}/reference/\w+\.safetensors cannot be written \(.*\); the next run", said)
    assert list(metrics(tmp_path / "run")) == ["madpo"]


@pytest.mark.parametrize(
    ("manifest", "overrides", "message"),
    [
        (
            {"kind": "adapter"},
            ["model.lora.enabled=false"],
            "no sound reference. With model.lora.enabled=true it is reference=stacked",
        ),
        ({"kind": "adapter"}, ["reference=base"], "it must be reference=stacked (the SFT adapter, frozen"),
        ({"kind": "full"}, ["reference=stacked"], "it must be reference=base (the base model"),
        ({"kind": "full"}, ["reference=base", "model.lora.enabled=false"], "it must be reference=frozen"),
        ({"kind": "full", "model": "qwen7b"}, [], "was trained with model=qwen7b, but the command says model=qwen0_5b"),
        (
            {"kind": "adapter", "quantization": "nf4"},
            [],
            "trained with model.quantization=nf4, but the command says null",
        ),
    ],
)
def test_a_warm_start_without_a_sound_reference_is_refused_at_once(
    tmp_path: Path, cache: Path, manifest: dict[str, str], overrides: list[str], message: str
) -> None:
    """The checkpoint's record is enough: here it has no weights, and neither has the model."""
    checkpoint = tmp_path / "sft"
    checkpoint.mkdir()
    (checkpoint / "learnat.json").write_text(json.dumps({"model": "qwen0_5b", **manifest}))
    with pytest.raises(LearnatError) as caught:
        train(pretrained(tmp_path / "run", cache, checkpoint, f"warm_start.checkpoint={checkpoint}", *overrides))
    assert message in str(caught.value)
    assert not any((tmp_path / "run").iterdir())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trainer=ddp"], "asks for 2 processes, but 1 was started: use torchrun --nproc-per-node=2"),
        (["trainer=gpu"], "sees no GPU"),
        (["packing.layout=pakced"], "Did you mean 'packed'"),
        (["packing.databases_per_step=0"], "packing.databases_per_step=0 must be a whole number of at least 1"),
        (["trainer.precision=foo"], "trainer.precision=foo is not supported: use bf16-mixed, or 32-true"),
        (["loss.margin.transform=lin"], "loss.margin.transform='lin' is not known. Did you mean 'linear'?"),
        (["engine.device=gpu"], "engine.device='gpu' is not known"),
        (["loss.pairs.rejected=randm"], "Did you mean 'random'"),
        (["trees=nowhere.jsonl"], "nowhere.jsonl: no tree file can be read there"),
        (["warm_start=none", "warm_start.checkpoint=x"], "leave warm_start.checkpoint out"),
        (
            ["reference=stacked"],
            "it must be reference=frozen (the weights before the first step), which",
        ),
        (
            ["warm_start=none", "reference=base"],
            "with warm start none and model.lora.enabled=false it must be reference=frozen",
        ),
        (["reference=forzen"], "Did you mean 'frozen'"),
        (["model.lora.enabled=true"], "no published weights for an adapter to be over"),
        (["model.quantization=int8"], "model.quantization=int8 is for pretrained models"),
        (["model.quantization=nf4"], "nf4 cannot be trained on a CPU"),
    ],
)
def test_mistakes_name_the_way_out(tmp_path: Path, cache: Path, overrides: list[str], message: str) -> None:
    if overrides == ["trainer=gpu"] and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises((LearnatError, InstantiationException)) as caught:
        train(config(tmp_path, cache, "score_untrained=false", *overrides))
    error: BaseException | None = caught.value
    while error is not None and not isinstance(error, LearnatError):
        error = error.__cause__  # Hydra wraps what a target raises; the entry point unwraps it
    assert message in str(error)
