"""The whole recipe: trees, SFT warm start, preference training, execution accuracy. See conf/train.yaml."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from learnat.recipes.app import launch


def recipe(cfg: DictConfig) -> None:
    from learnat.recipes.train import train

    train(cfg)


if __name__ == "__main__":
    launch(recipe, config_name="train", config_dir=Path(__file__).parent / "conf", several_ranks=True)
