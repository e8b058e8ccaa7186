"""Model FLOPs utilisation: how much of a device's arithmetic goes into the matrices of the decoder layers."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from learnat.training.logprobs import causal_lm

PEAK_TFLOPS = {
    # measured in large bfloat16 matrix products; the datasheet says 989
    "H200": 790.0,
    "H100 80GB HBM3": 790.0,
    # datasheets, dense bfloat16
    "H100 PCIe": 756.0,
    "A100": 312.0,
    "L40S": 362.0,
}
"""Part of a device's name → its rate in bfloat16, 10¹² FLOP/s."""


def peak_flops(device_name: str, tflops: float | None = None) -> float | None:
    """The device's rate in FLOP/s: ``tflops`` · 10¹² where given, else from the table; None for an unknown device."""
    if tflops is None:
        tflops = next((rate for part, rate in PEAK_TFLOPS.items() if part in device_name), None)
    return None if tflops is None else tflops * 1e12


def flops_per_token(model: nn.Module) -> int:
    """FLOPs that training spends on one token in the decoder layers' matrices of a dense transformer.

    2·N in the forward pass, 2·N for the gradients of activations and 2·N_trained for those of weights: 4·N for LoRA,
    6·N for full fine-tuning. N counts the weights of the linear layers, without the adapters' own; embeddings, LM
    head, attention scores and recomputed activations are not counted; the last MLP is, also where it runs at the read
    positions alone (``last_layer``).
    """
    sizes = [(layer.in_features * layer.out_features, layer.weight.requires_grad) for layer in _matrices(model)]
    return 4 * sum(size for size, _ in sizes) + 2 * sum(size for size, trained in sizes if trained)


def _matrices(model: nn.Module) -> Iterator[nn.Linear]:
    # Features, not numel(): a 4-bit weight holds two values in each byte.
    for name, module in causal_lm(model).get_decoder().layers.named_modules():
        if isinstance(module, nn.Linear) and ".lora_" not in name:
            yield module
