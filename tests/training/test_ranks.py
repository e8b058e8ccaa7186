"""Two processes under torchrun, over gloo on the CPU: what several devices must not change."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.training import ranks_worker

ROOT = Path(__file__).parents[2]
LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
ALIKE = [("ddp", "madpo-lora-sgd"), ("fsdp", "madpo-full-sgd"), ("fsdp", "sft-lora-sgd")]
RESUMED = ["madpo-full-adamw", "sft-lora-adamw"]
CASES = [f"{strategy}-{rest}" for strategy, rest in ALIKE]
CASES += [f"fsdp-{rest}@{mode}" for rest in RESUMED for mode in ("stop", "resume")]

Steps = list[dict[str, float]]


def torchrun(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``script`` as two processes."""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path}
    command = [sys.executable, *LAUNCH, str(script), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that two ranks leave after all ``CASES``."""
    folder = tmp_path_factory.mktemp("two")
    done = torchrun(ROOT / "tests/training/ranks_worker.py", str(folder), *CASES)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def figures(folder: Path, case: str) -> Steps:
    return json.loads((folder / f"{case}.json").read_text())


def same(steps: Steps, expected: Steps) -> bool:
    """Whether all figures of all steps agree to float32 rounding.

    Rewards are rounding errors before the first update, and so are the shares of pairs that are won and equal there.
    """
    assert len(expected) == 6 and expected[-1]["train/loss"] < expected[0]["train/loss"]
    return len(steps) == len(expected) and all(
        step == pytest.approx(other, rel=2e-5, abs=2e-5)
        for step, other in zip(_comparable(steps), _comparable(expected), strict=True)
    )


def _comparable(steps: Steps) -> Steps:
    noise = ("train/rewards/accuracy", "train/rewards/ties")
    return [{name: value for name, value in steps[0].items() if name not in noise}, *steps[1:]]


@pytest.mark.parametrize(("strategy", "rest"), ALIKE)
def test_two_ranks_log_the_figures_and_reach_the_weights_of_one(
    tmp_path: Path, two: Path, strategy: str, rest: str
) -> None:
    expected = ranks_worker.run(f"one-{rest}", tmp_path)
    assert same(figures(two, f"{strategy}-{rest}"), expected)
    (ours,) = (two / f"{strategy}-{rest}").glob("exported/**/*model.safetensors")
    (theirs,) = (tmp_path / f"one-{rest}").glob("exported/**/*model.safetensors")
    one, both = load_file(theirs), load_file(ours)
    assert one.keys() == both.keys()
    for name, weight in one.items():
        torch.testing.assert_close(both[name], weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rest", RESUMED)
def test_a_sharded_run_stopped_mid_epoch_resumes_on_the_path_of_one_rank(tmp_path: Path, two: Path, rest: str) -> None:
    before, after = (figures(two, f"fsdp-{rest}@{mode}") for mode in ("stop", "resume"))
    assert len(before) == ranks_worker.STOP
    assert same(before + after, ranks_worker.run(f"one-{rest}", tmp_path))


def test_of_a_sharded_model_the_trained_weights_alone_are_gathered_for_a_save(two: Path) -> None:
    gathered = json.loads((two / "fsdp-sft-lora-adamw" / "gathered.json").read_text())
    assert gathered and all("lora_" in name for name in gathered)


def test_what_was_sharded_loads_in_plain_transformers(two: Path) -> None:
    model, report = AutoModelForCausalLM.from_pretrained(
        two / f"fsdp-{RESUMED[0]}" / "exported", output_loading_info=True
    )
    assert type(model).__name__ == "Qwen2ForCausalLM"
    assert not report["missing_keys"] and not report["unexpected_keys"]


LEAVE = """
import gc, json, sys
from pathlib import Path
from torch import distributed
from learnat.training import ranks

def gloo() -> int:
    return sum("gloo" in (task / "comm").read_text() for task in Path("/proc/self/task").iterdir())

ranks.connect()
ranks.on_first(lambda: "x" * 2**20)
gc.disable()
cycle = [distributed.new_group(backend="gloo")]  # as a trainer's model and strategy hold one
cycle.append(cycle)
del cycle
before = gloo()
ranks.disconnect()
ranks.disconnect()
Path(sys.argv[1], f"{ranks.index()}.json").write_text(json.dumps([before, gloo(), distributed.is_initialized()]))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are named in Linux's /proc")
def test_after_disconnect_no_thread_is_left_that_could_need_the_interpreter(tmp_path: Path) -> None:
    script = tmp_path / "leave.py"
    script.write_text(LEAVE)
    done = torchrun(script, str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    for rank in (0, 1):
        before, after, connected = json.loads((tmp_path / f"{rank}.json").read_text())
        assert before > 0 and after == 0 and not connected
