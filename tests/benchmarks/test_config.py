"""conf/data/spider.yaml and bird.yaml build the readers, and an override reaches them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from learnat.benchmarks import BirdBenchmark, SpiderBenchmark

CONF = Path(__file__).parents[2] / "conf" / "data"


def build(name: str, **overrides: Any) -> Any:
    data = OmegaConf.load(CONF / f"{name}.yaml")
    assert isinstance(data, DictConfig)
    return instantiate(OmegaConf.create({"data": OmegaConf.merge(data, overrides)}).data.benchmark)


def test_spider(spider_root: Path) -> None:
    benchmark = build("spider", root=str(spider_root), databases=["shop"], limit=2, missing="skip", samples=1)
    assert isinstance(benchmark, SpiderBenchmark)
    assert len(benchmark.examples("dev")) == 2
    assert benchmark.databases == ("shop",)
    assert benchmark.missing == "skip"
    assert benchmark.database("shop").schema.tables[0].columns[0].samples == ("1",)


def test_bird_takes_its_root_from_the_environment(bird_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEARNAT_DATA", str(bird_root.parent))
    benchmark = build("bird", databases="shop")
    assert isinstance(benchmark, BirdBenchmark)
    assert benchmark.root == bird_root
    assert len(benchmark.examples("dev")) == 2


@pytest.mark.parametrize("name", ["spider", "bird"])
def test_every_key_of_the_reader_is_a_public_override(name: str) -> None:
    data = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"), resolve=False)
    assert isinstance(data, dict)
    reader = {key: value for key, value in data["benchmark"].items() if key != "_target_"}
    own = {"spider": ["test_suite"], "bird": []}[name]
    assert reader == {key: f"${{data.{key}}}" for key in ("root", "databases", "limit", "missing", "samples", *own)}
    others = {"split", "train_split", "on_policy_split", "eval_splits", "schema_style", "benchmark"}
    assert set(data) - set(reader) == others
