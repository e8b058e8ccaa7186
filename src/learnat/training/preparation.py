"""What a policy is for the length of a training stage, and the way back: scoring meets the plain model again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from learnat.errors import LearnatError
from learnat.training.adapters import PREFERENCE_ADAPTER, SFT_ADAPTER, add_adapter, is_adapter_weight
from learnat.training.attention import ATTENTION_NAME, register
from learnat.training.last_layer import read_everywhere, read_where_needed
from learnat.training.logprobs import causal_lm
from learnat.training.models import dtype_named

if TYPE_CHECKING:
    from learnat.training.models import Policy


def prepare_for_training(policy: Policy, settings: Any, stage: str, device: torch.device | str = "cpu") -> None:
    """Give ``policy`` what ``stage`` (``sft`` or a preference loss) trains: a new adapter, or all its weights.

    Trained in full, the weights are held in float32 (the trainer's autocast makes lower-precision products of them):
    in bfloat16, an update below 1/256 of a weight would be lost. Under an adapter they stay in ``model.dtype``.
    ``settings`` is the config node ``model``, ``device`` where training happens. Raises ``LearnatError`` where no
    reference would be sound.
    """
    if settings.lora.enabled:
        _prepare_adapter(policy, settings, SFT_ADAPTER if stage == "sft" else PREFERENCE_ADAPTER)
    else:
        _prepare_weights(policy)
    if stage != "sft":
        # Dropout is off in preference training: policy and reference must be the same function at step 0.
        for module in policy.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    policy.model.train()
    lm = causal_lm(policy.model)
    register()
    lm.set_attn_implementation(ATTENTION_NAME)
    if settings.gradient_checkpointing:
        lm.gradient_checkpointing_enable({"use_reentrant": False})
        # It also makes the embeddings' output require gradients, which only re-entrant checkpoints need: the backward
        # pass would go on below the lowest adapter for nothing.
        lm.disable_input_require_grads()
    else:
        read_where_needed(lm)
    if settings.compile and torch.device(device).type == "cuda":
        compile_layers(lm)


def finish_training(policy: Policy, settings: Any) -> None:
    """Take back what ``prepare_for_training`` set up; the trained weights stay, held in ``model.dtype`` again."""
    lm = causal_lm(policy.model)
    for layer in lm.get_decoder().layers:
        layer._compiled_call_impl = None
    read_everywhere(lm)
    if settings.gradient_checkpointing:
        lm.gradient_checkpointing_disable()
    lm.set_attn_implementation(policy.attention)
    policy.model.eval()
    for parameter in policy.model.parameters():
        parameter.grad = None
    _cast_base(policy, dtype_named(settings.dtype))


def compile_layers(lm: Any) -> None:
    """Compile the decoder's layers one by one: they share their code, so it is compiled once and not for each layer.

    The last layer, one length and then any, passes with and without gradients make up to eight versions of that code,
    after which PyTorch would go back to eager execution.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 32)
    for layer in lm.get_decoder().layers:
        layer.compile()


def _prepare_adapter(policy: Policy, settings: Any, adapter: str) -> None:
    if policy.quantization is not None:
        from peft import prepare_model_for_kbit_training

        # What is not quantised (norms, embeddings, LM head) goes to float32. Its own checkpointing would hook the
        # embeddings' output to require gradients, which ours, without re-entrant autograd, does not need.
        prepare_model_for_kbit_training(causal_lm(policy.model), use_gradient_checkpointing=False)
    else:
        _cast_base(policy, dtype_named(settings.dtype))
    policy.model = add_adapter(policy.model, settings.lora, adapter)


def _prepare_weights(policy: Policy) -> None:
    if policy.adapted or policy.quantization is not None:
        raise LearnatError(
            "The policy is a LoRA adapter or quantised, but model.lora.enabled=false asks for full fine-tuning: that "
            "combination has no sound reference. Set model.lora.enabled=true, or start from full weights."
        )
    _cast_base(policy, torch.float32)
    policy.model.requires_grad_(True)


def _cast_base(policy: Policy, dtype: torch.dtype) -> None:
    """Hold the base model's weights, but not those of adapters or quantised ones, in ``dtype``.

    ``Module.to`` would round the rotary embeddings' frequencies too, which models keep in float32.
    """
    for name, parameter in policy.model.named_parameters():
        if parameter.is_floating_point() and not is_adapter_weight(name):
            parameter.data = parameter.data.to(dtype)
