"""What can be said of the engine vllm without a GPU: its calls, its mistakes, and how much room an adapter gets."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AutoTokenizer

from learnat.errors import LearnatError
from learnat.inference.engines.base import Completion, Decoding, Message, Prompt, Request, without_room
from learnat.inference.engines.chat_encoding import ChatEncoder
from learnat.inference.engines.vllm import VllmEngine, VllmSettings, lora_settings
from learnat.training.prompts import PromptStyle


class FakeVllm:
    """Stands for the module: says what was asked for, and answers with what the samples are told by."""

    def __init__(self) -> None:
        self.made: dict[str, Any] = {}
        self.asked: list[tuple[list[int], SimpleNamespace, Any]] = []
        self.portions: list[int] = []

    def SamplingParams(self, **parameters: Any) -> SimpleNamespace:
        return SimpleNamespace(**parameters)

    def LLM(self, **made: Any) -> FakeVllm:
        self.made = made
        return self

    def generate(self, prompts: list[Any], parameters: list[Any], lora_request: Any, use_tqdm: bool) -> list[Any]:
        self.portions.append(len(prompts))
        ids = [prompt["prompt_token_ids"] for prompt in prompts]
        self.asked += zip(ids, parameters, [lora_request] * len(ids), strict=True)
        return [self._output(*each) for each in zip(ids, parameters, strict=True)]

    def _output(self, ids: list[int], parameters: Any) -> SimpleNamespace:
        cut = parameters.max_tokens < 5
        text = SimpleNamespace(text=f"{parameters.seed}", token_ids=[1] * 4, finish_reason="length" if cut else "stop")
        return SimpleNamespace(outputs=[text], prompt_token_ids=ids, num_cached_tokens=None if cut else 3)


def test_what_vllm_is_asked_and_what_becomes_of_its_answers(checkpoint: Path) -> None:
    vllm, context = FakeVllm(), 1024  # the checkpoint's
    engine = VllmEngine(vllm, VllmSettings(portion=3, gpu_memory_utilization=0.5), checkpoint, PromptStyle())
    assert (vllm.made["model"], vllm.made["tokenizer"]) == (str(checkpoint), str(checkpoint))
    assert (vllm.made["dtype"], vllm.made["max_model_len"]) == ("float32", context)
    assert (vllm.made["gpu_memory_utilization"], vllm.made["enable_prefix_caching"]) == (0.5, True)

    short, long = (Prompt((Message("user", "How many? " * count),), begun="-- A?\n") for count in (1, 2000))
    decoding = Decoding(40, temperature=0.7, top_p=0.9, stop=";\n", seed=5)
    requests = [Request(prompt, (0, 4)) for prompt in (short, long)]
    written = {(each.position, each.sample): each.completion for each in engine.generate(requests, decoding)}
    encoder = ChatEncoder(AutoTokenizer.from_pretrained(checkpoint))
    ids, too_many = (encoder.encode(prompt).ids for prompt in (short, long))
    seeds = [seed % 2**31 for sample in (0, 4) if (seed := decoding.sample_seed(short, sample)) is not None]
    assert vllm.portions == [2], "of three texts at once one has no room, and neither has the fourth"
    common = {"temperature": 0.7, "top_p": 0.9, "max_tokens": 40, "stop": ";\n", "include_stop_str_in_output": True}
    assert vllm.asked == [(list(ids), SimpleNamespace(**common, seed=seed), None) for seed in seeds]
    answers = {
        (0, sample): Completion(str(seed), len(ids), 4, True, 3) for sample, seed in zip((0, 4), seeds, strict=True)
    }
    assert written == {**answers, **{(1, sample): without_room(len(too_many)) for sample in (0, 4)}}

    # Greedily, with less room than is asked for.
    vllm.asked.clear()
    ((_, _, cut),) = [
        (each.position, each.sample, each.completion) for each in engine.generate([Request(short)], Decoding(2000))
    ]
    ((_, parameters, _),) = vllm.asked
    assert (parameters.seed, parameters.temperature, parameters.max_tokens) == (None, 0.0, context - len(ids))
    assert cut == Completion("None", len(ids), 4, True, 3)
    (least,) = engine.generate([Request(short)], Decoding(4))
    assert least.completion == Completion("None", len(ids), 4, False, 0)


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
