"""The Lightning modules: one for SFT, one for every preference loss, both over node log-probabilities.

A training batch is one optimiser step: a list of packs that fit the token budget. Losses are normalised over the whole
step, on all ranks, so that how it is cut into packs and shared out changes nothing; hence manual optimisation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import ParallelStrategy
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from learnat.errors import LearnatError
from learnat.training import ranks
from learnat.training.batches import TokenBatch
from learnat.training.logprobs import node_logprobs, token_logprobs
from learnat.training.losses import PairLogProbs, PreferenceLoss, SftLoss
from learnat.training.metrics import StepMetrics, gradient_norm, is_logged

START_TOLERANCE = 0.01
"""Relative error between policy and reference at step 0 that bfloat16 and another packing may cause (4e-4 was seen)."""
STEP_TOLERANCE = 0.1
"""Nats a step beyond that, as a root mean square, where activations are in half precision: the log-probs of a policy
that is nearly sure of its steps are so small that rounding is no small share of them (more than 0.01 was seen)."""
PAIR_TOLERANCE = 0.5
"""Nats by which a single pair may be off beyond that: rounding of short steps is not small beside their log-probs."""


class PolicyModule(L.LightningModule, ABC):
    """What both stages share: the optimiser step over packs, the schedule, gradient clipping and checkpoints.

    ``optimizer`` maps the model to an optimiser, ``schedule`` an optimiser and ``total_steps`` to a scheduler;
    ``gradient_clip`` bounds the gradient's norm (0: no bound).
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Callable[[nn.Module], Optimizer],
        schedule: Callable[..., LRScheduler],
        gradient_clip: float,
        total_steps: int,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        # A checkpoint holds the trained weights alone, which on_load_checkpoint sees to; the others are in place.
        self.strict_loading = False
        self.model = model
        self._optimizer = optimizer
        self._schedule = schedule
        self._gradient_clip = gradient_clip
        self._total_steps = total_steps
        self._seed = torch.initial_seed()
        self.step_metrics = StepMetrics()
        self.learning_rate = 0.0
        """The rate of the newest step."""
        self.logged: dict[str, float] = {}
        """The newest row that the loggers were given, by the names in ``metrics``."""

    @abstractmethod
    def step_total(self, packs: Sequence[TokenBatch]) -> Tensor:
        """What the step's summed loss is divided by, as far as this rank's packs go."""

    @abstractmethod
    def pack_loss(self, batch: TokenBatch, total: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The pack's share of the step's loss, and metrics that add up over packs."""

    def training_step(self, packs: list[TokenBatch], batch_idx: int) -> None:
        optimizer, schedule = self.optimizers(), self.lr_schedulers()
        assert not isinstance(optimizer, list) and schedule is not None and not isinstance(schedule, list)
        optimizer.zero_grad()
        # Dropout is drawn from seed, step and rank alone: a resumed run draws what an undisturbed one would have.
        torch.manual_seed(self._seed + self.trainer.world_size * self.global_step + self.global_rank)
        total = ranks.total(self.step_total(packs))
        metrics: dict[str, Tensor] = {}
        for position, batch in enumerate(packs, 1):
            loss, parts = self.pack_loss(batch, total)
            with self._gradients_kept_back(unless=position == len(packs)):
                # Gradients are averaged over ranks, but the step's loss is the ranks' sum.
                self.manual_backward(loss * ranks.count())
            for name, value in {"loss": loss, **parts}.items():
                metrics[name] = metrics.get(name, torch.zeros_like(value)) + value.detach()
        if self._gradient_clip > 0 or is_logged(self.global_step + 1, self.trainer.log_every_n_steps):
            norm = gradient_norm(self.parameters(), self._gradient_clip)
            # Metrics add up over ranks, and the norm is the same on each.
            metrics["gradient_norm"] = norm / self.trainer.world_size
        self.learning_rate = optimizer.param_groups[0]["lr"]
        optimizer.step()
        schedule.step()
        # Not self.log, which makes device tensors of numbers and syncs: whoever logs reads all of them at once.
        self.step_metrics.add(metrics)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> list[TokenBatch]:
        # The loader pins its batches for a GPU: their copies then wait for nothing.
        return [pack.to(device, non_blocking=True) for pack in batch]

    def _gradients_kept_back(self, unless: bool) -> AbstractContextManager[None]:
        """Leaves a backward pass's gradients on their rank: DDP exchanges a step's sum once (FSDP every pack's)."""
        strategy = self.trainer.strategy
        if unless or not isinstance(strategy, ParallelStrategy):
            return nullcontext()
        return strategy.block_backward_sync()

    def configure_model(self) -> None:
        """Nothing: a model that is to be sharded is so before its reference pass. Lightning insists on the hook."""

    def configure_optimizers(self) -> Any:
        optimizer = self._optimizer(self.model)
        # Not trainer.estimated_stepping_batches: asking for it here makes Lightning set the loader up before it has
        # read a checkpoint's loader state, which is then lost.
        schedule = self._schedule(optimizer, total_steps=self._total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trained = self._trained_names()
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in trained}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # A sharded model has its weights by now, taken out of the checkpoint.
        if "state_dict" not in checkpoint:
            return
        there, trained = set(checkpoint["state_dict"]), self._trained_names()
        if there != trained:
            raise LearnatError(
                f"The resume point {self.trainer.ckpt_path} does not fit the model: of the {len(trained)} weights that "
                f"are trained it lacks {_some(trained - there)}, and it holds others: {_some(there - trained)}. "
                "Go on with the settings that it was written under, or delete it to start the stage again."
            )

    def _trained_names(self) -> set[str]:
        return {name for name, parameter in self.named_parameters() if parameter.requires_grad}


def _some(names: set[str]) -> str:
    """The number of ``names`` and the first of them."""
    return f"{len(names)} (such as {min(names)})" if names else "none"


class SftModule(PolicyModule):
    """Token-mean cross-entropy on the verified paths, prompts masked."""

    def __init__(self, model: nn.Module, loss: SftLoss, **kwargs: Any) -> None:
        super().__init__(model, **kwargs)
        self.loss = loss

    def step_total(self, packs: Sequence[TokenBatch]) -> Tensor:
        return torch.stack([batch.node_weight[batch.node].sum() for batch in packs]).sum()

    def pack_loss(self, batch: TokenBatch, total: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        tokens = token_logprobs(self.model, batch)
        return self.loss(tokens, batch.node_weight[batch.node]) / total, {}


class PreferenceModule(PolicyModule):
    """DPO, IPO or MADPO on step pairs against precomputed reference log-probs, with an optional SFT term."""

    def __init__(self, model: nn.Module, loss: PreferenceLoss, **kwargs: Any) -> None:
        super().__init__(model, **kwargs)
        self.loss = loss

    def training_step(self, packs: list[TokenBatch], batch_idx: int) -> None:
        if self.global_step == 0:
            for batch in packs:
                self.check_start(batch)
        super().training_step(packs, batch_idx)

    @torch.no_grad()
    def check_start(self, batch: TokenBatch) -> None:
        """Raise ``LearnatError`` unless the untrained policy gives the reference log-probs, up to rounding.

        That must hold over all nodes of ``batch`` and for every pair by itself, whose implied reward difference is 0
        before training. Where it does not, the loss would pull the policy towards something it never was. In half
        precision two policies that are both nearly sure of all steps cannot be told apart.
        """
        assert batch.reference is not None
        nodes = node_logprobs(token_logprobs(self.model, batch), batch)
        moved, size = nodes - batch.reference, batch.reference.abs()
        rounding = START_TOLERANCE * size.norm()
        if self._is_half(nodes.device.type):
            rounding += STEP_TOLERANCE * len(nodes) ** 0.5
        won = (moved[batch.chosen] - moved[batch.rejected]).abs()
        wrong = ~(won <= PAIR_TOLERANCE + START_TOLERANCE * (size[batch.chosen] + size[batch.rejected]))
        if not moved.norm() <= rounding or bool(wrong.any()):
            error = float(moved.norm() / size.norm())
            raise LearnatError(
                f"At step 0 the policy's log-probs differ from the reference's by {error:.2g} (relative), and "
                f"those of {int(wrong.sum())} of {len(won)} step pairs by more than rounding: they must be equal. "
                "The reference log-probs are not this policy's own: delete the folder reference in cache_dir to have "
                "them computed again."
            )

    def _is_half(self, device: str) -> bool:
        """Whether the model's activations are in half precision there."""
        if torch.is_autocast_enabled(device):
            return True
        dtypes: set[torch.dtype | None] = {parameter.dtype for parameter in self.model.parameters()}
        if self._trainer is not None:  # a strategy that shards casts weights as it gathers them
            dtypes.add(getattr(self._trainer.strategy, "compute_dtype", None))
        return not dtypes.isdisjoint((torch.bfloat16, torch.float16))

    def step_total(self, packs: Sequence[TokenBatch]) -> Tensor:
        device = packs[0].margin.device
        # Filled on the device: copying a number there would wait for it.
        pairs = torch.full((), float(sum(len(batch.margin) for batch in packs)), device=device)
        tokens = torch.stack([batch.node_weight[batch.node].sum() for batch in packs]).sum()
        return torch.stack([pairs, tokens.to(device)])

    def pack_loss(self, batch: TokenBatch, total: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.reference is not None, "reference log-probs are computed before training starts"
        tokens = token_logprobs(self.model, batch)
        nodes = node_logprobs(tokens, batch)
        policy = PairLogProbs(nodes[batch.chosen], nodes[batch.rejected])
        reference = PairLogProbs(batch.reference[batch.chosen], batch.reference[batch.rejected])
        # Where right steps are learnt alone, an optimiser step may have no pair at all.
        pairs = total[0].clamp_min(1)
        preference = self.loss(policy, reference, batch.margin).sum() / pairs
        nll = -(tokens * batch.node_weight[batch.node]).sum() / total[1]
        rewards = self.loss.rewards(policy, reference)
        won = rewards.chosen - rewards.rejected
        metrics = {
            "preference_loss": preference,
            "nll": nll,
            "rewards/chosen": rewards.chosen.sum() / pairs,
            "rewards/rejected": rewards.rejected.sum() / pairs,
            "rewards/accuracy": (won > 0).float().sum() / pairs,
            "rewards/ties": (won == 0).float().sum() / pairs,
            "margin/achieved": won.sum() / pairs,
            "margin/asked": self.loss.asked_margin(batch.margin).sum() / pairs,
            "logprobs/chosen": policy.chosen.sum() / pairs,
            "logprobs/rejected": policy.rejected.sum() / pairs,
        }
        return preference + self.loss.nll_weight * nll, metrics
