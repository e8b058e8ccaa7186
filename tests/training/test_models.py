"""Policies: adapters on adapters, exports that plain transformers and peft load, and the reference table."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from learnat.errors import LearnatError
from learnat.training import models
from learnat.training.prompts import PromptStyle

TEXTS = ["SELECT count(*) FROM singer WHERE age > 56;\n", "-- How many heads are older than 56?\n"] * 4
IDS = torch.arange(12)[None] % 60


@pytest.fixture
def base_folder(tmp_path: Path) -> Path:
    """A local folder as a hub model would be."""
    policy = models.build(scratch_settings(), PromptStyle(), TEXTS)
    folder = tmp_path / "base"
    policy.model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    return folder


def scratch_settings() -> object:
    architecture = {
        "vocab_size": 400, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.3,
    }  # fmt: skip
    return OmegaConf.create(
        {
            "name": "test", "kind": "scratch", "path": None, "architecture": architecture, "dtype": "float32",
            "attention": "sdpa", "context_length": 128, "gradient_checkpointing": False, "lora": {"enabled": False},
        }
    )  # fmt: skip


def hub_settings(folder: Path) -> object:
    lora = {"enabled": True, "r": 4, "alpha": 8, "dropout": 0.0, "target_modules": ["q_proj", "v_proj", "down_proj"]}
    return OmegaConf.merge(scratch_settings(), {"kind": "hub", "path": str(folder), "lora": lora})


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


def shake(model: torch.nn.Module) -> None:
    """Stands for training: moves every trainable weight."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.3 * torch.randn_like(parameter)


def test_a_scratch_model_comes_back_with_its_own_ids(tmp_path: Path) -> None:
    policy = models.build(scratch_settings(), PromptStyle("ddl", 2), TEXTS)
    models.export(policy, scratch_settings(), tmp_path / "sft", "sft")
    loaded = models.load(tmp_path / "sft")
    assert (loaded.style, loaded.context_length) == (PromptStyle("ddl", 2), 128)
    text = "-- How many?\nSELECT name FROM singer WHERE age > 1985;\n<|im_end|>é"
    ids = policy.tokenizer(text)["input_ids"]
    assert (
        loaded.tokenizer(text)["input_ids"] == ids == AutoTokenizer.from_pretrained(tmp_path / "sft")(text)["input_ids"]
    )
    assert loaded.tokenizer.decode(ids) == text
    torch.testing.assert_close(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "sft")), logits(policy.model))


def test_stacked_adapters_train_only_the_new_one_and_export_as_one(tmp_path: Path, base_folder: Path) -> None:
    settings = hub_settings(base_folder)
    policy = models.build(settings, PromptStyle(), [])
    base = logits(policy.model)
    models.prepare_for_training(policy, settings, "sft")
    shake(policy.model)
    models.export(policy, settings, tmp_path / "sft", "sft")
    sft = logits(policy.model)
    assert (sft - base).abs().max() > 0.01

    policy = models.load(tmp_path / "sft")
    torch.testing.assert_close(logits(policy.model), sft)
    models.prepare_for_training(policy, settings, "madpo")
    trained = {name for name, parameter in policy.model.named_parameters() if parameter.requires_grad}
    assert trained and all(".pref." in name for name in trained)
    torch.testing.assert_close(logits(policy.model), sft)  # at step 0 the policy is the reference
    shake(policy.model)
    final = logits(policy.model)
    models.export(policy, settings, tmp_path / "madpo", "madpo")
    torch.testing.assert_close(logits(policy.model), final)
    assert {name for name, parameter in policy.model.named_parameters() if parameter.requires_grad} == trained

    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base_folder), tmp_path / "madpo")
    torch.testing.assert_close(logits(plain), final, rtol=1e-4, atol=1e-4)


def test_full_fine_tuning_over_an_adapter_is_refused(tmp_path: Path, base_folder: Path) -> None:
    settings = hub_settings(base_folder)
    policy = models.build(settings, PromptStyle(), [])
    models.prepare_for_training(policy, settings, "sft")
    models.export(policy, settings, tmp_path / "sft", "sft")
    with pytest.raises(LearnatError, match="no sound reference"):
        models.prepare_for_training(models.load(tmp_path / "sft"), scratch_settings(), "madpo")


def test_what_cannot_be_loaded_says_so(tmp_path: Path) -> None:
    with pytest.raises(LearnatError, match=r"nowhere is not a LearNAT checkpoint: it has no learnat.json"):
        models.load(tmp_path / "nowhere")
    with pytest.raises(LearnatError, match=r"model=test\) cannot be had.*model.path=FOLDER"):
        models.check_available(hub_settings(tmp_path / "missing"))
