"""evaluate.py with every member of the config group ``inference``, shrunk, over a checkpoint and real databases."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from learnat.errors import LearnatError
from learnat.inference.engines.base import NO_ROOM
from learnat.recipes.config_check import check_overrides
from learnat.recipes.evaluate import evaluate
from learnat.recipes.synthesize import run
from learnat.training import models
from tests.inference.conftest import counted_policy, settings

CONF = Path(__file__).parents[2] / "conf"
MEMBERS = {
    "inference=greedy": (1, 1),
    "inference=sampled": (1, 1),
    "inference=vote inference.samples=3": (3, 3),
    # What the checkpoint writes runs on no generated database, so that every repair is asked for.
    "inference=repair inference.repair.rounds=1": (1, 2),
    "inference=vote inference.samples=2 inference.repair.rounds=1": (2, 4),
    "inference/schema=full": (1, 1),
    "inference/schema=gold": (1, 1),
    "inference/schema=retrieved inference.schema.columns=3": (1, 1),
    "inference/demonstrations=nearest inference.demonstrations.size=1": (1, 1),
}
SIZES = ["data.num_databases=2", "data.num_unseen_databases=1", "data.train_questions=8", "data.dev_questions=2"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trees_of(cache: Path) -> Callable[[str], Path]:
    """Synthesised trees of a split."""

    def make(split: str) -> Path:
        folder = cache / split
        if not folder.is_dir():
            folder.mkdir()
            with initialize_config_dir(str(CONF), version_base="1.3"):
                cfg = compose("synthesize", [*SIZES, f"data.split={split}", f"cache_dir={cache}", f"run_dir={folder}"])
            cfg.workers = 1
            OmegaConf.resolve(cfg)
            run(cfg)
        return folder / "trees.jsonl"

    return make


def evaluated(folder: Path, cache: Path, checkpoint: Path, overrides: list[str]) -> tuple[list[dict[str, Any]], Any]:
    """The lines of predictions.jsonl, and metrics.json."""
    places = [f"run_dir={folder}", f"cache_dir={cache}", f"checkpoint={checkpoint}", "workers=1"]
    arguments = [*SIZES, *places, "inference.max_new_tokens=12", *overrides]
    check_overrides(CONF, "evaluate", arguments)
    folder.mkdir(exist_ok=True)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("evaluate", arguments)
    OmegaConf.resolve(cfg)
    evaluate(cfg)
    rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    return rows, json.loads((folder / "metrics.json").read_text())


def test_every_member_is_run() -> None:
    text = " ".join(MEMBERS)
    for group in ("inference", "inference/schema", "inference/demonstrations"):
        assert all(f"{group}={path.stem}" in text for path in (CONF / group).glob("*.yaml"))


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_answers_every_question(
    tmp_path: Path, cache: Path, checkpoint: Path, trees_of: Callable[[str], Path], member: str
) -> None:
    overrides = member.split()
    if "demonstrations" in member:
        overrides.append(f"inference.demonstrations.trees={trees_of('train')}")
    rows, scores = evaluated(tmp_path, cache, checkpoint, overrides)
    samples, calls = MEMBERS[member]
    assert len(rows) == 2 and {(row["samples"], row["calls"]) for row in rows} == {(samples, calls)}
    assert {row["votes"] for row in rows} == ({None} if calls == 1 else {0})
    assert {row["failure"] for row in rows} == {None} and scores["provenance"]["unanswered"] == 0
    tokens = scores["provenance"]["tokens"]
    assert tokens["calls"] == 2 * calls and tokens["prompt"] == sum(row["prompt_tokens"] for row in rows)
    shown = member.partition("inference/schema=")[2].partition(" ")[0] or "full"
    assert scores["provenance"]["schema_given"] == shown
    solved = scores["provenance"]["demonstrations"]
    if "demonstrations" in member:
        assert solved["count"] == 2
        assert f"demonstrations 2 ({solved['digest']})" in (tmp_path / "table.md").read_text()
    else:
        assert solved is None


def test_what_is_answered_is_not_asked_again(tmp_path: Path, cache: Path, checkpoint: Path) -> None:
    voting = ["inference=vote", "inference.samples=2"]
    first = evaluated(tmp_path, cache, checkpoint, voting)
    kept = (tmp_path / "answers.jsonl").read_text()
    assert len(kept.splitlines()) == 4
    assert evaluated(tmp_path, cache, checkpoint, voting) == first
    assert (tmp_path / "answers.jsonl").read_text() == kept


def test_a_run_folder_keeps_to_its_checkpoint_but_not_to_a_way_of_asking(
    tmp_path: Path, cache: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluated(tmp_path, cache, checkpoint, ["inference=vote", "inference.samples=2"])
    # It is known by its content, wherever it lies.
    moved = tmp_path / "moved" / checkpoint.name
    shutil.copytree(checkpoint, moved)
    evaluated(tmp_path, cache, moved, ["inference=vote", "inference.samples=2"])
    (moved / "chat_template.jinja").write_text("other")
    with pytest.raises(LearnatError, match=r"other settings: checkpoint \((.+), \w{12} → \1, \w{12}\)\. Give another"):
        evaluated(tmp_path, cache, moved, ["inference=vote", "inference.samples=2"])
    capsys.readouterr()
    evaluated(tmp_path, cache, checkpoint, ["inference=vote", "inference.samples=3"])
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 2 * 3
    said = " ".join(capsys.readouterr().out.split())
    assert "replaces scores made with other settings: inference.samples (2 → 3)." in said


def test_prompts_that_do_not_fit_are_told_as_such(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the score nor its cost may take them for answers of the model."""
    models.export(counted_policy(["SELECT 1;\n"], 64), settings(64), tmp_path / "small", "sft")
    for folder, member in (("one", "inference=greedy"), ("repaired", "inference=repair")):
        rows, scores = evaluated(tmp_path / folder, cache, tmp_path / "small", [member])
        assert {(row["failure"], row["error"], row["calls"], row["tokens"]) for row in rows} == {
            (NO_ROOM, NO_ROOM, 0, 0)
        }
        assert scores["provenance"]["unanswered"] == 2
        assert scores["provenance"]["tokens"] == {"calls": 0, "prompt": 0, "cached": 0, "completion": 0}
        assert "without an answer 2" in (tmp_path / folder / "table.md").read_text()
        assert f"2 of 2 questions of 'dev_seen' have no answer ({NO_ROOM}: 2)" in caplog.text
        caplog.clear()


def test_trees_of_the_scored_split_are_refused(
    tmp_path: Path, cache: Path, checkpoint: Path, trees_of: Callable[[str], Path]
) -> None:
    shown = ["inference/demonstrations=nearest", f"inference.demonstrations.trees={trees_of('dev_seen')}"]
    with pytest.raises(LearnatError, match="holds 2 questions of 'dev_seen', the split that is asked"):
        evaluated(tmp_path, cache, checkpoint, shown)
    with pytest.raises(InstantiationException) as error:
        evaluated(tmp_path, cache, checkpoint, shown[:1])
    assert isinstance(error.value.__cause__, LearnatError)
