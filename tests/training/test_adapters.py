"""Which layers a LoRA adapter goes to: the ones that were asked for, or a message that names those that exist."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from peft import PeftModel
from transformers import PreTrainedModel

from learnat.errors import LearnatError
from learnat.training.adapters import add_adapter, export_adapter
from tests.training.conftest import tiny_model
from tests.training.policies import shake

LAYERS = "down_proj, gate_up_proj, k_proj, lm_head, o_proj, q_proj, v_proj"
IDS = torch.arange(12)[None]


def lora(targets: str | list[str]) -> OmegaConf:
    return OmegaConf.create({"r": 4, "alpha": 8, "dropout": 0.0, "target_modules": targets})


def adapted_layers(model: PeftModel, name: str) -> set[str]:
    """The last parts of the names of the layers that have an adapter ``name``."""
    return {key.split(".lora_A.")[0].rpartition(".")[2] for key in model.state_dict() if f".lora_A.{name}." in key}


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.fixture
def fused() -> PreTrainedModel:
    """A model that keeps gate and up projection in one matrix."""
    return tiny_model("glm", torch.float32).eval()


@pytest.mark.parametrize(
    ("targets", "missing"),
    [
        (["q_proj", "gate_proj", "up_proj"], "gate_proj, up_proj"),
        (["proj"], "proj"),
        (["q_proj", "embed_tokens"], "embed_tokens"),
        ("qkv_proj", "qkv_proj"),
    ],
)
def test_target_modules_that_match_no_linear_layer_are_refused(
    fused: PreTrainedModel, targets: str | list[str], missing: str
) -> None:
    message = rf"^model\.lora\.target_modules names {missing}, but .* linear layers: {LAYERS}\. "
    with pytest.raises(LearnatError, match=message):
        add_adapter(fused, lora(targets), "sft")
    below = add_adapter(fused, lora(["q_proj"]), "sft")
    with pytest.raises(LearnatError, match=message):
        add_adapter(below, lora(targets), "pref")


def test_a_second_adapter_may_go_where_the_first_one_is(fused: PreTrainedModel) -> None:
    model = add_adapter(fused, lora(["q_proj"]), "sft")
    model = add_adapter(model, lora(["q_proj", "layers.0.mlp.gate_up_proj"]), "pref")
    assert adapted_layers(model, "sft") == {"q_proj"}
    assert adapted_layers(model, "pref") == {"q_proj", "gate_up_proj"}


def test_all_linear_is_every_linear_layer_but_the_head(tmp_path: Path, fused: PreTrainedModel) -> None:
    model = add_adapter(fused, lora("all-linear"), "sft")
    shake(model)
    model = add_adapter(model, lora("all-linear"), "pref")
    shake(model)
    everywhere = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj", "down_proj"}
    assert adapted_layers(model, "sft") == adapted_layers(model, "pref") == everywhere

    export_adapter(model, tmp_path, "base")
    plain = PeftModel.from_pretrained(tiny_model("glm", torch.float32).eval(), tmp_path)
    assert adapted_layers(plain, "default") == everywhere
    torch.testing.assert_close(logits(plain), logits(model.eval()), rtol=1e-4, atol=1e-4)
