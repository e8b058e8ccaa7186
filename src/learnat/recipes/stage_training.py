"""One stage of train.py: a policy learns from search trees, and is exported as a checkpoint."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from learnat.recipes.reference_pass import add_reference
from learnat.recipes.stages import Source, Stage
from learnat.training import models, ranks
from learnat.training.datamodule import DecompositionDataModule
from learnat.training.encoding import PromptEncoder
from learnat.training.models import Policy
from learnat.training.modules import PolicyModule, PreferenceModule, SftModule
from learnat.training.packing import Packing
from learnat.training.preparation import finish_training, prepare_for_training
from learnat.training.resume import resume_file
from learnat.training.sharding import FullySharded, gather
from learnat.training.throughput import Throughput


def run_stage(
    cfg: DictConfig, stage: Stage, policy: Policy, source: Source, packing: Packing, console: Console
) -> Policy:
    """The policy after ``stage``: read from the run folder when it is complete there, trained otherwise."""
    checkpoint = Path(cfg.run_dir) / "checkpoints" / stage.name
    if (checkpoint / models.MANIFEST).is_file():
        console.print(f"{stage.name}: complete in {checkpoint.parent.parent.name}, read from there")
        return models.load(checkpoint, cfg.model.quantization)
    # Whatever was run or read before this stage, its new weights are the same, and the same on all ranks.
    L.seed_everything(cfg.seed, verbose=False)
    data = _data(cfg, stage, policy, source, packing)
    console.print(f"{stage.name}: {data.summary()}")
    folder = Path(cfg.run_dir) / stage.name
    folder.mkdir(exist_ok=True)  # W&B looks for a git root there when it starts
    trainer = _trainer(cfg, stage, folder)
    prepare_for_training(policy, cfg.model, stage.name, trainer.strategy.root_device)
    if isinstance(trainer.strategy, FullySharded):
        trainer.strategy.shard(policy.model)
    if stage.is_preference:
        add_reference(cfg, stage.name, policy, data, trainer, console)
    ranks.on_first(partial(_keep_metrics, folder))
    for logger in trainer.loggers:
        logger.log_hyperparams({"config": OmegaConf.to_container(cfg)})
    _fit(trainer, _module(cfg, stage, policy, data), data, resume_file(folder))
    for callback in trainer.callbacks:
        if isinstance(callback, Throughput):
            console.print(f"{stage.name}: {callback.summary()}")
    if isinstance(trainer.strategy, FullySharded):
        gather(policy.model)
    finish_training(policy, cfg.model)
    ranks.on_first(partial(models.export, policy, cfg.model, checkpoint, stage.name))
    # A model that was sharded cannot run outside of its trainer any more.
    return models.load(checkpoint, cfg.model.quantization) if isinstance(trainer.strategy, FullySharded) else policy


def _data(cfg: DictConfig, stage: Stage, policy: Policy, source: Source, packing: Packing) -> DecompositionDataModule:
    data = DecompositionDataModule(
        make_trees=lambda: source.trees,
        benchmark=source.benchmark,
        split=source.split,
        encoder=PromptEncoder(policy.tokenizer, policy.style),
        packing=packing,
        context_length=policy.context_length,
        seed=cfg.seed,
        paths=stage.loss.paths if not stage.is_preference else 1,
        selection=instantiate(stage.loss.pairs),
    )
    data.setup()
    return data


def _trainer(cfg: DictConfig, stage: Stage, folder: Path) -> L.Trainer:
    trainer: L.Trainer = instantiate(
        cfg.trainer,
        max_epochs=stage.optim.epochs,
        default_root_dir=str(folder),
        logger=instantiate(cfg.logger, save_dir=str(folder), prefix=stage.name),
        callbacks=list(instantiate(cfg.callbacks).values()),
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return trainer


def _module(cfg: DictConfig, stage: Stage, policy: Policy, data: DecompositionDataModule) -> PolicyModule:
    total_steps = stage.optim.epochs * len(data.train_dataloader())
    if cfg.trainer.max_steps >= 0:
        total_steps = min(total_steps, cfg.trainer.max_steps)
    kind: Any = PreferenceModule if stage.is_preference else SftModule
    return kind(
        policy.model,
        instantiate(stage.loss.objective),
        optimizer=instantiate(stage.optim.optimizer),
        schedule=instantiate(stage.optim.schedule),
        gradient_clip=stage.optim.gradient_clip,
        total_steps=total_steps,
    )


def _fit(trainer: L.Trainer, module: PolicyModule, data: DecompositionDataModule, resume_from: Path | None) -> None:
    try:
        trainer.fit(module, datamodule=data, ckpt_path=resume_from)
    except SystemExit:
        # Lightning turns Ctrl-C into exit code 1; whoever started the run is to see that it was interrupted.
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise


def _keep_metrics(folder: Path) -> None:
    """Set the curve of an earlier, stopped attempt aside: the CSV logger would delete it."""
    for path in folder.glob("**/metrics.csv"):
        path.rename(path.with_name(f"metrics-{int(path.stat().st_mtime)}.csv"))
