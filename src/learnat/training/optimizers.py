"""Optimisers and learning-rate schedules, built from config with the parameters filled in later."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from learnat.errors import LearnatError
from learnat.synthesis.checks import check_number, check_positive, check_share
from learnat.training.adapters import is_adapted
from learnat.training.logprobs import causal_lm

LEAST_ASPECT = 1.5
"""Width over height from which Newton–Schulz on the Gram matrix takes fewer products."""
STEPS_BEFORE_GRAM = 2
"""Steps as they are written before that: the Gram matrix squares singular values, and these steps lift the smallest
ones (3.4 times each), which rounding would blur: relative error 2e-5 in place of 2e-4."""


class FullPrecisionMuon(Muon):
    """torch.optim.Muon whose Newton–Schulz iteration keeps the parameters' dtype on a CPU.

    torch's own iterates in bfloat16, for GPUs. A CPU multiplies small float32 matrices about twice as fast, and the
    iteration is a large share of a small model's step. State and defaults are torch's.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(grad)
        momentum = state["momentum_buffer"].lerp_(grad, 1 - group["momentum"])
        direction = grad.lerp(momentum, group["momentum"])  # Nesterov's
        if direction.is_cuda:
            direction = direction.bfloat16()
        rows, columns = parameter.shape
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        update = orthogonalized(direction, group["ns_coefficients"], group["ns_steps"])
        parameter.add_(update, alpha=-group["lr"] * math.sqrt(max(1.0, rows / columns)))


