"""Policies: adapters on adapters, exports that plain transformers and peft load, and the reference table."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from learnat.errors import LearnatError
from learnat.inference.step_models import TrainedPolicy
from learnat.training import hub, models
from learnat.training.preparation import prepare_for_training
from learnat.training.prompts import PromptStyle
from tests.training.policies import TEXTS, hub_settings, save_base, scratch_settings, sft_checkpoint, shake, trained

IDS = torch.arange(12)[None] % 60


@pytest.fixture
def base_folder(tmp_path: Path) -> Path:
    return save_base(tmp_path / "base")


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


def change_last_byte(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


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
    prepare_for_training(policy, settings, "sft")
    shake(policy.model)
    models.export(policy, settings, tmp_path / "sft", "sft")
    sft = logits(policy.model)
    assert (sft - base).abs().max() > 0.01

    policy = models.load(tmp_path / "sft")
    torch.testing.assert_close(logits(policy.model), sft)
    prepare_for_training(policy, settings, "madpo")
    names = trained(policy)
    assert names and all(".pref." in name for name in names)
    torch.testing.assert_close(logits(policy.model), sft)  # at step 0 the policy is the reference
    shake(policy.model)
    final = logits(policy.model)
    models.export(policy, settings, tmp_path / "madpo", "madpo")
    torch.testing.assert_close(logits(policy.model), final)
    assert trained(policy) == names

    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base_folder), tmp_path / "madpo")
    torch.testing.assert_close(logits(plain), final, rtol=1e-4, atol=1e-4)


def test_full_fine_tuning_over_an_adapter_is_refused(tmp_path: Path, base_folder: Path) -> None:
    checkpoint = sft_checkpoint(hub_settings(base_folder), tmp_path / "sft")
    with pytest.raises(LearnatError, match="no sound reference"):
        prepare_for_training(models.load(checkpoint), scratch_settings(), "madpo")


def test_adapters_over_bfloat16_weights_are_exported_as_they_were_trained(tmp_path: Path, base_folder: Path) -> None:
    settings = hub_settings(base_folder, dtype="bfloat16")
    policy = models.load(sft_checkpoint(settings, tmp_path / "sft"))
    prepare_for_training(policy, settings, "madpo")
    shake(policy.model)
    assert {parameter.dtype for name, parameter in policy.model.named_parameters() if ".lora_" in name} == {
        torch.float32
    }
    final = logits(policy.model)
    models.export(policy, settings, tmp_path / "madpo", "madpo")
    weights = load_file(tmp_path / "madpo" / "adapter_model.safetensors")
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"
    module = policy.model.get_base_model().model.layers[0].self_attn.q_proj.lora_B
    assert torch.equal(weights[name], torch.cat([module["sft"].weight, module["pref"].weight], 1))
    base = AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.bfloat16)
    plain = PeftModel.from_pretrained(base, tmp_path / "madpo")
    torch.testing.assert_close(logits(plain), final, rtol=0.05, atol=0.1)


def test_adapters_of_other_layers_and_ranks_are_exported_as_one(tmp_path: Path, base_folder: Path) -> None:
    policy = models.load(sft_checkpoint(hub_settings(base_folder), tmp_path / "sft"))
    settings = hub_settings(base_folder)
    settings.lora.update(r=3, target_modules=["q_proj", "up_proj"])
    prepare_for_training(policy, settings, "madpo")
    shake(policy.model)
    final = logits(policy.model)
    models.export(policy, settings, tmp_path / "madpo", "madpo")
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base_folder), tmp_path / "madpo")
    torch.testing.assert_close(logits(plain), final, rtol=1e-4, atol=1e-4)


def test_the_source_of_a_policy_is_its_weights(tmp_path: Path, base_folder: Path) -> None:
    settings = hub_settings(base_folder)
    first = models.build(settings, PromptStyle(), []).source
    assert models.build(hub_settings(base_folder, gradient_checkpointing=True), PromptStyle(), []).source == first
    assert models.build(hub_settings(base_folder, dtype="bfloat16"), PromptStyle(), []).source != first
    change_last_byte(base_folder / "model.safetensors")
    assert models.build(settings, PromptStyle(), []).source != first

    sources = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        sources.append(models.build(scratch_settings(), PromptStyle(), TEXTS).source)
    assert sources[0] == sources[1] != sources[2]


def test_the_source_of_an_adapter_is_its_weights_and_those_under_it(tmp_path: Path, base_folder: Path) -> None:
    settings = hub_settings(base_folder)
    policy = models.build(settings, PromptStyle(), [])
    prepare_for_training(policy, settings, "sft")
    models.export(policy, settings, tmp_path / "sft", "sft")
    assert models.load(tmp_path / "sft").source == policy.source
    proposed_by = TrainedPolicy(tmp_path / "sft").weights
    change_last_byte(base_folder / "model.safetensors")
    assert models.load(tmp_path / "sft").source != policy.source
    assert TrainedPolicy(tmp_path / "sft").weights != proposed_by


def test_what_cannot_be_loaded_says_so(tmp_path: Path) -> None:
    with pytest.raises(LearnatError, match=r"nowhere is not a LearNAT checkpoint: it has no learnat.json"):
        models.load(tmp_path / "nowhere")
    with pytest.raises(LearnatError, match=r"model=test\) cannot be had.*model.path=FOLDER"):
        models.check_available(hub_settings(tmp_path / "missing"))


@pytest.mark.parametrize(
    ("damaged", "content", "reason"),
    [("config.json", '{"model_type": "qwen99"}', "model type `qwen99`"), ("model.safetensors", "cut", "header")],
)
def test_a_folder_that_is_there_but_cannot_be_loaded_says_why(
    base_folder: Path, damaged: str, content: str, reason: str
) -> None:
    (base_folder / damaged).write_text(content)
    with pytest.raises(LearnatError) as caught:
        models.build(hub_settings(base_folder), PromptStyle(), [])
    message = str(caught.value)
    assert message.startswith(f"The folder {base_folder} (model=test) cannot be loaded: ")
    assert reason in message and "model.path=FOLDER" in message and "downloading" not in message


def test_the_source_of_a_hub_model_is_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--some--model"
    (repository / "refs").mkdir(parents=True)
    sources = []
    for commit in ("a" * 40, "b" * 40):
        (repository / "refs" / "main").write_text(commit)
        (repository / "snapshots" / commit).mkdir(parents=True)
        (repository / "snapshots" / commit / "config.json").write_text("{}")
        sources += [hub.source_of("some/model"), hub.source_of("some/model")]
    assert sources[0] == sources[1] != sources[2] == sources[3]
