"""Every config composes, and every key in it is read by something."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from learnat.errors import LearnatError
from learnat.recipes.config_check import check_overrides

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
PRIMARIES = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "base")
MEMBERS = sorted((path.parent.name, path.stem) for path in CONF.glob("*/*.yaml") if path.parent.name != "experiment")
EXPERIMENTS = sorted(path.stem for path in CONF.glob("experiment/*.yaml"))

# Passed whole to a callable that checks the names itself: config node → where its parameters are defined.
PASSED_WHOLE = {"architecture": "transformers.Qwen2Config", "packing": "learnat.training.datamodule.Packing"}
# All members are used, whatever they are called.
ITERATED = {"callbacks"}


@functools.cache
def composed(name: str, *overrides: str) -> dict[str, Any]:
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        container = OmegaConf.to_container(compose(name, overrides=list(overrides)), resolve=False)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def uses(group: str) -> list[str]:
    """The primaries whose defaults list has ``group``."""
    return [name for name in PRIMARIES if re.search(rf"^  - {group}: ", (CONF / f"{name}.yaml").read_text(), re.M)]


def command(experiment: str) -> str:
    """The main that an experiment's first comment names: ``# python train.py experiment=…``."""
    text = (CONF / "experiment" / f"{experiment}.yaml").read_text()
    named = re.search(rf"^# python (\w+)\.py .*\bexperiment={experiment}\b", text, re.M)
    assert named, f"{experiment}.yaml does not name its command"
    return named.group(1)


def test_the_groups_of_the_design_exist() -> None:
    wanted = "model data proposer search pruning reward loss warm_start trainer inference logger callbacks experiment"
    assert set(wanted.split()) <= {path.name for path in CONF.iterdir() if path.is_dir()}


@pytest.mark.parametrize(("group", "member"), MEMBERS, ids=[f"{group}={member}" for group, member in MEMBERS])
def test_every_member_of_every_group_composes(group: str, member: str) -> None:
    primaries = uses(group)
    assert primaries, f"nothing chooses from {group}"
    for name in primaries:
        assert group in composed(name, f"{group}={member}")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes_from_known_keys(name: str) -> None:
    check_overrides(CONF, command(name), [f"experiment={name}"])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_of_another_command_is_refused_with_its_own(name: str) -> None:
    for other in {*PRIMARIES} - {command(name)}:
        with pytest.raises(LearnatError, match=rf"is a study of {command(name)}\.py: python {command(name)}\.py exp"):
            check_overrides(CONF, other, [f"experiment={name}"])


def test_the_model_configs_say_what_every_model_needs() -> None:
    models = [member for group, member in MEMBERS if group == "model"]
    assert {"tiny", "small", "qwen0_5b", "qwen1_5b", "qwen3b", "qwen7b", "qwen14b", "llama8b", "glm9b"} <= set(models)
    for member in models:
        model = composed("train", f"model={member}")["model"]
        assert model["name"] == member
        wanted = "kind path dtype quantization attention context_length gradient_checkpointing compile lora"
        assert set(wanted.split()) <= set(model)
        if model["kind"] == "hub":
            assert model["lora"]["target_modules"]


@pytest.mark.parametrize("stage", ["sft", "preference"])
def test_one_learning_rate_stands_for_those_of_adapters_and_full_fine_tuning(stage: str) -> None:
    key = f"model.optim.{stage}.optimizer.lr"
    rates = composed("train", "model=qwen7b")["model"]["optim"][stage]["optimizer"]["lr"]
    assert rates["full"] < rates["lora"]
    check_overrides(CONF, "train", ["model=qwen7b", f"{key}=3e-5"])
    check_overrides(CONF, "train", ["model=qwen7b", f"{key}.full=3e-5"])
    model = composed("train", "model=qwen7b", f"{key}=3e-5")["model"]
    assert model["optim"][stage]["optimizer"]["lr"] == 3e-5


# --- no key that nothing reads ---------------------------------------------------------------------------------------