def orthogonalized(matrix: Tensor, coefficients: tuple[float, float, float], steps: int) -> Tensor:
    """Roughly U Vᵀ of ``matrix`` = U S Vᵀ, by ``steps`` quintic Newton–Schulz iterations in the matrix's dtype."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=1e-7)  # the iteration needs a spectral norm of at most 1
    # Half precision cannot take a squared spectrum at all.
    through_gram = x.shape[1] > LEAST_ASPECT * x.shape[0] and x.dtype in (torch.float32, torch.float64)
    before = min(steps, STEPS_BEFORE_GRAM) if through_gram else steps
    x = _by_gram(_by_products(x, coefficients, before), coefficients, steps - before)
    return x.T if tall else x


def _by_products(x: Tensor, coefficients: tuple[float, float, float], steps: int) -> Tensor:
    """The iteration x ← p(x xᵀ) x with p(g) = a + b g + c g², as it is written."""
    a, b, c = coefficients
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _by_gram(x: Tensor, coefficients: tuple[float, float, float], steps: int) -> Tensor:
    """The same iteration on the Gram matrix, g ← p(g) g p(g); the product of all p(g) then meets ``x`` once.

    The p(g) are polynomials of one symmetric matrix, so they commute with it and with one another.
    """
    if steps == 0:
        return x
    gram = x @ x.T
    product = _polynomial(gram, coefficients)
    factor = product
    for _ in range(steps - 1):
        gram = factor @ gram @ factor
        factor = _polynomial(gram, coefficients)
        product = factor @ product
    return product @ x


def _polynomial(gram: Tensor, coefficients: tuple[float, float, float]) -> Tensor:
    a, b, c = coefficients
    p = torch.addmm(gram, gram, gram, beta=b, alpha=c)
    p.diagonal().add_(a)
    return p


class MuonAdamW(Optimizer):
    """Muon (Jordan et al. 2024) on the hidden matrices, AdamW on embeddings, LM head, norms and biases.

    One optimiser to the trainer: the two share a step, a schedule and a checkpoint.
    """

    def __init__(self, model: nn.Module, muon_lr: float, lr: float, weight_decay: float, betas: tuple[float, float]):
        lm = causal_lm(model)
        outer = {id(p) for m in (lm.get_input_embeddings(), lm.get_output_embeddings()) for p in m.parameters()}
        trained = _trained(model.parameters())
        matrices = [p for p in trained if p.ndim == 2 and id(p) not in outer]
        rest = [p for p in trained if p.ndim != 2 or id(p) in outer]
        self.parts: list[Optimizer] = [
            FullPrecisionMuon(matrices, lr=muon_lr, weight_decay=weight_decay),
            AdamW(rest, lr=lr, weight_decay=0.0, betas=betas),
        ]
        super().__init__([{"params": p["params"], "lr": p["lr"]} for part in self.parts for p in part.param_groups], {})
        # The schedule writes into our groups' dictionaries: they must be the parts' own.
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def muon_adamw(
    model: nn.Module, muon_lr: float, lr: float, weight_decay: float = 0.0, betas: tuple[float, float] = (0.9, 0.95)
) -> Optimizer:
    """Muon and AdamW together (see ``MuonAdamW``), for models trained from scratch.

    Raises ``LearnatError`` as ``check_optimizer`` does.
    """
    check_optimizer({"muon_lr": muon_lr, "lr": lr, "weight_decay": weight_decay, "betas": betas})
    return MuonAdamW(model, muon_lr, lr, weight_decay, tuple(betas))  # type: ignore[arg-type]


def adamw(
    model: nn.Module,
    lr: float | Mapping[str, float],
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
) -> Optimizer:
    """AdamW on all trained parameters.

    ``lr`` is one rate, or ``{"lora": …, "full": …}``: adapters, which begin at zero, bear far larger rates than
    pretrained weights. Raises ``LearnatError`` as ``check_optimizer`` does.
    """
    check_optimizer({"lr": lr, "weight_decay": weight_decay, "betas": betas})
    if isinstance(lr, Mapping):
        lr = lr["lora"] if is_adapted(model) else lr["full"]
    trained = _trained(model.parameters())
    # One kernel for all parameters; on a CPU the default is as fast.
    fused = all(p.is_cuda for p in trained)
    return AdamW(trained, lr=lr, weight_decay=weight_decay, betas=tuple(betas), fused=fused)  # type: ignore[arg-type]


def check_optimizer(settings: Mapping[str, Any], key: str = "optimizer") -> None:
    """Raise ``LearnatError`` for what of an optimiser's ``settings`` is out of bounds; ``key`` stands before its name.

    Rates, of which ``lr`` may be one for each kind of training, are above 0, ``weight_decay`` at least 0, and the two
    ``betas`` in [0, 1).
    """
    for name in [name for name in ("muon_lr", "lr") if name in settings]:
        rates = settings[name]
        by_key = {f".{part}": rate for part, rate in rates.items()} if isinstance(rates, Mapping) else {"": rates}
        for part, rate in by_key.items():
            check_positive(f"{key}.{name}{part}", rate)
    check_number(f"{key}.weight_decay", settings.get("weight_decay", 0.0), least=0.0)
    betas = settings.get("betas", (0.9, 0.999))
    if not isinstance(betas, Sequence) or isinstance(betas, str) or len(betas) != 2:
        raise LearnatError(f"{key}.betas={betas} must be two numbers, [0.9,0.999].")
    for beta in betas:
        check_number(f"{key}.betas", beta, least=0.0, below=1.0)


def check_schedule(settings: Mapping[str, Any], key: str = "schedule") -> None:
    """Raise ``LearnatError`` where ``warmup`` or ``floor`` is no share in [0, 1]; ``key`` stands before its name."""
    for name in ("warmup", "floor"):
        check_share(f"{key}.{name}", settings.get(name, 0.0))


def _trained(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return [p for p in parameters if p.requires_grad]


def warmup_cosine(optimizer: Optimizer, total_steps: int, warmup: float = 0.03, floor: float = 0.0) -> LambdaLR:
    """Linear warm-up over the share ``warmup`` of the steps, then cosine decay to ``floor`` times the peak rate.

    Raises ``LearnatError`` unless both are in [0, 1].
    """
    check_schedule({"warmup": warmup, "floor": floor})
    warm = max(1, round(warmup * total_steps))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        progress = min(1.0, (step - warm) / max(1, total_steps - warm))
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, factor)
