"""TRL's side: its DPOTrainer over pairs that are tokenised and whose reference log-probs are known.

``torch_compile=True`` compiles the whole peft model (Accelerate calls ``torch.compile`` on it without regions); a
second sequence length compiles it anew with dynamic shapes. Compiled settings pad every batch to one length where that
adds little, and take dynamic shapes where lengths differ much.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from speed.cases import PairRow
from speed.clock import StepClock
from speed.report import Measured
from speed.shapes import lora

# TRL reports its use over the network when a trainer is made: no part of what is measured.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

BATCH_SIZES = (2, 4, 8, 16, 32)
GAIN = 1.02
"""A larger batch is tried as long as the last one gained this much."""
LIKE_LENGTH = 1.2
"""Pairs whose longest is at most so many times their mean are padded to one length for torch_compile."""
LARGEST_STEP = 32
"""Pairs of an optimiser step at most: larger ones only take longer, their pairs a second are the same."""


@dataclass(frozen=True)
class Setting:
    """``whole_step`` measures optimiser steps as large as ours, or of 32 pairs where ours are larger; otherwise a
    step is one batch, which is quicker.
    """

    checkpointing: bool
    batch_size: int
    compile: bool = False
    whole_step: bool = False

    @property
    def name(self) -> str:
        recompute = "checkpointing" if self.checkpointing else "no checkpointing"
        compiled = ", torch_compile" if self.compile else ""
        return f"{recompute}{compiled}, batch {self.batch_size}{'' if self.whole_step else ' (scan)'}"


def batches(rows: Sequence[PairRow], size: int, per_step: int, steps: int) -> list[list[list[PairRow]]]:
    """``steps`` optimiser steps of ``per_step`` batches of ``size`` pairs of like length.

    Sorting spares TRL padding that its own random order would cause. Batches are taken evenly over the sorted pairs
    and dealt out, so that a few steps stand for all lengths.
    """
    ordered = sorted(rows, key=lambda row: row.length)
    ordered = (ordered * -(-size // len(ordered)))[: max(size, len(ordered))]
    cut = [ordered[i : i + size] for i in range(0, len(ordered) - size + 1, size)]
    wanted = per_step * steps
    spread = [cut[int((i + 0.5) * len(cut) / wanted)] for i in range(wanted)]
    return [spread[i::steps] for i in range(steps)]


def train(
    model: Any, rows: Sequence[PairRow], setting: Setting, pairs_per_step: int, device: torch.device, steps: int
) -> Measured:
    """Train ``model`` for ``steps`` measured steps in ``DPOTrainer``'s own loop; the caller restores the model."""
    size = setting.batch_size
    per_step = max(1, round(min(pairs_per_step, LARGEST_STEP) / size)) if setting.whole_step else 1
    plan = batches(rows, size, per_step, steps)
    warmup = 2 if setting.compile else 1
    multiple = _one_length(rows) if setting.compile else None
    clock = StepClock(device)
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(model, [plan[0]] * warmup + plan, setting, multiple, folder, device)
        trainer.add_callback(_marks(clock, warmup))
        trainer.train()
        seconds = clock.seconds()
    trainer.accelerator.free_memory()
    fed = [sum(fed_tokens(batch, multiple) for batch in step) for step in plan]
    return Measured(
        items=[sum(len(batch) for batch in step) for step in plan],
        fed_tokens=fed,
        product_tokens=fed,
        real_tokens=[sum(_real_tokens(batch) for batch in step) for step in plan],
        seconds=seconds,
        peak_gib=clock.peak_gib(),
    )


def fed_tokens(batch: Sequence[PairRow], multiple: int | None = None) -> int:
    """Positions of a batch: both rows of each pair, padded to the longest."""
    longest = max(row.length for row in batch)
    return 2 * len(batch) * (-(-longest // multiple) * multiple if multiple else longest)


def _real_tokens(batch: Sequence[PairRow]) -> int:
    return sum(2 * len(row.prompt) + len(row.chosen) + len(row.rejected) for row in batch)


def _one_length(rows: Sequence[PairRow]) -> int | None:
    longest, mean = max(row.length for row in rows), statistics.mean(row.length for row in rows)
    return -(-longest // 8) * 8 if longest <= LIKE_LENGTH * mean else None


def reference_error(model: Any, rows: Sequence[PairRow], device: torch.device) -> float:
    """‖a − b‖/‖b‖ of the reference log-probs a that ``rows`` carry against TRL's own b."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(model, [[list(rows)]], Setting(False, len(rows)), None, folder, device)
        inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
        chosen, rejected = trainer.compute_ref_log_probs(trainer.model, inputs)
    theirs = torch.cat([chosen, rejected]).double().cpu()
    known = [row.reference_chosen for row in rows] + [row.reference_rejected for row in rows]
    return float((torch.tensor(known, dtype=torch.float64) - theirs).norm() / theirs.norm())


def _trainer(
    model: Any,
    plan: Sequence[Sequence[Sequence[PairRow]]],
    setting: Setting,
    multiple: int | None,
    folder: str,
    device: torch.device,
) -> Any:
    from accelerate.state import AcceleratorState
    from transformers import PrinterCallback
    from trl import DPOConfig, DPOTrainer

    # The state is a process-wide singleton that would keep the last trainer's torch_compile.
    AcceleratorState._reset_state(reset_partial_state=True)

    class Prepared(DPOTrainer):
        """DPOTrainer over data that needs no preparation, in the order given."""

        def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
            return dataset

        def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    on_gpu = device.type == "cuda"
    config = DPOConfig(
        output_dir=folder,
        per_device_train_batch_size=setting.batch_size,
        gradient_accumulation_steps=len(plan[0]),
        max_steps=len(plan),
        bf16=on_gpu,
        use_cpu=not on_gpu,
        gradient_checkpointing=setting.checkpointing,
        torch_compile=setting.compile,
        pad_to_multiple_of=multiple,
        max_length=None,
        optim="adamw_torch_fused" if on_gpu else "adamw_torch",
        max_grad_norm=1.0,
        learning_rate=1e-6,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = Prepared(
        model, args=config, train_dataset=_dataset(plan), processing_class=_padding_tokenizer(), peft_config=lora()
    )
    trainer.remove_callback(PrinterCallback)
    # Set here, not in the configuration: the trainer would hash all weights first, to cache what the data already has.
    trainer.precompute_ref_logps = True
    return trainer


def _dataset(plan: Iterable[Iterable[Iterable[PairRow]]]) -> Any:
    from datasets import Dataset

    return Dataset.from_list(
        [
            {
                "prompt_ids": list(row.prompt),
                "chosen_ids": list(row.chosen),
                "rejected_ids": list(row.rejected),
                "ref_chosen_logps": row.reference_chosen,
                "ref_rejected_logps": row.reference_rejected,
            }
            for step in plan
            for batch in step
            for row in batch
        ]
    )


def _padding_tokenizer() -> Any:
    """The trainer asks for a tokenizer, of which only the padding token is used."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = Tokenizer(models.WordLevel({"<pad>": 0}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=vocabulary, pad_token="<pad>", eos_token="<pad>")


def _marks(clock: StepClock, warmup: int) -> Any:
    from transformers import TrainerCallback

    class Marks(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step >= warmup:
                clock.mark()

    return Marks()
