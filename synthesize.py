"""Search trees of verified decompositions for the questions of a benchmark. See conf/synthesize.yaml."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from learnat.recipes.app import launch


def recipe(cfg: DictConfig) -> None:
    from learnat.recipes.synthesize import run

    run(cfg)


if __name__ == "__main__":
    launch(recipe, config_name="synthesize", config_dir=Path(__file__).parent / "conf")
