"""On-policy preference pairs: what the policy that SFT left proposes for questions that SFT did not learn.

The questions are the last ``on_policy.questions`` of ``data.on_policy_split``. Their trees are grown as synthesize.py
would, from gold's own steps and samples of the policy, and preference training learns from these trees alone.
"""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from learnat.benchmarks.part import Part
from learnat.benchmarks.types import Benchmark
from learnat.errors import LearnatError
from learnat.inference.policy_proposer import TransformersProposer, TransformersSettings
from learnat.recipes.stages import Source
from learnat.recipes.synthesize import ensure_trees
from learnat.recipes.targets import takes
from learnat.synthesis.checks import check_count, shown
from learnat.training import ranks

_log = logging.getLogger(__name__)


def is_on_policy(cfg: DictConfig) -> bool:
    """Whether preference training learns from the policy's own samples.

    It does not where there is no SFT policy (``warm_start=none``), nor where ``trees`` are given and SFT, which would
    learn from them, is not run: then these are what it learns from.
    """
    given = cfg.trees is not None and cfg.warm_start.checkpoint is not None
    return bool(cfg.loss.name != "sft" and cfg.on_policy.questions and cfg.warm_start.loss is not None and not given)


def check_on_policy(cfg: DictConfig) -> None:
    """Raise ``LearnatError`` for values of ``on_policy`` that are not allowed."""
    _check_mapping("on_policy", cfg.on_policy, "conf/train.yaml")
    check_count("on_policy.questions", cfg.on_policy.questions, least=0)
    split = cfg.data.on_policy_split
    if is_on_policy(cfg) and split in cfg.data.eval_splits and split != cfg.data.train_split:
        raise LearnatError(
            f"data.on_policy_split={split} is one of data.eval_splits: preference training would learn questions that "
            "it is scored on. Give another split, or score others."
        )
    if not is_on_policy(cfg):
        return
    _check_mapping("on_policy.proposer", cfg.on_policy.proposer, "conf/proposer")
    if "sampled" not in cfg.on_policy.proposer:
        raise LearnatError(
            "on_policy.proposer must be a mixed one, proposer@on_policy.proposer=mixed: only gold's own steps make "
            "sure that a question the policy fails has a right step to prefer."
        )
    _check_growth(cfg)


def _check_growth(cfg: DictConfig) -> None:
    """Build what grows the trees, but for the policy: after SFT it would be hours too late to see that it cannot be."""
    proposer, search = cfg.on_policy.proposer, cfg.on_policy.search
    _check_mapping("on_policy.search", search, "conf/search")
    for name in ("right", "sampled"):
        _check_mapping(f"on_policy.proposer.{name}", proposer[name], "conf/proposer")
    if not takes(search._target_, "k"):
        raise LearnatError(
            "search@on_policy.search asks for one step a call, but must for two: gold's own, and the policy's. Take "
            "mcts, beam or greedy."
        )
    _built("on_policy.search", search)
    if search.k < 2:
        raise LearnatError(
            f"on_policy.search.k={search.k} must be at least 2: one step of a call is gold's own, the others are the "
            "policy's."
        )
    _built("on_policy.proposer.right", proposer.right).close()
    for name in ("model", "checkpoint"):
        if proposer.sampled.get(name) is not None:
            raise LearnatError(
                f"on_policy.proposer.sampled.{name}={proposer.sampled[name]}: it is the policy that proposes here. "
                f"Leave {name} out."
            )
    sampled = _built("on_policy.proposer.sampled", proposer.sampled, _partial_=True)
    if sampled.func is TransformersProposer:
        try:
            TransformersSettings(**{**sampled.keywords, "checkpoint": _sft_checkpoint(cfg)})
        except LearnatError as error:
            raise LearnatError(f"on_policy.proposer.sampled: {error}") from error
    rules = cfg.pruning.rules
    if not OmegaConf.is_list(rules) or not all(OmegaConf.is_dict(rule) and "_target_" in rule for rule in rules):
        raise LearnatError(
            f"pruning.rules={shown(rules)} must be a list of rules, each with a _target_, as in conf/pruning/ast.yaml."
        )
    for rule in rules:
        instantiate(rule)
    instantiate(cfg.reward)


def _check_mapping(key: str, node: Any, home: str) -> None:
    """Raise ``LearnatError`` unless ``node``, what the config has at ``key``, has keys; ``home`` shows which."""
    if not OmegaConf.is_dict(node):
        raise LearnatError(f"{key}={shown(node)} is needed as a mapping, with the keys of {home}: leave it out.")


def _built(key: str, node: DictConfig, **options: Any) -> Any:
    """What ``node``, the config at ``key``, describes; raise ``LearnatError`` that names ``key`` where it says why not.

    The settings of a group have the same names wherever it is chosen.
    """
    try:
        return instantiate(node, **options)
    except InstantiationException as error:
        if isinstance(error.__cause__, LearnatError):
            raise LearnatError(f"{key}: {error.__cause__}") from error
        raise


def _sft_checkpoint(cfg: DictConfig) -> str:
    return str(cfg.warm_start.checkpoint or f"{cfg.run_dir}/checkpoints/sft")


def without_held_out(cfg: DictConfig, benchmark: Benchmark) -> Benchmark:
    """``benchmark`` without the questions that are kept for preference training, where they are of the training split.

    Whatever the loss: a checkpoint of ``loss=sft`` can be what another run starts from. Raises ``LearnatError`` where
    nothing would be left to SFT.
    """
    split, count = cfg.data.train_split, cfg.on_policy.questions
    if not count or cfg.data.on_policy_split != split:
        return benchmark
    examples = benchmark.examples(split)
    if count >= len(examples):
        raise LearnatError(
            f"on_policy.questions={count} leaves nothing to SFT of the {len(examples)} questions of {split}: give "
            "fewer, or on_policy.questions=0 to make pairs from the trees that SFT learns from."
        )
    return Part(benchmark, split, examples[:-count])


def held_out(cfg: DictConfig, benchmark: Benchmark) -> Benchmark:
    """``benchmark`` with the on-policy questions alone as ``data.on_policy_split``.

    They are all there are, with a warning, where more are asked for.
    """
    split, asked = cfg.data.on_policy_split, cfg.on_policy.questions
    examples = benchmark.examples(split)
    if asked > len(examples) and ranks.is_first():
        # No mistake: data.limit shortens this split too, and models ask for questions by default.
        _log.warning(
            "on_policy.questions=%d, but %s has %d questions here: preference pairs come from these",
            *(asked, split, len(examples)),
        )
    return Part(benchmark, split, examples[-asked:])


def on_policy_source(cfg: DictConfig, benchmark: Benchmark, console: Console) -> Source:
    """The trees of ``held_out``'s questions with samples of the policy that SFT left, in the cache like all trees.

    They are grown when they are not there yet. Raises ``LearnatError`` as ``ensure_trees`` does.
    """
    settings: Any = copy.deepcopy(cfg)
    settings.proposer, settings.search = cfg.on_policy.proposer, cfg.on_policy.search
    settings.proposer.sampled.checkpoint = _sft_checkpoint(cfg)
    split = cfg.data.on_policy_split
    console.print(f"on policy: the policy proposes steps for {len(benchmark.examples(split))} questions of {split}")
    trees = ranks.on_first(lambda: ensure_trees(settings, benchmark, split, Path(cfg.cache_dir), label="on policy"))
    return Source(benchmark, split, trees)
