"""No step waits for the device: nothing in it moves a value from the device to the host, or a number to the device."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Qwen2Config, Qwen2ForCausalLM

from learnat.training.attention import ATTENTION_NAME, register
from learnat.training.batches import TokenBatch, make_batch
from learnat.training.losses import MadpoLoss, SftLoss
from learnat.training.modules import PolicyModule, PreferenceModule, SftModule
from learnat.training.optimizers import adamw, warmup_cosine
from learnat.training.packing import Item, Packing, StepLoader
from learnat.training.reference import reference_logprobs, with_reference
from learnat.training.throughput import Throughput
from tests.training.conftest import items, tiny_model

aten = torch.ops.aten
READ_BY_HOST = {
    aten._local_scalar_dense, aten.is_nonzero, aten.equal, aten.nonzero, aten.masked_select, aten._unique2,
    aten.unique_dim, aten.unique_consecutive,
}  # fmt: skip


class HostReads(TorchDispatchMode):
    """Records whatever would make the host wait for a GPU, on a CPU too, by the call that does it.

    The optimisers of PyTorch are left out: they read step counts that they keep on the CPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> HostReads:
        # These do without an operator when the tensor is on a CPU.
        for owner, name in ((torch.Tensor, "tolist"), (torch.Tensor, "cpu"), (torch, "tensor")):
            self._patch.setattr(owner, name, self._recorded(name, getattr(owner, name)))
        super().__enter__()
        return self

    def __exit__(self, *args: Any) -> None:
        super().__exit__(*args)
        self._patch.undo()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        indices = args[1] if func.overloadpacket is aten.index else ()
        by_mask = any(index is not None and index.dtype == torch.bool for index in indices)
        if func.overloadpacket in READ_BY_HOST or by_mask:
            self._record(str(func))
        return func(*args, **(kwargs or {}))

    def _recorded(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            # The loader's thread builds its batches on the host.
            if threading.current_thread() is threading.main_thread():
                self._record(name)
            return original(*args, **kwargs)

        return call

    def _record(self, what: str) -> None:
        stack = traceback.extract_stack()
        if not any("/torch/optim/" in frame.filename for frame in stack):
            self.found.append(f"{what} in " + " < ".join(f"{f.name}:{f.lineno}" for f in reversed(stack[-8:-2])))


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.sum().item(),
        lambda x: float(x.sum()),
        lambda x: bool(x.sum() > 0),
        lambda x: 1 if x.sum() > 0 else 0,
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.tensor(1.0),
    ],
)
def test_reads_are_found(read: Callable[[torch.Tensor], Any]) -> None:
    with HostReads() as reads:
        read(torch.ones(3))
    assert len(reads.found) == 1
    with HostReads() as reads:
        (torch.ones(3)[torch.zeros(2, dtype=torch.long)] * 2).sum()
    assert not reads.found


class Watched(L.Callback):
    """Watches every training step but the first, which compares policy and reference."""

    def __init__(self, module: PolicyModule) -> None:
        self.found: list[str] = []
        self.steps = 0
        self._step = module.training_step
        module.training_step = self._watched  # type: ignore[method-assign]

    def _watched(self, packs: list[TokenBatch], batch_idx: int) -> None:
        if self.steps == 0:
            self._step(packs, batch_idx)
        else:
            with HostReads() as reads:
                self._step(packs, batch_idx)
            self.found += reads.found
        self.steps += 1


def module_and_loader(model: Any, preference: bool, gradient_clip: float) -> tuple[PolicyModule, StepLoader]:
    packing = Packing("packed", 2, 2, 100, 128)
    data = items()
    tries = [item.trie for item in data]
    batches = (make_batch([trie], "packed", 0, 128) for trie in tries)
    tries = with_reference(tries, reference_logprobs(model, batches, model.device, lambda count: None))
    kind: Any = PreferenceModule if preference else SftModule
    module = kind(
        model,
        MadpoLoss(nll_weight=0.2, label_smoothing=0.1) if preference else SftLoss(),
        optimizer=partial(adamw, lr=1e-3),
        schedule=partial(warmup_cosine, warmup=0.1),
        gradient_clip=gradient_clip,
        total_steps=9,
    )
    known = [Item(item.db_id, trie) for item, trie in zip(data, tries, strict=True)]
    return module, StepLoader(known, packing, 0, seed=1, pinned=model.device.type == "cuda")


@pytest.mark.parametrize("preference", [False, True])
@pytest.mark.parametrize("gradient_clip", [0.0, 1.0])
def test_a_training_step_reads_nothing_from_the_device(tmp_path: Path, preference: bool, gradient_clip: float) -> None:
    module, loader = module_and_loader(tiny_model(dtype=torch.float32), preference, gradient_clip)
    watched = Watched(module)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=3,
        log_every_n_steps=2,
        logger=False,
        callbacks=[Throughput()],
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, loader)
    assert watched.steps == 9
    assert not watched.found, "\n".join(dict.fromkeys(watched.found))
    assert module.logged["train/loss"] > 0


class SyncsAreErrors(L.Callback):
    """After two steps, which compile, a host sync anywhere in the loop raises, batch transfers included."""

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        if trainer.global_step == 2:
            torch.cuda.set_sync_debug_mode("error")

    def on_train_end(self, *args: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("preference", [False, True])
def test_the_loop_on_a_gpu_runs_without_a_host_sync(tmp_path: Path, preference: bool) -> None:
    register()
    config = Qwen2Config(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        attn_implementation=ATTENTION_NAME,
    )
    model = Qwen2ForCausalLM(config).cuda()
    module, loader = module_and_loader(model, preference, gradient_clip=1.0)
    trainer = L.Trainer(
        accelerator="gpu",
        devices=1,
        max_epochs=3,
        max_steps=8,
        # Rows are read from the device, so there are none here.
        log_every_n_steps=100,
        logger=False,
        callbacks=[SyncsAreErrors()],
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    try:
        trainer.fit(module, loader)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert trainer.global_step == 8
