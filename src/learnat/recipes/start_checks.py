"""What a training run must be to be sound, checked from the config and the warm start's own record."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from learnat.errors import LearnatError
from learnat.recipes.on_policy import check_on_policy
from learnat.training import models
from learnat.training.reference import NO_WARM_START, SFT_ADAPTER_START, SFT_FULL_START, choose_reference


def check_start(cfg: DictConfig) -> None:
    """Raise ``LearnatError``, before anything that takes time, for what train.py's config cannot train soundly."""
    _check_adapter(cfg)
    check_on_policy(cfg)
    if cfg.loss.name != "sft":
        choose_reference(cfg.reference, _start(cfg), cfg.model.lora.enabled)


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
