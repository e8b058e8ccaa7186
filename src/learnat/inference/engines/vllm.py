"""The engine that runs a checkpoint in this process with vLLM, an optional dependency for GPUs.

vLLM batches by itself and finds shared beginnings by itself (automatic prefix caching). Its prompts are the token ids
that the other local engine uses; see https://docs.vllm.ai, "Offline Inference", for its interface.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learnat.errors import LearnatError
from learnat.inference.engines.base import Completion, Decoding, Engine, Prompt, Request, Written, without_room
from learnat.synthesis.checks import check_count, check_number
from learnat.training.prompts import PromptStyle

LORA_RANKS = (8, 16, 32, 64, 128, 256)
"""What vLLM takes for the highest rank of an adapter."""


@dataclass(frozen=True)
class VllmSettings:
    """How vLLM runs.

    Args:
        portion: texts that vLLM is asked for at once; they are there when the last of them is.
        gpu_memory_utilization: share of a GPU's memory that it may take.
        tensor_parallel_size: GPUs that share the model.

    Raises ``LearnatError`` for a value that is not allowed.
    """

    portion: int = 1024
    gpu_memory_utilization: float = 0.9
    tensor_parallel_size: int = 1

    def __post_init__(self) -> None:
        check_count("engine.portion", self.portion)
        check_count("engine.tensor_parallel_size", self.tensor_parallel_size)
        check_number("engine.gpu_memory_utilization", self.gpu_memory_utilization, least=0.01, below=1.0)

    def open(self, checkpoint: str | Path | None, style: PromptStyle) -> VllmEngine:
        if checkpoint is None:
            raise LearnatError("engine=vllm runs a checkpoint: give checkpoint=<run folder>/checkpoints/<stage>.")
        try:
            import vllm
        except ImportError as error:
            raise LearnatError(
                f"engine=vllm needs a package that is not installed ({error}): pip install -e '.[vllm]', on a machine "
                "with a GPU, or use engine=transformers."
            ) from error
        return VllmEngine(vllm, self, Path(checkpoint), style)


class VllmEngine(Engine):
    """``vllm`` is the module. Raises ``LearnatError`` for a checkpoint that vLLM cannot run as it was trained."""

    def __init__(self, vllm: Any, settings: VllmSettings, checkpoint: Path, style: PromptStyle) -> None:
        from transformers import AutoTokenizer

        from learnat.inference.engines.chat_encoding import ChatEncoder
        from learnat.training import models

        manifest = models.read_manifest(checkpoint)
        if manifest["quantization"] is not None:
            raise LearnatError(
                f"{checkpoint} is an adapter over weights held as {manifest['quantization']}, which engine=vllm would "
                "hold otherwise: use engine=transformers."
            )
        self.name = manifest["model"]
        self.identity = f"vllm {models.source_of(checkpoint)}"
        self.style = style
        self._vllm = vllm
        self._portion = settings.portion
        self._context_length = manifest["context_length"]
        self._encoder = ChatEncoder(AutoTokenizer.from_pretrained(checkpoint))
        adapter = lora_settings(checkpoint) if manifest["kind"] == "adapter" else {}
        self._adapter = _request(checkpoint) if adapter else None
        self._llm = vllm.LLM(
            model=manifest["base_model"] if adapter else str(checkpoint),
            tokenizer=str(checkpoint),
            dtype=manifest["dtype"],
            max_model_len=self._context_length,
            enable_prefix_caching=True,
            gpu_memory_utilization=settings.gpu_memory_utilization,
            tensor_parallel_size=settings.tensor_parallel_size,
            **adapter,
        )

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Written]:
        wanted = [(i, sample) for i, request in enumerate(requests) for sample in request.samples]
        encoded = [self._encoder.encode(request.prompt).ids for request in requests]
        for start in range(0, len(wanted), self._portion):
            portion = wanted[start : start + self._portion]
            fitting = [(i, sample) for i, sample in portion if len(encoded[i]) < self._context_length]
            for i, sample in portion:
                if len(encoded[i]) >= self._context_length:
                    yield Written(i, sample, without_room(len(encoded[i])))
            if not fitting:
                continue
            outputs = self._llm.generate(
                [{"prompt_token_ids": list(encoded[i])} for i, _ in fitting],
                [self._parameters(requests[i].prompt, len(encoded[i]), decoding, sample) for i, sample in fitting],
                lora_request=self._adapter,
                use_tqdm=False,
            )
            for (i, sample), output in zip(fitting, outputs, strict=True):
                yield Written(i, sample, _completion(output))

    def close(self) -> None:
        """vLLM's processes end with this one."""
        self._llm = None

    def _parameters(self, prompt: Prompt, length: int, decoding: Decoding, sample: int) -> Any:
        seed = decoding.sample_seed(prompt, sample)
        return self._vllm.SamplingParams(
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            max_tokens=min(decoding.max_new_tokens, self._context_length - length),
            stop=decoding.stop,
            include_stop_str_in_output=True,
            seed=seed % 2**31 if seed is not None else None,
        )


def lora_settings(checkpoint: Path) -> dict[str, Any]:
    """How vLLM is to make room for the adapter of a checkpoint. Raises ``LearnatError`` for a rank beyond its own."""
    rank = json.loads((checkpoint / "adapter_config.json").read_text(encoding="utf-8"))["r"]
    room = next((most for most in LORA_RANKS if most >= rank), None)
    if room is None:
        raise LearnatError(f"{checkpoint} is an adapter of rank {rank}; engine=vllm takes at most {LORA_RANKS[-1]}.")
    return {"enable_lora": True, "max_lora_rank": room}


def _request(checkpoint: Path) -> Any:
    from vllm.lora.request import LoRARequest

    return LoRARequest("policy", 1, str(checkpoint.resolve()))


def _completion(output: Any) -> Completion:
    (text,) = output.outputs
    return Completion(
        text.text,
        len(output.prompt_token_ids),
        len(text.token_ids),
        finished=text.finish_reason == "stop",
        cached_tokens=output.num_cached_tokens or 0,
    )
