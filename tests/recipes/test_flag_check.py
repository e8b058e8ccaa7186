"""Where a config has a boolean, the command line and experiments may give true or false and nothing else."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from learnat.errors import LearnatError
from learnat.recipes.config_check import check_overrides

CONF = Path(__file__).parents[2] / "conf"


@pytest.mark.parametrize(
    ("config", "overrides", "key", "value"),
    [
        ("synthesize", ["proposer=openai", "proposer.sees_gold=no"], "proposer.sees_gold", "no"),
        ("synthesize", ["proposer=openai", "proposer.sees_gold=off"], "proposer.sees_gold", "off"),
        ("synthesize", ["proposer=openai", "proposer={send_seed:no}"], "proposer.send_seed", "no"),
        ("synthesize", ["proposer=transformers", "proposer.greedy_first=off"], "proposer.greedy_first", "off"),
        ("train", ["score_untrained=no"], "score_untrained", "no"),
        ("train", ["score_untrained=1"], "score_untrained", "1"),
        ("train", ["score_untrained=null"], "score_untrained", "null"),
        ("train", ["score_untrained=[true]"], "score_untrained", "[True]"),
        ("train", ["score_untrained='true'"], "score_untrained", "true"),
        ("train", ["++score_untrained=no"], "score_untrained", "no"),
        ("train", ["score_untrained=${reference}"], "score_untrained", "auto"),
        ("train", ["score_untrained=${on_policy.x}"], "score_untrained", "${on_policy.x}"),
        ("train", ["score_untrained=true,no"], "score_untrained", "no"),
        ("train", ["score_untrained=interval(0,1)"], "score_untrained", "0.0"),
        ("train", ["score_untrained={a:1}"], "score_untrained", "{'a': 1}"),
        ("train", ["loss=dpo,madpo", "loss.pairs.unpaired=yes"], "loss.pairs.unpaired", "yes"),
        ("train", ["model.lora.enabled=yes"], "model.lora.enabled", "yes"),
        ("train", ["model={lora:{enabled:yes}}"], "model.lora.enabled", "yes"),
        ("train", ["on_policy.proposer.sampled.greedy_first=on"], "on_policy.proposer.sampled.greedy_first", "on"),
        ("evaluate", ["engine.shared_prefix=no"], "engine.shared_prefix", "no"),
        ("ask", ["explain=perhaps"], "explain", "perhaps"),
    ],
)
def test_refused(config: str, overrides: list[str], key: str, value: str) -> None:
    with pytest.raises(LearnatError) as caught:
        check_overrides(CONF, config, overrides)
    assert str(caught.value) == f"{key}={value} must be true or false."


@pytest.mark.parametrize(
    ("config", "overrides"),
    [
        ("train", ["score_untrained=true,false", "loss.pairs.unpaired=FALSE"]),
        ("train", ["score_untrained=${model.compile}", "loss.pairs={unpaired:true,paths:2}"]),
        ("train", ["loss.pairs.unpaired=${model.lora.enabled}"]),
        ("synthesize", ["proposer=openai", "proposer.sees_gold=false", "+proposer.extra_body.stream=no"]),
        # null, or a text, where the default is none of the two
        ("train", ["model.quantization=no", "data.databases=null", "~score_untrained"]),
        ("train", ["model.optim.preference.optimizer.lr={lora:1e-4,full:1e-6}"]),
        ("train", ["warm_start=none", "warm_start.loss={name:sft}"]),
        ("train", ["loss.beta=interval(0.01,0.5)", "hydra/sweeper=optuna"]),
        ("ask", ["question=no", "database=yes", "evidence=true"]),
    ],
)
def test_accepted(config: str, overrides: list[str]) -> None:
    check_overrides(CONF, config, overrides)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("checked: perhaps", "Experiment flags: checked=perhaps must be true or false."),
        ("checked: ${behaviour}", "Experiment flags: checked=fine must be true or false."),
        ("checked: 0", "Experiment flags: checked=0 must be true or false."),
        ("hydra: {sweeper: {params: {checked: 'true,perhaps'}}}", "checked=perhaps must be true or false."),
    ],
)
def test_an_experiment_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "conf" / "app.yaml").open("a").write("checked: true\n")
    experiment = folder / "conf" / "experiment" / "flags.yaml"
    experiment.write_text(dedent(f"# @package _global_\n{text}\n"))
    with pytest.raises(LearnatError) as caught:
        check_overrides(folder / "conf", "app", ["experiment=flags"])
    assert str(caught.value) == message
    experiment.write_text("# @package _global_\nchecked: false\n")
    check_overrides(folder / "conf", "app", ["experiment=flags"])
