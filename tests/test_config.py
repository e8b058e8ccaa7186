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

from learnat.recipes.config_check import check_overrides

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
PRIMARIES = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "base")
MEMBERS = sorted((path.parent.name, path.stem) for path in CONF.glob("*/*.yaml") if path.parent.name != "experiment")
EXPERIMENTS = sorted(path.stem for path in CONF.glob("experiment/*.yaml"))

# Passed whole to a callable that checks the names itself: config node → where its parameters are defined.
PASSED_WHOLE = {"architecture": "transformers.Qwen2Config", "packing": "learnat.training.datamodule.Packing"}


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


def test_the_model_configs_say_what_every_model_needs() -> None:
    models = [member for group, member in MEMBERS if group == "model"]
    assert {"tiny", "small", "qwen0_5b", "qwen1_5b", "qwen3b", "qwen7b", "qwen14b", "llama8b", "glm9b"} <= set(models)
    for member in models:
        model = composed("train", f"model={member}")["model"]
        assert model["name"] == member
        assert {"kind", "path", "dtype", "attention", "context_length", "gradient_checkpointing", "lora"} <= set(model)
        if model["kind"] == "hub":
            assert model["lora"]["target_modules"]


# --- no key that nothing reads ---------------------------------------------------------------------------------------


@functools.cache
def names_read() -> frozenset[str]:
    """Names that our code reads as an attribute, a string subscript or a ``.get``/``select`` argument."""
    found: set[str] = set()
    for path in [*ROOT.glob("*.py"), *(ROOT / "src").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                found.add(node.attr)
            elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
                found.add(str(node.slice.value))
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in {"get", "select"}:
                constants = [str(item.value) for item in node.args if isinstance(item, ast.Constant)]
                found.update(part for text in constants for part in text.split("."))
    return frozenset(found)


@functools.cache
def names_interpolated() -> frozenset[str]:
    """Dotted paths that a config refers to as ``${path}``."""
    texts = [path.read_text(encoding="utf-8") for path in CONF.rglob("*.yaml")]
    return frozenset(name for text in texts for name in re.findall(r"\$\{([\w.]+)\}", text))


def located(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def unread_parameters(target: str, keys: set[str]) -> Iterator[str]:
    """Keys that are no parameter of ``target``, or one that its own code never uses."""
    function = located(target)
    parameters = inspect.signature(function).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    ours = target.startswith("learnat.")
    source = inspect.getsource(function) if ours else ""
    for key in keys:
        if key not in parameters:
            if ours or not open_ended:
                yield key
        # Beyond its own declaration, a dataclass field is read as an attribute somewhere.
        elif ours and len(re.findall(rf"\b{key}\b", source)) < 2 and key not in names_read():
            yield key


def unread(node: Any, path: str = "") -> Iterator[str]:
    """Dotted paths of the keys below ``node`` that neither a target nor our code nor another config reads."""
    if isinstance(node, list):
        for item in node:
            yield from unread(item, path)
    if not isinstance(node, dict):
        return
    target = node.get("_target_") or PASSED_WHOLE.get(path.split(".")[-1])
    keys = {str(key) for key in node if not str(key).startswith("_")}
    if target:
        yield from (f"{path}.{key}" for key in unread_parameters(target, keys))
    else:
        for key in keys:
            full = f"{path}.{key}".lstrip(".")
            if key not in names_read() and full not in names_interpolated():
                yield full
    for key, value in node.items():
        yield from unread(value, f"{path}.{key}".lstrip("."))


def test_no_config_has_a_key_that_nothing_reads() -> None:
    found: set[str] = set()
    for group, member in MEMBERS:
        for name in uses(group):
            found.update(f"{group}={member}: {key}" for key in unread(composed(name, f"{group}={member}")))
    assert not found, "\n".join(sorted(found))


def test_the_search_for_unread_keys_finds_them() -> None:
    planted = {
        "nothing_reads_this": 1,
        "logger": {"_target_": "lightning.pytorch.loggers.CSVLogger", "flavour": 1, "name": "x"},
        "architecture": {"hidden_size": 1, "hidden_sise": 2},
    }
    found = set(unread(planted))
    assert {"nothing_reads_this", "logger.flavour", "architecture.hidden_sise"} <= found
    assert not {"logger.name", "architecture.hidden_size"} & found