@functools.cache
def sources() -> tuple[ast.AST, ...]:
    paths = [*ROOT.glob("*.py"), *(ROOT / "src").rglob("*.py"), *(ROOT / "experiments").rglob("*.py")]
    return tuple(node for path in paths for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@functools.cache
def names_read() -> frozenset[str]:
    """Names that our code reads as an attribute, a string subscript or a ``.get``/``select`` argument."""
    found: set[str] = set()
    for node in sources():
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            found.add(node.attr)
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            found.add(str(node.slice.value))
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in {"get", "select"}:
            constants = [str(item.value) for item in node.args if isinstance(item, ast.Constant)]
            found.update(part for text in constants for part in text.split("."))
    return frozenset(found)


@functools.cache
def table_keys() -> frozenset[str]:
    """Keys of the dict displays in our code: what a mapping parameter's keys are looked up in."""
    keys = (key for node in sources() if isinstance(node, ast.Dict) for key in node.keys)
    return frozenset(str(key.value) for key in keys if isinstance(key, ast.Constant))


@functools.cache
def names_interpolated() -> frozenset[str]:
    """Dotted paths that a config refers to as ``${path}``."""
    texts = [path.read_text(encoding="utf-8") for path in CONF.rglob("*.yaml")]
    return frozenset(name for text in texts for name in re.findall(r"\$\{([\w.]+)\}", text))


def located(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@functools.cache
def parameters_of(target: str) -> tuple[dict[str, str], bool]:
    """The target's parameters with the source that must use each, and whether others pass on to foreign code.

    ``**kwargs`` of a class of ours go to its base class.
    """
    function = located(target)
    found: dict[str, str] = {}
    for part in function.__mro__ if inspect.isclass(function) else [function]:
        if part is object:
            continue
        parameters = inspect.signature(part).parameters.values()
        source = inspect.getsource(part) if part.__module__.startswith("learnat.") else ""
        found.update({item.name: source for item in parameters if item.name not in found})
        if not any(item.kind is item.VAR_KEYWORD for item in parameters):
            return found, False
        if not source:
            return found, True
    return found, True


def is_read_by(target: str, key: str) -> bool:
    """Whether ``key`` is a parameter of ``target``, and one that its code uses if it is ours."""
    parameters, open_ended = parameters_of(target)
    if key not in parameters:
        return open_ended
    uses_beyond_declaration = len(re.findall(rf"\b{key}\b", parameters[key])) > 1
    return not parameters[key] or uses_beyond_declaration or key in names_read()


def unread(node: Any, path: str = "", in_target: bool = False) -> Iterator[str]:
    """Dotted paths of the keys below ``node`` that neither a target nor our code nor another config reads."""
    if isinstance(node, list):
        for item in node:
            yield from unread(item, path, in_target)
    if not isinstance(node, dict):
        return
    target = node.get("_target_") or PASSED_WHOLE.get(path.split(".")[-1])
    for key, value in node.items():
        full = f"{path}.{key}".lstrip(".")
        if str(key).startswith("_"):
            continue
        elif target:
            read = is_read_by(target, key)
        elif path in ITERATED:
            read = True
        else:
            read = key in names_read() or full in names_interpolated() or (in_target and key in table_keys())
        if not read:
            yield full
        yield from unread(value, full, in_target or bool(target))


def test_no_config_has_a_key_that_nothing_reads() -> None:
    found = {f"{name}.yaml: {key}" for name in PRIMARIES for key in unread(composed(name))}
    for group, member in MEMBERS:
        node = composed(uses(group)[0], f"{group}={member}")[group]
        found.update(f"{group}={member}: {key}" for key in unread(node, group))
    assert not found, "\n".join(sorted(found))


def test_the_search_for_unread_keys_finds_them() -> None:
    planted = {
        "nothing_reads_this": 1,
        "logger": {"_target_": "lightning.pytorch.loggers.CSVLogger", "flavour": 1, "name": "x"},
        "architecture": {"hidden_size": 1, "hidden_sise": 2},
        "proposer": {
            "_target_": "learnat.synthesis.proposers.ast.AstProposer",
            "mutation_types": {"colum": 1.0, "column": 1.0},
            "granulrity": "block",
        },
    }
    assert set(unread(planted)) == {
        "nothing_reads_this",
        "logger.flavour",
        "architecture.hidden_sise",
        "proposer.mutation_types.colum",
        "proposer.granulrity",
    }
