"""Which devices a run may train on, checked before anything that takes time."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from learnat.errors import LearnatError
from learnat.training import ranks

MUON = "learnat.training.optimizers.muon_adamw"


def check_devices(cfg: DictConfig) -> None:
    """Raise ``LearnatError`` for devices that are not there, or not started as several devices must be."""
    trainer = cfg.trainer
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
    if trainer.accelerator == "gpu" and not torch.cuda.is_available():
        raise LearnatError(
            "trainer.accelerator=gpu, but PyTorch sees no GPU here: use trainer=cpu, or another machine."
        )
    if str(trainer.get("precision", "32-true")).startswith("16"):
        # Its gradients are scaled until the optimiser's step: clipping and the logged norm would be of scaled ones.
        raise LearnatError(f"trainer.precision={trainer.precision} is not supported: use bf16-mixed, or 32-true.")
    if started > 1 and "strategy" not in trainer:
        raise LearnatError(f"{started} processes were started, but this trainer is for one: use trainer=ddp or fsdp.")
    if started == 1 and is_sharded(trainer):
        raise LearnatError("trainer=fsdp shards a model over several devices: on one, use trainer=gpu.")
    if is_sharded(trainer) and cfg.model.quantization is not None:
        raise LearnatError("trainer=fsdp cannot shard 4-bit weights: use trainer=ddp, or model.quantization=null.")
    if is_sharded(trainer) and MUON in str(OmegaConf.to_container(cfg.model.optim)):
        raise LearnatError(
            "trainer=fsdp cannot train with Muon, which needs whole matrices: set "
            "model.optim.sft.optimizer._target_=learnat.training.optimizers.adamw (and ~model.optim.sft.optimizer."
            "muon_lr), or use trainer=ddp."
        )


def is_sharded(trainer: DictConfig) -> bool:
    """Whether ``trainer`` shares one model out over its devices."""
    strategy = trainer.get("strategy")
    return isinstance(strategy, DictConfig) and strategy._target_ == "learnat.training.sharding.FullySharded"
