"""Predictions and scores of a checkpoint, or scores of anyone's predictions. See conf/evaluate.yaml."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from learnat.recipes.app import launch


def recipe(cfg: DictConfig) -> None:
    from learnat.recipes.evaluate import evaluate

    evaluate(cfg)


if __name__ == "__main__":
    launch(recipe, config_name="evaluate", config_dir=Path(__file__).parent / "conf")
