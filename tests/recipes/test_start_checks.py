"""What train.py refuses before it makes a tree, loads a model or trains: values that would be found hours later."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from learnat.errors import LearnatError
from learnat.recipes.devices import check_devices
from learnat.recipes.start_checks import check_start

CONF = Path(__file__).parents[2] / "conf"


def config(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", list(overrides))
    OmegaConf.resolve(cfg)
    return cfg


def check(*overrides: str) -> None:
    cfg = config(*overrides)
    check_devices(cfg)
    check_start(cfg)


COUNT = "must be a whole number of at least 1."
STEPS = "must be a whole number of at least 1, or -1 for as many as the epochs make."
RATE = "must be a number above 0."


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["loss.beta=-1"], "loss.beta=-1 must be a number of at least 0."),
        (["loss.beta=0", "loss=ipo"], f"loss.beta=0 {RATE}"),
        (["loss.beta=x"], "loss.beta=x must be a number of at least 0."),
        (["loss.alpha=-1"], "loss.alpha=-1 must be a number of at least 0."),
        (["loss.alpha=x"], "loss.alpha=x must be a number of at least 0."),
        (["loss.label_smoothing=0.7"], "loss.label_smoothing=0.7 must be a number in [0, 0.5)."),
        (["loss.label_smoothing=0.5", "loss=dpo"], "loss.label_smoothing=0.5 must be a number in [0, 0.5)."),
        (["loss.nll_weight=-1"], "loss.nll_weight=-1 must be a number of at least 0."),
        (["loss.nll_weight=nan"], "loss.nll_weight=nan must be a number of at least 0."),
        (["loss.margin.transform=foo"], "loss.margin.transform='foo' is not known. Known: linear, log, none."),
        (["loss.margin.transform=5"], "loss.margin.transform=5 is not known. Known: linear, log, none."),
        (["loss.margin.floor=0"], f"loss.margin.floor=0 {RATE}"),
        (["loss.pairs.rejected=foo"], "loss.pairs.rejected='foo' is not known. Known: hardest, random."),
        (["loss.pairs.paths=0"], f"loss.pairs.paths=0 {COUNT}"),
        (["loss.pairs.rejected_per_step=0"], f"loss.pairs.rejected_per_step=0 {COUNT}"),
        (["loss.pairs.min_margin=x"], "loss.pairs.min_margin=x must be a number of at least -1."),
        (["loss=sft", "loss.paths=0"], f"loss.paths=0 {COUNT}"),
        (["warm_start.loss.paths=x"], f"warm_start.loss.paths=x {COUNT}"),
        (["model.optim.sft.epochs=0"], f"model.optim.sft.epochs=0 {COUNT}"),
        (["model.optim.sft.epochs=-1"], f"model.optim.sft.epochs=-1 {COUNT}"),
        (["model.optim.sft.epochs=x"], f"model.optim.sft.epochs=x {COUNT}"),
        (["model.optim.preference.epochs=1.5"], f"model.optim.preference.epochs=1.5 {COUNT}"),
        (["model.optim.sft.gradient_clip=-1"], "model.optim.sft.gradient_clip=-1 must be a number of at least 0."),
        (["model.optim.sft.optimizer.lr=-1"], f"model.optim.sft.optimizer.lr=-1 {RATE}"),
        (["model.optim.sft.optimizer.lr=abc"], f"model.optim.sft.optimizer.lr=abc {RATE}"),
        (["model.optim.sft.optimizer.muon_lr=0"], f"model.optim.sft.optimizer.muon_lr=0 {RATE}"),
        (["model.optim.preference.optimizer.lr=x"], f"model.optim.preference.optimizer.lr=x {RATE}"),
        (
            ["model=qwen7b", "model.optim.sft.optimizer.lr.lora=x"],
            f"model.optim.sft.optimizer.lr.lora=x {RATE}",
        ),
        (
            ["model.optim.sft.optimizer.weight_decay=-1"],
            "model.optim.sft.optimizer.weight_decay=-1 must be a number of at least 0.",
        ),
        (
            ["+model.optim.sft.optimizer.betas=[0.9,1]"],
            "model.optim.sft.optimizer.betas=1 must be a number in [0, 1).",
        ),
        (
            ["+model.optim.sft.optimizer.betas=0.9"],
            "model.optim.sft.optimizer.betas=0.9 must be two numbers, [0.9,0.999].",
        ),
        (["model.optim.sft.schedule.warmup=2"], "model.optim.sft.schedule.warmup=2 must be a number from 0 to 1."),
        (
            ["model.optim.preference.schedule.floor=x"],
            "model.optim.preference.schedule.floor=x must be a number from 0 to 1.",
        ),
        (["trainer.max_steps=0"], f"trainer.max_steps=0 {STEPS}"),
        (["trainer.max_steps=-2"], f"trainer.max_steps=-2 {STEPS}"),
        (["trainer.max_steps=abc"], f"trainer.max_steps=abc {STEPS}"),
        (
            ["trainer.log_every_n_steps=-1"],
            "trainer.log_every_n_steps=-1 must be a whole number of at least 0.",
        ),
        (
            ["+trainer.gradient_clip_val=1"],
            "trainer.gradient_clip_val=1 is not supported, for the training step clips gradients itself: set "
            "model.optim.sft.gradient_clip and model.optim.preference.gradient_clip.",
        ),
        (
            ["loss.pairs=null"],
            "loss.pairs=null: loss=madpo learns from pairs. Only loss=sft has none; leave loss.pairs out.",
        ),
        (["trainer.precision=foo"], "trainer.precision=foo is not supported: use bf16-mixed, or 32-true."),
        (["trainer.precision=16-mixed"], "trainer.precision=16-mixed is not supported: use bf16-mixed, or 32-true."),
        (["logger.flush_logs_every_n_steps=0"], f"logger.flush_logs_every_n_steps=0 {COUNT}"),
        (["callbacks.resume.minutes=x"], "callbacks.resume.minutes=x must be a number of at least 0."),
        (["callbacks.progress.plain_every_s=x"], "callbacks.progress.plain_every_s=x must be a number of at least 0."),
        (["callbacks.throughput.peak_tflops=0"], f"callbacks.throughput.peak_tflops=0 {RATE}"),
        (["on_policy.search.k=0"], f"on_policy.search: search.k=0 {COUNT}"),
        (
            ["on_policy.search.k=1"],
            "on_policy.search.k=1 must be at least 2: one step of a call is gold's own, the others are the policy's.",
        ),
        (
            ["search@on_policy.search=best_of_n"],
            "search@on_policy.search asks for one step a call, but must for two: gold's own, and the policy's. Take "
            "mcts, beam or greedy.",
        ),
        (
            ["on_policy.proposer.sampled.top_p=2"],
            "on_policy.proposer.sampled: proposer.top_p=2 must be above 0 and at most 1.",
        ),
        (
            ["on_policy.proposer.sampled.temperature=-1"],
            "on_policy.proposer.sampled: proposer.temperature=-1 must be a number of at least 0.",
        ),
        (
            ["on_policy.proposer.sampled.max_reply_tokens=0"],
            f"on_policy.proposer.sampled: proposer.max_reply_tokens=0 {COUNT[:-1]}, or null for no limit.",
        ),
        (["on_policy.proposer.sampled.concurrency=x"], f"on_policy.proposer.sampled: proposer.concurrency=x {COUNT}"),
        (["on_policy.proposer.sampled.batch_size=0"], f"on_policy.proposer.sampled: proposer.batch_size=0 {COUNT}"),
        (
            ["on_policy.proposer.sampled.final=never"],
            "on_policy.proposer.sampled: proposer.final='never' is unknown. Known: canonical, execution.",
        ),
        (
            ["on_policy.proposer.sampled.device=tpu", "warm_start.checkpoint=nowhere"],
            "on_policy.proposer.sampled: proposer.device='tpu' is not known. Did you mean 'cpu'?",
        ),
        (
            ["on_policy.proposer.sampled.model=Qwen/Qwen2.5-0.5B"],
            "on_policy.proposer.sampled.model=Qwen/Qwen2.5-0.5B: it is the policy that proposes here. Leave model out.",
        ),
        (
            ["on_policy.proposer.right.mutation_rate=1"],
            "on_policy.proposer.right: proposer.mutation_rate=1 must be a number in [0, 1).",
        ),
        (
            ["on_policy.proposer.right.granularity=word", "trees=given.jsonl"],
            "on_policy.proposer.right: proposer.granularity='word' is unknown. Known: block, clause.",
        ),
        # of these trees too, whatever made the given ones
        (["reward.coverage_weight=2", "trees=given.jsonl"], "reward.coverage_weight must be in [0, 1], not 2"),
        (["pruning.max_depth=0", "trees=given.jsonl"], f"pruning.max_depth=0 {COUNT}"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, list) else "",
)
def test_refused(overrides: list[str], message: str) -> None:
    with pytest.raises((LearnatError, InstantiationException)) as caught:
        check(*overrides)
    error: BaseException | None = caught.value
    while error is not None and not isinstance(error, LearnatError):
        error = error.__cause__  # Hydra wraps what a target raises; the entry point unwraps it
    assert str(error) == message


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["loss=sft", "loss.paths=3"],
        ["loss=ipo", "warm_start=none", "loss.label_smoothing=0.49"],
        ["loss.alpha=0", "loss.nll_weight=0", "loss.margin.transform=log", "loss.pairs.min_margin=-1"],
        ["model.optim.sft.gradient_clip=0", "model.optim.sft.schedule.warmup=1", "trainer.max_steps=1"],
        ["model=qwen7b", "trainer.precision=32"],
        ["model=qwen7b", "model.optim.sft.optimizer.lr=3e-5", "+model.optim.sft.optimizer.betas=[0.9,0.95]"],
        ["trainer.log_every_n_steps=0", "+trainer.gradient_clip_val=null"],
        ["callbacks.resume.minutes=0", "callbacks.throughput.peak_tflops=800", "trainer.precision=bf16-mixed"],
        # there are no such trees
        ["on_policy.questions=0", "on_policy.proposer.sampled.top_p=2", "on_policy.search.k=1"],
        ["loss=sft", "on_policy.proposer.sampled.top_p=2", "on_policy.proposer.right.orders=9"],
        ["on_policy.proposer.sampled.top_p=0.9", "on_policy.proposer.sampled.max_reply_tokens=32"],
        ["loss=sft", "loss.paths=1", "model.optim.preference.epochs=0"],  # there is no such stage
        # somebody else's optimiser may have a rate of None
        [
            "model.optim.sft.optimizer._target_=transformers.Adafactor",
            "model.optim.sft.optimizer.lr=null",
            "~model.optim.sft.optimizer.muon_lr",
        ],
    ],
)
def test_accepted(overrides: list[str]) -> None:
    check(*overrides)
