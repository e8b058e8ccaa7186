"""Which devices a run may train on, checked before anything that takes time."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from learnat.errors import LearnatError
from learnat.recipes.stages import stages_of
from learnat.training import ranks

ACCELERATORS = ("cpu", "gpu")
PRECISIONS = ("32-true", "32", "bf16-mixed", "bf16", "bf16-true", "64-true", "64")
MUON = "learnat.training.optimizers.muon_adamw"


def check_devices(cfg: DictConfig) -> None:
    """Raise ``LearnatError`` for devices that are not there, or not started as several devices must be.

    Touches no device: which GPU is a process's own is settled only once there are enough of them.
    """
    _check_settings(cfg.trainer)
    _check_processes(cfg.trainer)
    if cfg.trainer.accelerator == "gpu":
        _check_gpus()
    if is_sharded(cfg.trainer):
        _check_sharding(cfg)


def _check_settings(trainer: DictConfig) -> None:
    """Refuse what Lightning would take, but what the training here has not been made for."""
    accelerator = trainer.get("accelerator")
    if accelerator not in ACCELERATORS:
        raise LearnatError(f"trainer.accelerator={accelerator} is not supported: use {' or '.join(ACCELERATORS)}.")
    for key in ("devices", "num_nodes"):
        number = trainer.get(key, 1)
        if type(number) is not int or number < 1:
            raise LearnatError(f"trainer.{key}={number} is not supported: give their number, trainer.{key}=1 or more.")
    if "strategy" in trainer and trainer.strategy != "ddp" and not is_sharded(trainer):
        raise LearnatError(
            f"trainer.strategy={trainer.strategy} is not supported: use trainer=ddp, trainer=fsdp, or one device."
        )
    if trainer.get("accumulate_grad_batches", 1) != 1:
        raise LearnatError(
            f"trainer.accumulate_grad_batches={trainer.accumulate_grad_batches} is not supported, a training batch is "
            "an optimiser step already: for larger steps, set packing.databases_per_step or "
            "packing.questions_per_trie."
        )
    if str(trainer.get("precision", "32-true")) not in PRECISIONS:
        # Under 16-mixed gradients are scaled until the step: clipping and the logged norm would be of scaled ones.
        raise LearnatError(f"trainer.precision={trainer.precision} is not supported: use bf16-mixed, or 32-true.")


def _check_processes(trainer: DictConfig) -> None:
    """Refuse a number of processes that the trainer is not for."""
    asked, started = trainer.devices * trainer.get("num_nodes", 1), ranks.count()
    if asked != started:
        # Lightning's own launcher would run the whole command again for each device, once training starts.
        command = f"torchrun --nproc-per-node={trainer.devices} {Path(sys.argv[0]).name} … trainer.devices="
        raise LearnatError(
            f"trainer.devices={trainer.devices} on {trainer.get('num_nodes', 1)} node(s) asks for {asked} processes, "
            f"but {started} {'was' if started == 1 else 'were'} started: use {command}{trainer.devices}"
        )
    if started > 1 and HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        # A job that fails on one rank goes on to the next job there, while the others still wait for it.
        raise LearnatError("A sweep (-m) cannot train on several devices: give every job a torchrun of its own.")
    if started > 1 and "strategy" not in trainer:
        raise LearnatError(f"{started} processes were started, but this trainer is for one: use trainer=ddp or fsdp.")
    if started == 1 and is_sharded(trainer):
        raise LearnatError("trainer=fsdp shards a model over several devices: on one, use trainer=gpu.")


def _check_gpus() -> None:
    """Refuse a machine that has not a GPU for each process on it."""
    there, needed = torch.cuda.device_count(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if not torch.cuda.is_available():
        raise LearnatError(
            "trainer.accelerator=gpu, but PyTorch sees no GPU here: use trainer=cpu, or another machine."
        )
    if max(needed, int(os.environ.get("LOCAL_RANK", "0")) + 1) > there:
        raise LearnatError(
            f"torchrun started {needed} processes on this machine, but PyTorch sees {there} GPU(s) here: start at most "
            f"as many, torchrun --nproc-per-node={there} … trainer.devices={there}"
        )


def _check_sharding(cfg: DictConfig) -> None:
    """Refuse weights and optimisers that cannot be shared out over the devices."""
    if cfg.model.quantization is not None:
        raise LearnatError("trainer=fsdp cannot shard 4-bit weights: use trainer=ddp, or model.quantization=null.")
    for stage in stages_of(cfg):
        if stage.optim.optimizer._target_ == MUON:
            group = f"model.optim.{'preference' if stage.is_preference else 'sft'}.optimizer"
            raise LearnatError(
                f"trainer=fsdp cannot train with Muon, which needs whole matrices: set "
                f"{group}._target_=learnat.training.optimizers.adamw (and ~{group}.muon_lr), or use trainer=ddp."
            )


def is_sharded(trainer: DictConfig) -> bool:
    """Whether ``trainer`` shares one model out over its devices."""
    strategy = trainer.get("strategy")
    return isinstance(strategy, DictConfig) and strategy._target_ == "learnat.training.sharding.FullySharded"
