"""Our side: the library's modules, packing and Lightning's own training loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from learnat.training.attention import ATTENTION_NAME, register
from learnat.training.batches import TokenBatch
from learnat.training.last_layer import read_where_needed
from learnat.training.logprobs import causal_lm, node_logprobs, token_logprobs
from learnat.training.losses import DpoLoss
from learnat.training.modules import PolicyModule, PreferenceModule
from learnat.training.optimizers import adamw, warmup_cosine
from learnat.training.packing import Item, Packing, StepLoader, shared_tries
from learnat.training.preparation import compile_layers
from learnat.training.reference import reference_logprobs, with_reference
from learnat.training.tries import TokenTrie, join
from speed.cases import Case
from speed.clock import StepClock
from speed.report import Measured
from speed.shapes import lora

PAD = 0


@dataclass(frozen=True)
class Variant:
    """One way to train: ``budget`` names one of the case's token budgets."""

    checkpointing: bool
    compile: bool
    budget: str

    @property
    def name(self) -> str:
        recompute = "checkpointing" if self.checkpointing else "no checkpointing"
        return f"{recompute}{', compiled' if self.compile else ''}, pack: {self.budget}"


def variants(budgets: Sequence[str], quick: bool, device: torch.device) -> list[Variant]:
    """The likely best first, so that a run that is cut short has it."""
    first, last = budgets[0], budgets[-1]
    chosen = [Variant(False, True, first), Variant(True, True, last), Variant(False, False, first)]
    if device.type != "cuda":
        # On a CPU compiled layers would mostly measure the C++ compiler.
        return [Variant(False, False, first), Variant(True, False, last)]
    if quick:
        return chosen
    everything = [Variant(c, k, budget) for k in (True, False) for c in (False, True) for budget in budgets]
    return [*chosen, *(variant for variant in everything if variant not in chosen)]


def prepare(model: Any, checkpointing: bool, compile: bool) -> None:
    """What ``learnat.training.preparation`` sets up for training, on a bare model instead of a policy."""
    lm = causal_lm(model)
    register()
    lm.set_attn_implementation(ATTENTION_NAME)
    if checkpointing:
        lm.gradient_checkpointing_enable({"use_reentrant": False})
        # Only re-entrant checkpoints need the embeddings' output to require gradients, which this asks for as well.
        lm.disable_input_require_grads()
    else:
        read_where_needed(lm)
    if compile:
        compile_layers(lm)
    model.train()


def adapted(model: nn.Module) -> Any:
    """``model`` in a fresh LoRA adapter, which changes nothing before its first step."""
    from peft import get_peft_model

    torch.manual_seed(0)
    return get_peft_model(model, lora())


def autocast(device: torch.device) -> Any:
    """The context of trainer=gpu's ``precision: bf16-mixed``; none on a CPU."""
    return torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda")


def add_reference(model: Any, case: Case, device: torch.device) -> Case:
    """``case`` with the reference log-probs of the base model, computed from packed tries."""
    prepare(model, checkpointing=False, compile=False)
    packing = Packing("packed", case.questions_per_trie, case.databases_per_step, length_bucket=case.bucket)
    groups = shared_tries(case.items, case.questions_per_trie)
    batches = (packing.batch([join([item.trie for item in group])], PAD) for group in groups)
    with autocast(device):
        logprobs = reference_logprobs(model, batches, device, lambda done: None)
    items = [item for group in groups for item in group]
    tries = with_reference([item.trie for item in items], logprobs)
    return replace(case, items=[Item(item.db_id, trie) for item, trie in zip(items, tries, strict=True)])


@torch.no_grad()
def logprob_error(model: Any, tries: Sequence[TokenTrie], device: torch.device) -> float:
    """‖a − b‖/‖b‖ of the node log-probs a of packed ``tries`` against those b of padded rows."""
    prepare(model, checkpointing=False, compile=False)
    model.eval()
    found = []
    for layout in ("packed", "padded"):
        batch = Packing(layout).batch(tries, PAD).to(device)
        with autocast(device):
            found.append(node_logprobs(token_logprobs(model, batch), batch).double())
    return float((found[0] - found[1]).norm() / found[1].norm())


class _Clock(Callback):
    """Marks the end of each step after ``warmup`` and notes what it held."""

    def __init__(self, clock: StepClock, warmup: int) -> None:
        self.clock, self.warmup = clock, warmup
        self.steps: list[list[TokenBatch]] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: list[TokenBatch], batch_idx: int
    ) -> None:
        if trainer.global_step >= self.warmup:
            self.clock.mark()
        if trainer.global_step > self.warmup:
            self.steps.append(batch)


def train_pairs(model: Any, case: Case, variant: Variant, device: torch.device, steps: int) -> Measured:
    """DPO over packed tries: ``steps`` measured steps of ``case``, or an epoch where that is more."""
    budget = case.budgets[variant.budget]
    packing = Packing("packed", case.questions_per_trie, case.databases_per_step, budget, case.bucket)
    loader = StepLoader(case.items, packing, PAD, seed=0, pinned=device.type == "cuda")
    policy, clock, warmup = adapted(model), StepClock(device), warmup_steps(variant, len(loader))
    steps = max(steps, len(loader))
    prepare(policy, variant.checkpointing, variant.compile)
    module = PreferenceModule(policy, DpoLoss(), **optimisation(warmup + steps))
    seen = fit(module, loader, clock, device, warmup, steps)
    return measured(policy, seen, [sum(len(batch.margin) for batch in step) for step in seen], clock)


def warmup_steps(variant: Variant, epoch: int) -> int:
    """Compiled code meets every length of an ``epoch`` before the clock starts; otherwise two steps do."""
    return max(2, epoch) if variant.compile else 2


def optimisation(total_steps: int) -> dict[str, Any]:
    """What the library's modules ask for: AdamW, a schedule and a bound on the gradient's norm."""
    return {
        "optimizer": partial(adamw, lr=1e-6),
        "schedule": warmup_cosine,
        "gradient_clip": 1.0,
        "total_steps": total_steps,
    }


def fit(
    module: PolicyModule, loader: Any, clock: StepClock, device: torch.device, warmup: int, steps: int
) -> list[list[TokenBatch]]:
    """Lightning's training loop with trainer=gpu's precision; returns the measured steps' packs."""
    marks = _Clock(clock, warmup)
    trainer = L.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed" if device.type == "cuda" else "32-true",
        max_steps=warmup + steps,
        max_epochs=-1,
        callbacks=[marks],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, train_dataloaders=loader)
    return marks.steps


def measured(model: Any, steps: Sequence[list[TokenBatch]], items: Sequence[int], clock: StepClock) -> Measured:
    fed = [sum(batch.input_ids.numel() for batch in step) for step in steps]
    read = [sum(len(batch.read) for batch in step) for step in steps]
    share = last_mlp_share(causal_lm(model))
    return Measured(
        items=items,
        fed_tokens=fed,
        real_tokens=[sum(batch.tokens for batch in step) for step in steps],
        product_tokens=[all_ - share * (all_ - some) for all_, some in zip(fed, read, strict=True)],
        seconds=clock.seconds(),
        peak_gib=clock.peak_gib(),
    )


def last_mlp_share(lm: Any) -> float:
    """The last MLP's part of the decoder's weights where it runs at the read positions alone; otherwise 0."""
    if not hasattr(lm, "read_positions"):
        return 0.0
    layers = lm.get_decoder().layers
    last, whole = (
        sum(p.numel() for name, p in part.named_parameters() if "lora_" not in name)
        for part in (layers[-1].mlp, layers)
    )
    return last / whole
