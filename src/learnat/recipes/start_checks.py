"""What a training run must be to be sound, checked from the config and the warm start's own record."""

from __future__ import annotations

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from learnat.errors import LearnatError
from learnat.recipes.on_policy import check_on_policy
from learnat.recipes.stages import Stage, stages_of
from learnat.synthesis.checks import check_count, check_number, is_count
from learnat.training import models
from learnat.training.optimizers import check_optimizer, check_schedule
from learnat.training.reference import NO_WARM_START, SFT_ADAPTER_START, SFT_FULL_START, choose_reference


def check_start(cfg: DictConfig) -> None:
    """Raise ``LearnatError``, before anything that takes time, for what train.py's config cannot train soundly."""
    _check_adapter(cfg)
    _check_trainer(cfg)
    for stage in stages_of(cfg):
        _check_stage(stage, "loss" if stage.name == cfg.loss.name else "warm_start.loss")
    check_on_policy(cfg)
    if cfg.loss.name != "sft":
        choose_reference(cfg.reference, _start(cfg), cfg.model.lora.enabled)


def _check_trainer(cfg: DictConfig) -> None:
    steps = cfg.trainer.max_steps
    if steps != -1 and not is_count(steps):
        raise LearnatError(
            f"trainer.max_steps={steps} must be a whole number of at least 1, or -1 for as many as the epochs make."
        )
    # 0: Lightning's word for no rows at all
    check_count("trainer.log_every_n_steps", cfg.trainer.get("log_every_n_steps", 50), least=0)
    for key in ("gradient_clip_val", "gradient_clip_algorithm"):
        if cfg.trainer.get(key) is not None:
            raise LearnatError(
                f"trainer.{key}={cfg.trainer[key]} is not supported, for the training step clips gradients itself: set "
                "model.optim.sft.gradient_clip and model.optim.preference.gradient_clip."
            )
    if "flush_logs_every_n_steps" in cfg.logger:
        check_count("logger.flush_logs_every_n_steps", cfg.logger.flush_logs_every_n_steps)
    instantiate(cfg.callbacks)


def _check_stage(stage: Stage, loss: str) -> None:
    """Build what ``stage`` is made of, to see now what the stages before it would take hours to come to."""
    if stage.loss.name != "sft" and stage.loss.pairs is None:
        raise LearnatError(
            f"{loss}.pairs=null: loss={stage.loss.name} learns from pairs. Only loss=sft has none; leave {loss}.pairs "
            "out."
        )
    optim, key = stage.optim, f"model.optim.{'preference' if stage.is_preference else 'sft'}"
    instantiate(stage.loss.objective)
    instantiate(stage.loss.pairs)
    if not stage.is_preference:
        check_count(f"{loss}.paths", stage.loss.paths)
    check_count(f"{key}.epochs", optim.epochs)
    check_number(f"{key}.gradient_clip", optim.gradient_clip, least=0.0)
    # Somebody else's may have settings of the same names that mean something else.
    if optim.optimizer._target_.startswith("learnat."):
        check_optimizer(optim.optimizer, f"{key}.optimizer")
    if optim.schedule._target_.startswith("learnat."):
        check_schedule(optim.schedule, f"{key}.schedule")


def _check_adapter(cfg: DictConfig) -> None:
    given = cfg.loss.name != "sft" and cfg.warm_start.checkpoint is not None
    if cfg.model.kind == "scratch" and cfg.model.lora.enabled and not given:
        raise LearnatError(
            f"model={cfg.model.name} is trained from scratch: there are no published weights for an adapter to be "
            "over. Set model.lora.enabled=false, or give full weights to adapt with warm_start.checkpoint."
        )
    if cfg.model.quantization == "nf4" and cfg.trainer.accelerator == "cpu":
        # On a CPU bitsandbytes repacks 4-bit weights at their first inference, and the packed form has no gradient.
        raise LearnatError(
            "model.quantization=nf4 cannot be trained on a CPU: use trainer=gpu, or model.quantization=null."
        )


def _start(cfg: DictConfig) -> str:
    """What preference training starts from: a key of ``reference.LEGAL``."""
    checkpoint = cfg.warm_start.checkpoint
    if cfg.warm_start.loss is None:
        if checkpoint is not None:
            raise LearnatError("warm_start=none starts from the untrained model: leave warm_start.checkpoint out.")
        return NO_WARM_START
    if checkpoint is None:
        return SFT_ADAPTER_START if cfg.model.lora.enabled else SFT_FULL_START
    manifest = models.read_manifest(Path(checkpoint))
    if manifest["model"] != cfg.model.name:
        raise LearnatError(
            f"warm_start.checkpoint={checkpoint} was trained with model={manifest['model']}, but the "
            f"command says model={cfg.model.name}: use the same model for both."
        )
    if manifest["kind"] == "full":
        return SFT_FULL_START
    if manifest["quantization"] != cfg.model.quantization:
        before, now = (name or "null" for name in (manifest["quantization"], cfg.model.quantization))
        raise LearnatError(
            f"warm_start.checkpoint={checkpoint} is an adapter trained with model.quantization={before}, but the "
            f"command says {now}: over other weights it is another policy. Use the same for both."
        )
    return SFT_ADAPTER_START
