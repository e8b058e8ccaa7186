"""train.py under torchrun, on the CPU: the ranks train together, and the first one speaks for all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from transformers import AutoModelForCausalLM

from learnat.errors import LearnatError
from learnat.recipes.devices import check_devices

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
SHRUNK = [
    "data.num_databases=2", "data.num_unseen_databases=1", "data.train_questions=24", "data.dev_questions=3",
    "model.architecture.hidden_size=32", "model.architecture.intermediate_size=48",
    "model.architecture.num_hidden_layers=2",
    "model.architecture.num_attention_heads=2", "model.architecture.num_key_value_heads=2",
    "inference.max_new_tokens=8", "trainer.max_steps=3", "trainer.log_every_n_steps=1", "workers=1",
    "score_untrained=false",
]  # fmt: skip
SHARDED = ["trainer=fsdp", "trainer.accelerator=cpu", "trainer.strategy.compute_dtype=float32"]
ADAMW = [
    "model.optim.sft.optimizer._target_=learnat.training.optimizers.adamw",
    "~model.optim.sft.optimizer.muon_lr",
]


def test_a_sharded_run_writes_what_a_run_on_one_device_does(tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, *LAUNCH, str(ROOT / "train.py"), *SHRUNK, *SHARDED, *ADAMW]
    command.append(f"cache_dir={tmp_path / 'cache'}")
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (tmp_path / "runs" / "train").iterdir()  # named by the first rank's clock for both
    assert list(json.loads((folder / "metrics.json").read_text())) == ["sft", "madpo"]
    assert done.stdout.count("madpo: 3 steps in") == 1
    rows = (folder / "madpo" / "metrics.csv").read_text().splitlines()
    assert len(rows) == 4
    AutoModelForCausalLM.from_pretrained(folder / "checkpoints" / "madpo")


@pytest.mark.parametrize(
    ("overrides", "started", "message"),
    [
        (["trainer=ddp"], "1", "asks for 2 processes, but 1 was started: use torchrun --nproc-per-node=2"),
        (["trainer=ddp"], "4", "asks for 2 processes, but 4 were started"),
        (["trainer=cpu", "trainer.devices=2"], "2", "this trainer is for one: use trainer=ddp or fsdp"),
        (["trainer=fsdp", "trainer.devices=1", "trainer.accelerator=cpu"], "1", "on one, use trainer=gpu"),
        ([*SHARDED, "model=qwen7b", "model.quantization=nf4"], "2", "cannot shard 4-bit weights: use trainer=ddp"),
        (SHARDED, "2", "cannot train with Muon, which needs whole matrices"),
    ],
)
def test_devices_that_cannot_be_trained_on_are_refused_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, overrides: list[str], started: str, message: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", started)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", overrides)
    with pytest.raises(LearnatError, match=message):
        check_devices(cfg)
