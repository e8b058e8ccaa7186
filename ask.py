"""One question to one database: its steps, the SQL and what it gives. See conf/ask.yaml.

``--explain``, anywhere among the arguments, is short for explain=true; what is asked may hold any character.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from learnat.recipes.app import launch


def recipe(cfg: DictConfig) -> None:
    from learnat.recipes.ask import ask

    if not ask(cfg):
        raise SystemExit(1)


if __name__ == "__main__":
    launch(
        recipe,
        config_name="ask",
        config_dir=Path(__file__).parent / "conf",
        flags=["explain"],
        texts=["database", "question", "evidence"],
    )
