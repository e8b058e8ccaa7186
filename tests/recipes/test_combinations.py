"""What is wrong in one combination of swept members only is found, and no other combination is composed for it."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from hydra import compose
from omegaconf import DictConfig

from learnat.errors import LearnatError
from learnat.recipes.config_check import check_overrides

CONF = Path(__file__).parents[2] / "conf"
SWEEP = ["loss=madpo,sft", "trainer=cpu,gpu"]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The overrides of every composition from now on."""
    composed: list[list[str]] = []

    def counting(config_name: str, overrides: list[str], **options: bool) -> DictConfig:
        composed.append(overrides)
        return compose(config_name, overrides, **options)

    monkeypatch.setattr("learnat.recipes.config_check.compose", counting)
    return composed


def choices(composed: list[list[str]]) -> list[tuple[str, ...]]:
    """The members that each composition of a sweep chooses: no plain one, nor the one with all other overrides."""
    return [tuple(item.split("=")[1] for item in overrides) for overrides in composed if overrides][:-1]


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip(), encoding="utf-8")


def test_groups_that_have_nothing_to_do_with_one_another_are_not_combined(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = counted(monkeypatch)
    check_overrides(folder / "conf", "app", [*SWEEP, "seed=5", "loss.name=x", "trainer.max_steps=1,2"])
    assert choices(composed) == [("madpo", "cpu"), ("madpo", "gpu"), ("sft", "cpu")]


def test_a_sweep_over_many_groups_of_the_project_composes_each_member_once(monkeypatch: pytest.MonkeyPatch) -> None:
    composed = counted(monkeypatch)
    groups = ["loss=sft,dpo,ipo,madpo", "model=tiny,small,qwen0_5b,qwen7b", "search=mcts,beam,greedy", "reward=glob(*)"]
    check_overrides(CONF, "train", [*groups, "loss.name=x", "on_policy.questions=3", "seed=1,2"])
    assert len(choices(composed)) == len(set(choices(composed))) == 1 + 3 + 3 + 2 + 2


def test_a_key_that_refers_to_another_group_is_checked_with_all_of_its_members(monkeypatch: pytest.MonkeyPatch) -> None:
    composed = counted(monkeypatch)
    groups = ["loss=dpo,madpo", "model=tiny,small,qwen7b", "search=mcts,beam,greedy"]
    check_overrides(CONF, "train", [*groups, "loss.pairs.unpaired=true"])  # ${model.optim.preference.unpaired}
    assert len(choices(composed)) == len(set(choices(composed))) == 2 * 3 + 2


IN_ONE_COMBINATION = {
    "a key that refers to another group": (
        {
            "loss/madpo": "checked: 1",
            "loss/sft": "checked: ${limit}",
            "limits/one": "# @package _global_\nlimit: ${trainer.checked}",
            "app2": "defaults: [app, limits: one, _self_]",
            "trainer/cpu": "checked: 2",
            "trainer/gpu": "checked: true",
        },
        ["loss.checked=no"],
        "loss.checked=no must be true or false.",
    ),
    "a value that refers to another group": (
        {
            "app2": "defaults: [app, _self_]\nflag: true",
            "loss/madpo": "checked: true",
            "loss/sft": "checked: ${trainer.checked}",
            "trainer/cpu": "checked: true",
            "trainer/gpu": "checked: perhaps",
        },
        ["flag='${loss.checked}'"],
        "flag=perhaps must be true or false.",
    ),
    "a member named by another group's": (
        {
            "loss/madpo": "weights: {decay: 1}",
            "loss/sft": "defaults: [_self_, weights: '${trainer}']",
            "loss/weights/cpu": "decay: 0.5",
            "loss/weights/gpu": "other: 0.5",
            "app2": "defaults: [app, _self_]",
        },
        ["loss.weights.decay=3"],
        "Unknown key 'loss.weights.decay'. Known below 'loss.weights': other.",
    ),
    "a member that replaces another group's": (
        {
            "loss/madpo": "defaults: [_self_, weights: even]",
            "trainer/gpu": "# @package _global_\ndefaults: [_self_, override /loss/weights: even]",
            "app2": "defaults: [app, _self_]",
        },
        [],
        "In 'trainer/gpu': Could not override 'loss/weights'. No match in the defaults list.",
    ),
    "a member that sets another group's key": (
        {
            "loss/madpo": "extra: 1",
            "loss/sft": "_target_: nowhere.To.be_found",
            "trainer/gpu": "# @package _global_\nloss: {_target_: learnat.errors.nearest}",
            "app2": "defaults: [app, _self_]",
        },
        ["++loss.extra=2"],
        "Unknown key 'loss.extra'. Known below 'loss': _target_.",
    ),
    "an experiment's key": (
        {
            "loss/madpo": "checked: 1",
            "loss/sft": "checked: true",
            "trainer/cpu": "checked: 1",
            "trainer/gpu": "checked: ${loss.checked}",
            "experiment/flags": "# @package _global_\ntrainer: {checked: perhaps}",
            "app2": "defaults: [app, _self_]",
        },
        ["experiment=flags"],
        "Experiment flags: trainer.checked=perhaps must be true or false.",
    ),
}


@pytest.mark.parametrize("case", IN_ONE_COMBINATION)
def test_what_is_wrong_in_one_combination_is_found(folder: Path, case: str) -> None:
    files, overrides, message = IN_ONE_COMBINATION[case]
    write(folder, files)
    for members in (["loss=madpo", "trainer=cpu,gpu"], ["loss=madpo,sft", "trainer=cpu"]):
        check_overrides(folder / "conf", "app2", [*members, *overrides])
    with pytest.raises(LearnatError) as caught:
        check_overrides(folder / "conf", "app2", [*SWEEP, *overrides])
    assert str(caught.value) == message


def test_a_group_inside_another_is_combined_with_it(folder: Path) -> None:
    write(
        folder,
        {
            "loss/madpo": "defaults: [_self_, weights: null]\nweights: {decay: {c: 1}}",
            "loss/kept": "defaults: [_self_, weights: null]\nname: kept",
            "loss/weights/even": "decay: {c: 1}",
            "loss/weights/decayed": "decay: {b: 1}",
        },
    )
    key = "loss.weights.decay.c=2"
    check_overrides(folder / "conf", "app", ["loss=madpo", "loss/weights=even,decayed", key])
    check_overrides(folder / "conf", "app", ["loss=madpo,kept", "loss/weights=even", key])
    with pytest.raises(LearnatError, match=r"^Unknown key 'loss\.weights\.decay\.c'\. Known below"):
        check_overrides(folder / "conf", "app", ["loss=madpo,kept", "loss/weights=even,decayed", key])
