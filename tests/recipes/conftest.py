"""A small command with a config of its own: the entry point is tested apart from what the real recipes do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[2]

FILES = {
    "conf/app.yaml": """
        defaults:
          - base
          - loss: madpo
          - trainer: cpu
          - _self_
          - experiment: null
          - override hydra/job_logging: learnat
        run_dir: runs/app/${started}
        behaviour: fine
        required: 1
        text: none
        again: "${text}"
        server:
          _target_: http.client.HTTPConnection
          host: localhost
          headers: {}
        callbacks: {silent: null}
        limit: null
        """,
    "conf/flavour/mild.yaml": "strength: 1\n",
    "conf/loss/madpo.yaml": "defaults: [_self_, weights: null]\nname: madpo\nbeta: 0.1\nweights: null\n",
    "conf/loss/weights/decayed.yaml": "decay: 0.5\n",
    "conf/loss/weights/even.yaml": "decay: 0.0\n",
    "conf/loss/sft.yaml": "name: sft\n",
    "conf/trainer/cpu.yaml": "max_steps: 10\naccelerator: cpu\n",
    "conf/trainer/gpu.yaml": "max_steps: 10\naccelerator: gpu\n",
    "conf/trainer/extra/fast.yaml": "speed: 1\n",
    "conf/hydra/sweeper/search.yaml": "_target_: x.Search\nparams: null\n",
    "conf/experiment/good.yaml": """
        # @package _global_
        # python app.py experiment=good
        defaults:
          - override /loss: sft
        trainer:
          max_steps: 3
        """,
    "conf/experiment/misspelt.yaml": """
        # @package _global_
        trainer:
          max_stepz: 3
        """,
    "conf/experiment/sweep.yaml": """
        # @package _global_
        hydra:
          mode: MULTIRUN
          sweeper:
            params:
              loss: sft,madpo
              seed: 1,2
        """,
    "conf/experiment/interval.yaml": """
        # @package _global_
        hydra:
          sweeper:
            params:
              loss.beta: interval(0.01,0.5)
              trainer.max_steps: tag(x,interval(1,9))
        """,
    "conf/experiment/mapping.yaml": """
        # @package _global_
        limit:
          name: all
        trainer:
          accelerator:
            _target_: x.Y
        """,
    "conf/experiment/elsewhere.yaml": """
        # @package _global_
        # python other.py experiment=elsewhere loss=sft
        # What is asked.
        trainer:
          max_steps: 3
        """,
    "conf/experiment/bad_sweep.yaml": """
        # @package _global_
        hydra:
          sweeper:
            params:
              loss: sft,madpoo
        """,
    "app.py": """
        import json
        from pathlib import Path

        from omegaconf import OmegaConf

        from learnat.errors import LearnatError
        from learnat.recipes.app import launch


        def recipe(cfg):
            if cfg.behaviour == "mistake":
                raise LearnatError("The file x is missing: put it there.")
            if cfg.behaviour == "echo":
                print(cfg.text, cfg.again, OmegaConf.to_container(cfg, resolve=True)["text"], sep="\\n")
            if cfg.behaviour == "chatty":
                for number in range(10**6):
                    print(number)
                raise ZeroDivisionError("it was not stopped")
            if cfg.behaviour == "wrapped":
                try:
                    raise LearnatError("A wrapped mistake.")
                except LearnatError as error:
                    raise RuntimeError("Error in call to target") from error
            if cfg.behaviour == "bug":
                raise ZeroDivisionError("a bug")
            if cfg.behaviour == "interrupt":
                raise KeyboardInterrupt
            scores = {"dev_seen": {"ex": {"all": cfg.seed / 10}}, "dev_unseen": {"ex": {"all": 0.25}}}
            metrics = {"untrained": scores, cfg.loss.name: scores, "provenance": {}}
            (Path(cfg.run_dir) / "metrics.json").write_text(json.dumps(metrics))


        if __name__ == "__main__":
            launch(recipe, "app", Path(__file__).parent / "conf", texts=["text"])
        """,
}

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The command's folder: ``app.py`` and ``conf/``, with the project's own base and logging config."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip(), encoding="utf-8")
    for name in ("base.yaml", "hydra/job_logging/learnat.yaml"):
        (tmp_path / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / name).write_text((ROOT / "conf" / name).read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


@pytest.fixture
def app(folder: Path) -> Command:
    """Runs ``python app.py ARGUMENTS`` in ``folder``."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "app.py", *arguments]
        env = {**os.environ, "COLUMNS": "200", **environment}
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)

    return run
