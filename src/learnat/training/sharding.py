"""Training with the model sharded over all ranks: FSDP2 through Lightning.

Each rank keeps its share of the weights in float32, of the gradients and of the optimiser's state. A decoder layer's
weights are gathered while it runs; embeddings, last norm and LM head are gathered for the whole pass.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from learnat.errors import LearnatError, nearest
from learnat.training import ranks
from learnat.training.logprobs import causal_lm, unsharded_token_logprobs

COMPUTE_DTYPES = ("bfloat16", "float32")


class FullySharded(ModelParallelStrategy):
    """Lightning's strategy for models that are sharded over all ranks; its checkpoints are single files, written whole.

    ``compute_dtype`` is the type of weights and activations in forward and backward passes; gradients are summed over
    ranks, and weights updated, in float32. Raises ``LearnatError`` for a type that is not known.
    """

    def __init__(self, compute_dtype: str = "bfloat16") -> None:
        if compute_dtype not in COMPUTE_DTYPES:
            raise LearnatError(
                f"trainer.strategy.compute_dtype={compute_dtype!r} is not known. "
                f"{nearest(compute_dtype, COMPUTE_DTYPES)}"
            )
        super().__init__(ranks.count(), tensor_parallel_size=1, save_distributed_checkpoint=False)
        self.compute_dtype: torch.dtype = getattr(torch, compute_dtype)

    def shard(self, model: nn.Module) -> None:
        """``shard`` for this strategy's device and type; before the first pass and before there is an optimiser."""
        shard(model, self.root_device, self.compute_dtype)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The trained weights, whole on the first rank and empty on others: gathering frozen ones takes long."""
        assert self.model is not None
        options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
        return get_model_state_dict(self.model, options=options)


def shard(model: nn.Module, device: torch.device, compute_dtype: torch.dtype) -> None:
    """Share the weights of a transformers or peft model out over the ranks, in place; each rank holds the same ones.

    They move to ``device`` layer by layer. Weights that are trained become float32, frozen ones keep their type.
    ``token_logprobs`` then works on all ranks at once, and is the only forward pass that the model knows.
    """
    ranks.connect()
    lm = causal_lm(model)
    mesh = init_device_mesh(device.type, (ranks.count(),))
    precision = MixedPrecisionPolicy(param_dtype=compute_dtype, reduce_dtype=torch.float32)
    for part in (*lm.get_decoder().layers, lm):
        # A layer compiled in place would have its hooks compiled with it, and FSDP works by hooks.
        part._compiled_call_impl = None
        for parameter in part.parameters():
            if parameter.requires_grad and not isinstance(parameter, DTensor):
                parameter.data = parameter.data.float()
        fully_shard(part, mesh=mesh, mp_policy=precision)
    # The pass goes past lm.forward, where FSDP would gather what belongs to no layer.
    lm.sharded_token_logprobs = MethodType(unsharded_token_logprobs, lm)
    register_fsdp_forward_method(lm, "sharded_token_logprobs")


@torch.no_grad()
def gather(model: nn.Module) -> None:
    """Make a sharded model whole again, in place: on the first rank, in its CPU memory.

    Weights are gathered one by one, so that a device never holds more than its share and one of them. Afterwards the
    first rank's model can be saved, and no rank's can be run.
    """
    whole: dict[int, nn.Parameter] = {}
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
        for name, parameter in list(module.named_parameters(recurse=False)):
            if not isinstance(parameter, DTensor):
                continue
            if id(parameter) not in whole:
                tensor = parameter.full_tensor()
                kept = tensor.cpu() if ranks.is_first() else tensor.new_empty(0)
                whole[id(parameter)] = nn.Parameter(kept, parameter.requires_grad)
            # Tied weights stay one.
            module.register_parameter(name, whole[id(parameter)])


def fill_at_random(model: PreTrainedModel, device: torch.device) -> None:
    """Give a sharded model from the meta device memory on ``device`` and the initial weights of its architecture.

    A model made under ``torch.device("meta")`` and sharded before it is filled never exists whole anywhere.
    """
    model.to_empty(device=device)
    model.init_weights()
