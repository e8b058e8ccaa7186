"""The config groups build what they say, and training's trees come from a cache that knows what they depend on."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from learnat.errors import LearnatError
from learnat.recipes.synthesize import ensure_trees, run, synthesizer_of
from learnat.synthesis.proposers.mutations import MUTATIONS
from learnat.synthesis.settings import describe
from learnat.synthesis.shards import merge
from tests.synthesis.conftest import QUESTIONS, SmallBenchmark

CONF = Path(__file__).parents[2] / "conf"


def config(**groups: str) -> DictConfig:
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        cfg = compose("synthesize", overrides=["workers=1", *(f"{group}={name}" for group, name in groups.items())])
    del cfg.data  # the tests bring a benchmark of their own
    OmegaConf.resolve(cfg)
    return cfg


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "pruning").glob("*.yaml")))
def test_pruning_sets(name: str) -> None:
    rules = {
        "ast": ["parses", "runs", "included", "duplicate", "progress", "depth"],
        "ast_strict": ["parses", "runs", "included", "duplicate", "progress", "depth"],
        "execution": ["parses", "runs", "depth"],
        "none": [],
    }
    assert [rule.name for rule in synthesizer_of(config(pruning=name)).rules] == rules[name]


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "search").glob("*.yaml")))
def test_config_defaults_are_the_classes_own(name: str) -> None:
    search = instantiate(config(search=name).search)
    assert search == type(search)()


def test_the_proposer_s_defaults_are_the_class_s_own() -> None:
    proposer = synthesizer_of(config()).proposer
    assert describe(proposer) == describe(type(proposer)())
    assert set(describe(proposer)["mutation_types"]) == set(MUTATIONS)


def test_a_file_to_replay_about_other_questions_is_refused_before_anything_is_made(
    benchmark_of_music: SmallBenchmark, tmp_path: Path
) -> None:
    file = tmp_path / "proposals.jsonl"
    file.write_text('{"example_id": "dev/0", "steps": [{"sub_question": "?", "sql": "SELECT 1"}]}\n')
    with pytest.raises(LearnatError, match="has no proposals for any question of split train"):
        ensure_trees(config(proposer="replay", **{"proposer.file": str(file)}), benchmark_of_music, "train", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["proposals.jsonl"]


def test_trees_are_cached_by_everything_they_depend_on(
    benchmark_of_music: SmallBenchmark, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = config()
    first = ensure_trees(cfg, benchmark_of_music, "train", tmp_path)
    assert first.parent.parent == tmp_path / "trees"
    assert f"{len(QUESTIONS)} trees, 100.0% solved" in capsys.readouterr().out
    stamp = first.stat().st_mtime_ns
    assert ensure_trees(cfg, benchmark_of_music, "train", tmp_path) == first
    assert first.stat().st_mtime_ns == stamp

    others = [
        ensure_trees(config(**{group: name}), benchmark_of_music, "train", tmp_path)
        for group, name in (("pruning", "none"), ("search", "greedy"), ("reward", "string"))
    ]
    cfg.seed = 2
    others.append(ensure_trees(cfg, benchmark_of_music, "train", tmp_path))
    others.append(ensure_trees(config(), SmallBenchmark(benchmark_of_music.path, limit=3), "train", tmp_path))
    assert len({first, *others}) == 6


def test_a_shard_without_a_question_says_so(
    benchmark_of_music: SmallBenchmark, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = config()
    OmegaConf.set_struct(cfg, False)
    benchmark = {
        "_target_": "tests.synthesis.conftest.SmallBenchmark",
        "path": str(benchmark_of_music.path),
        "limit": 1,
    }
    cfg.data = {"split": "train", "benchmark": benchmark}
    for index, said in ((1, True), (2, False)):
        cfg.update({"shard": f"{index}/2", "run_dir": str(tmp_path / str(index))})
        run(cfg)
        printed = capsys.readouterr().out
        assert printed.startswith("Shard 1/2 is empty: there are more shards than questions of 'train' (1).") == said
        assert ("Decomposition synthesis" in printed) != said
    assert merge([tmp_path / "1", tmp_path / "2"], tmp_path / "merged").trees == 1
