"""What can be said of the engine vllm without a GPU: its mistakes, and how much room an adapter gets."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from learnat.errors import LearnatError
from learnat.inference.engines.vllm import VllmSettings, lora_settings
from learnat.training.prompts import PromptStyle


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_a_missing_vllm_is_named_with_its_extra(tmp_path: Path) -> None:
    with pytest.raises(LearnatError, match=r"engine=vllm needs .*pip install -e '\.\[vllm\]'"):
        VllmSettings().open(tmp_path, PromptStyle())


def test_it_needs_a_checkpoint() -> None:
    with pytest.raises(LearnatError, match="engine=vllm runs a checkpoint"):
        VllmSettings().open(None, PromptStyle())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"portion": 0}, "engine.portion=0"),
        ({"gpu_memory_utilization": 1.5}, "engine.gpu_memory_utilization=1.5"),
        ({"tensor_parallel_size": 0}, "engine.tensor_parallel_size=0"),
    ],
)
def test_mistakes_in_the_settings(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(LearnatError, match=message):
        VllmSettings(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rank", "room"), [(4, 8), (16, 16), (17, 32), (256, 256), (257, None)])
def test_an_adapter_gets_the_room_that_vllm_knows(rank: int, room: int | None, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": rank}))
    if room is None:
        with pytest.raises(LearnatError, match="rank 257"):
            lora_settings(tmp_path)
    else:
        assert lora_settings(tmp_path) == {"enable_lora": True, "max_lora_rank": room}
