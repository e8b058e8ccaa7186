"""Muon against torch's own, whose Newton–Schulz iteration runs in bfloat16."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.optim import Muon

from learnat.training.optimizers import FullPrecisionMuon, orthogonalized

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


@pytest.mark.parametrize("shape", [(48, 48), (32, 80), (80, 32)])
def test_muon_moves_as_torchs_does_up_to_bfloat16(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(shape, generator=generator)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    optimizers = [
        kind([parameter], lr=0.02, weight_decay=0.1) for kind, parameter in ((FullPrecisionMuon, ours), (Muon, theirs))
    ]
    for _ in range(4):
        gradient = torch.randn(shape, generator=generator)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    moved, expected = ours - start, theirs - start
    assert (moved - expected).norm() < 0.02 * expected.norm()
    assert optimizers[0].state_dict().keys() == optimizers[1].state_dict().keys()


def newton_schulz(matrix: torch.Tensor, steps: int) -> torch.Tensor:
    """The iteration as Jordan et al. write it."""
    a, b, c = COEFFICIENTS
    x = matrix / matrix.norm()
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


@pytest.mark.parametrize("shape", [(64, 64), (48, 160), (160, 48), (48, 60)])
@pytest.mark.parametrize("smallest", [1.0, 1e-2, 1e-5])
def test_orthogonalized_is_the_plain_iteration(shape: tuple[int, int], smallest: float) -> None:
    generator = torch.Generator().manual_seed(3)
    spectrum = torch.logspace(0, float(np.log10(smallest)), shape[0], dtype=torch.float64)
    matrix = spectrum[:, None] * torch.randn(shape, generator=generator, dtype=torch.float64)
    for steps in (1, 2, 3, 5):
        expected = newton_schulz(matrix, steps)
        for dtype, tolerance in ((torch.float64, 1e-11), (torch.float32, 3e-5)):
            found = orthogonalized(matrix.to(dtype), COEFFICIENTS, steps)
            assert found.dtype == dtype
            assert (found - expected).norm() < tolerance * expected.norm()


def test_orthogonalized_keeps_directions_and_levels_singular_values() -> None:
    matrix = torch.randn(24, 60, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    levelled = u.T @ orthogonalized(matrix, COEFFICIENTS, 5) @ vt.T
    assert levelled.dtype == torch.float64
    diagonal = levelled.diagonal()
    assert diagonal.min() > 0.6 and diagonal.max() < 1.3
    assert (levelled - diagonal.diag()).abs().max() < 1e-9
