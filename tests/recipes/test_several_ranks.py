"""train.py under torchrun, on the CPU: the ranks train together, and the first one speaks for all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess

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
    "score_untrained=false", "on_policy.questions=0",
]  # fmt: skip
SHARDED = ["trainer=fsdp", "trainer.accelerator=cpu", "trainer.strategy.compute_dtype=float32"]
ADAMW = [
    "model.optim.sft.optimizer._target_=learnat.training.optimizers.adamw",
    "~model.optim.sft.optimizer.muon_lr",
]


def torchrun(folder: Path, main: str, *arguments: str, options: Sequence[str] = ()) -> CompletedProcess[str]:
    """A main of the project as two processes, in ``folder``; ``options`` are torchrun's."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, *LAUNCH, *options, str(ROOT / main), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


def test_a_sharded_run_writes_what_a_run_on_one_device_does_and_refuses_other_settings(tmp_path: Path) -> None:
    arguments = [*SHRUNK, *SHARDED, *ADAMW, f"cache_dir={tmp_path / 'cache'}"]
    done = torchrun(tmp_path, "train.py", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (tmp_path / "runs" / "train").iterdir()  # named by the first rank's clock for both
    assert list(json.loads((folder / "metrics.json").read_text())) == ["sft", "madpo"]
    assert done.stdout.count("madpo: 3 steps in") == 1
    rows = (folder / "madpo" / "metrics.csv").read_text().splitlines()
    assert len(rows) == 4
    AutoModelForCausalLM.from_pretrained(folder / "checkpoints" / "madpo")

    errors = errors_of_ranks(tmp_path, "train.py", *arguments, f"run_dir={folder}", "seed=1234")
    message = f"{folder} holds a run with other settings: "
    assert errors[0].startswith(message) and " seed (1 → 1234). " in errors[0]
    assert len(errors[0].splitlines()) == 1 and errors[1] == ""
    assert (folder / "error.txt").read_text() == errors[0]


def test_a_main_for_one_process_is_refused_under_torchrun_by_the_first_rank_alone(tmp_path: Path) -> None:
    errors = errors_of_ranks(tmp_path, "synthesize.py")
    assert errors == ["synthesize.py works in one process: start it with python, not with torchrun.\n", ""]


def errors_of_ranks(folder: Path, main: str, *arguments: str) -> list[str]:
    """What each of two ranks that fail writes to stderr; torchrun's own stderr also tells that they failed."""
    logs = folder / "logs"
    done = torchrun(folder, main, *arguments, options=[f"--log-dir={logs}", "--redirects=3"])
    assert done.returncode == 1, done.stdout + done.stderr
    return [next(logs.glob(f"**/{rank}/stderr.log")).read_text() for rank in (0, 1)]


@pytest.mark.parametrize(
    ("overrides", "started", "message"),
    [
        (["trainer=ddp"], "1", "asks for 2 processes, but 1 was started: use torchrun --nproc-per-node=2"),
        (["trainer=ddp"], "4", "asks for 2 processes, but 4 were started"),
        (["trainer=cpu", "trainer.devices=2"], "2", "this trainer is for one: use trainer=ddp or fsdp"),
        (["trainer=fsdp", "trainer.devices=1", "trainer.accelerator=cpu"], "1", "on one, use trainer=gpu"),
        ([*SHARDED, "model=qwen7b", "model.quantization=nf4"], "2", "cannot shard 4-bit weights: use trainer=ddp"),
        (SHARDED, "2", "cannot train with Muon, which needs whole matrices: set model.optim.sft.optimizer._target_"),
        (["trainer.accelerator=auto"], "1", "trainer.accelerator=auto is not supported: use cpu or gpu"),
        (["trainer.devices=auto"], "1", "trainer.devices=auto is not supported: give their number"),
        (["+trainer.strategy=fsdp"], "1", "trainer.strategy=fsdp is not supported: use trainer=ddp, trainer=fsdp"),
        (["+trainer.accumulate_grad_batches=2"], "1", "batch is an optimiser step already"),
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


def test_more_processes_than_gpus_are_refused_before_one_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", ["trainer=ddp"])
    with pytest.raises(LearnatError, match=r"started 2 processes on this machine, but PyTorch sees 1 GPU\(s\)"):
        check_devices(cfg)


def test_only_the_optimisers_of_stages_that_run_must_be_fit_for_sharding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for start in ("warm_start=none", "warm_start.checkpoint=a_folder"):
            check_devices(compose("train", [*SHARDED, start]))
