"""Preference training by DDP and full fine-tuning by FSDP2 on one or several GPUs, on synthetic search tries.

    python benchmarks/several_gpus.py --out speed.csv
    torchrun --nproc-per-node=2 benchmarks/several_gpus.py --out speed.csv
    torchrun --nproc-per-node=2 benchmarks/several_gpus.py --kind fsdp

``--kind ddp`` (LoRA, MADPO) measures weak scaling, where each rank adds its tries to the step, and strong scaling,
where the ranks share the tries of one step. ``--kind fsdp`` (SFT of all weights on one step's tries again and again)
shows the loss of each step, which must fall. Weights are random and made on the GPU. Rows are appended to the file
``--out``; where it has the row of one GPU, the table shows the ratio to it. Without a GPU a tiny shape runs on the CPU.
"""

from __future__ import annotations

import argparse
import csv
import gc
import math
import random
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from lightning.pytorch.strategies import DDPStrategy
from omegaconf import OmegaConf, open_dict
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import AutoModelForCausalLM, Qwen2Config

from learnat.training import models, ranks, sharding
from learnat.training.flops import flops_per_token, peak_flops
from learnat.training.losses import MadpoLoss, SftLoss
from learnat.training.metrics import is_logged
from learnat.training.modules import PolicyModule, PreferenceModule, SftModule
from learnat.training.packing import Item, Packing, StepLoader
from learnat.training.preparation import prepare_for_training
from learnat.training.prompts import PromptStyle
from learnat.training.reference import reference_logprobs, with_reference
from learnat.training.throughput import Throughput, peak_memory_gib
from learnat.training.tries import TokenTrie, TrieNode, TriePair

CONF = Path(__file__).parents[1] / "conf"


@dataclass(frozen=True)
class Shape:
    """A model and its tries: a prompt, and under it ``DEPTH`` levels of one chosen and ``REJECTED`` rejected steps."""

    model: dict[str, Any]
    prompt: int
    step: int
    token_budget: int


QWEN_7B = {
    "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "rope_theta": 1e6, "tie_word_embeddings": False,
}  # fmt: skip
TINY = {
    "vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": False,
}  # fmt: skip
SHAPES = {"qwen7b": Shape(QWEN_7B, 1500, 80, 9216), "tiny": Shape(TINY, 60, 8, 512)}
DEPTH, REJECTED = 3, 2


@dataclass(frozen=True)
class Row:
    """One measurement; tokens are those fed to the model, shared prefixes once, and the peak is the fullest GPU's.

    The first step is not timed. MFU is nan on a device whose rate is not known (see ``learnat.training.flops``).
    """

    kind: str
    scaling: str
    shape: str
    checkpointing: bool
    device: str
    gpus: int
    tries_a_step: int
    pairs_a_second: float
    tokens_a_second: float
    mfu: float
    peak_gib: float

    def same_on_one(self, other: dict[str, str]) -> bool:
        """Whether ``other``, a line of the file, is this measurement on one GPU."""
        keys = ("kind", "scaling", "shape", "checkpointing", "device")
        # Strong scaling shares one step out, weak scaling gives every GPU a step of its own.
        tries = self.tries_a_step if self.scaling == "strong" else self.tries_a_step // self.gpus
        alike = all(other[key] == str(getattr(self, key)) for key in keys)
        return other["gpus"] == "1" and alike and other["tries_a_step"] == str(tries)


class Losses(L.Callback):
    """Keeps the loss of every row that the throughput callback logs."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        assert isinstance(pl_module, PolicyModule)
        if is_logged(trainer.global_step, trainer.log_every_n_steps):
            self.values.append(pl_module.logged["train/loss"])


def trie(shape: Shape, rng: random.Random) -> TokenTrie:
    """One question's search trie of random tokens."""

    def ids(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(shape.model["vocab_size"]) for _ in range(count))

    # A prompt is a database's part and a question's.
    nodes, pairs = [TrieNode(-1, ids(shape.prompt - shape.step)), TrieNode(0, ids(shape.step))], []
    parent = 1
    for _ in range(DEPTH):
        rejected = list(range(len(nodes), len(nodes) + REJECTED))
        nodes += [TrieNode(parent, ids(shape.step), supervised=True) for _ in rejected]
        nodes.append(TrieNode(parent, ids(shape.step), supervised=True, weight=1.0))
        parent = len(nodes) - 1
        pairs += [TriePair(parent, other, rng.random()) for other in rejected]
    return TokenTrie(tuple(nodes), tuple(pairs))


def settings(full: bool, checkpointing: bool) -> Any:
    """conf/model/qwen7b.yaml, for LoRA or for full fine-tuning."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", ["model=qwen7b"])
    OmegaConf.resolve(cfg)
    with open_dict(cfg):
        cfg.model.lora.enabled = not full
        cfg.model.gradient_checkpointing = checkpointing
    return cfg.model


def policy_of(shape: Shape, device: torch.device, dtype: torch.dtype) -> models.Policy:
    """A model with random weights on ``device``; it has no tokenizer, since the tries are tokens already."""
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(Qwen2Config(**shape.model), dtype=dtype)
    tokenizer: Any = None
    return models.Policy("random", model, tokenizer, PromptStyle("ddl", 0), 8192, "sdpa", None, "random")


def with_references(model: Any, items: list[Item], packing: Packing, device: torch.device) -> list[Item]:
    """``items`` with the log-probs of the fresh model, shared out over the ranks."""

    def of_item(item: Item) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return reference_logprobs(model, [packing.batch([item.trie], 0)], device, lambda nodes: None)

    tries = with_reference([item.trie for item in items], torch.cat(ranks.spread(of_item, items)))
    return [Item(item.db_id, trie) for item, trie in zip(items, tries, strict=True)]


def measure(args: argparse.Namespace, scaling: str) -> tuple[Row, list[float]]:
    """One run of the trainer, and the loss of each of its steps."""
    shape, full, gpu = SHAPES[args.shape], args.kind == "fsdp", torch.cuda.is_available()
    tries_a_step = args.tries * (ranks.count() if scaling == "weak" else args.ranks)
    throughput, losses = Throughput(), Losses()
    gc.collect()  # the model of the run before: trainer and module refer to each other
    strategy: Any = sharding.FullySharded() if full else DDPStrategy() if ranks.count() > 1 else "auto"
    trainer = L.Trainer(
        accelerator="gpu" if gpu else "cpu", devices=ranks.count(), strategy=strategy,
        precision="32-true" if full else "bf16-mixed", max_steps=args.steps, max_epochs=-1, logger=False,
        callbacks=[throughput, losses], log_every_n_steps=1 if full else args.steps, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    device = trainer.strategy.root_device
    L.seed_everything(1, verbose=False)
    policy = policy_of(shape, torch.device("meta") if full else device, torch.float32 if full else torch.bfloat16)
    chosen = settings(full, args.checkpointing)
    prepare_for_training(policy, chosen, "sft" if full else "madpo", device)
    packing = Packing("packed", 1, tries_a_step, shape.token_budget)
    rng = random.Random(1)
    items = [Item(str(i), trie(shape, rng)) for i in range(tries_a_step)]
    if full:
        strategy.shard(policy.model)
        sharding.fill_at_random(policy.model, device)
    else:
        items = with_references(policy.model, items, packing, device)
    loader = StepLoader(items, packing, 0, 1, ranks.index(), ranks.count(), pinned=gpu)
    module = module_of(policy, chosen, full, args.steps)
    trainer.fit(module, loader)
    measured, name = throughput.measured, torch.cuda.get_device_name() if gpu else "CPU"
    peak = peak_flops(name) or math.nan
    memory = ranks.spread(lambda _: max(peak_memory_gib(device).values()), range(ranks.count()))
    row = Row(
        args.kind, scaling, args.shape, args.checkpointing, name, ranks.count(), tries_a_step,
        # SFT has no pairs, but its tries are the same
        measured.steps * sum(len(item.trie.pairs) for item in items) / measured.seconds,
        measured.rates()["tokens_per_s"], measured.mfu(flops_per_token(policy.model), peak * ranks.count()),
        max(memory),
    )  # fmt: skip
    return row, losses.values


def module_of(policy: models.Policy, chosen: Any, full: bool, steps: int) -> PolicyModule:
    optim = chosen.optim.sft if full else chosen.optim.preference
    kind: Any = SftModule if full else PreferenceModule
    return kind(
        policy.model,
        SftLoss() if full else MadpoLoss(),
        optimizer=instantiate(optim.optimizer, lr=1e-4) if full else instantiate(optim.optimizer),
        schedule=instantiate(optim.schedule),
        gradient_clip=optim.gradient_clip,
        total_steps=steps,
    )


def ratios(rows: list[Row], path: Path | None) -> list[str]:
    """Each row's pairs a second over those of one GPU, where the file has them."""
    lines = list(csv.DictReader(path.open(encoding="utf-8"))) if path is not None and path.is_file() else []
    found = [[float(line["pairs_a_second"]) for line in lines if row.same_on_one(line)] for row in rows]
    return [f"{row.pairs_a_second / one[-1]:.2f}" if one else "–" for row, one in zip(rows, found, strict=True)]


def show(rows: list[Row], losses: list[float], path: Path | None) -> None:
    table = Table("", *[str(i) for i in range(1, len(rows) + 1)], title="Training on several GPUs")
    for field in fields(Row):
        values = [getattr(row, field.name) for row in rows]
        table.add_row(field.name.replace("_", " "), *[f"{v:,.2f}" if isinstance(v, float) else str(v) for v in values])
    table.add_row("pairs a second, × one GPU", *ratios(rows, path))
    console = Console()
    console.print(table)
    if losses:
        console.print("loss of each step:", " ".join(f"{loss:.3f}" for loss in losses), soft_wrap=True)
    if path is not None:
        fresh = not path.is_file()
        with path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)])
            if fresh:
                writer.writeheader()
            writer.writerows(asdict(row) for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=("ddp", "fsdp"), default="ddp")
    parser.add_argument("--shape", choices=tuple(SHAPES), default="qwen7b" if torch.cuda.is_available() else "tiny")
    parser.add_argument("--steps", type=int, default=20, help="optimiser steps, the first not timed")
    parser.add_argument("--tries", type=int, default=4, help="tries (questions) a rank in a step")
    parser.add_argument("--ranks", type=int, default=2, help="strong scaling: a step has the tries of so many ranks")
    parser.add_argument("--checkpointing", action="store_true", help="recompute activations in the backward pass")
    parser.add_argument("--out", type=Path, help="CSV file to which the rows are appended")
    parser.add_argument("ignored", nargs="*", metavar="KEY=VALUE", help="make bench gives it to every script")
    args = parser.parse_args()
    if args.steps < 2:
        parser.error("--steps must be 2 or more")
    if args.kind == "fsdp" and ranks.count() == 1:
        parser.error("--kind fsdp shards a model over several GPUs: start it with torchrun --nproc-per-node=2")
    ranks.connect()
    if torch.cuda.is_available():
        ranks.bind_gpu()
    measured = [measure(args, scaling) for scaling in (("weak", "strong") if args.kind == "ddp" else ("weak",))]
    if ranks.is_first():
        show([row for row, _ in measured], measured[0][1] if args.kind == "fsdp" else [], args.out)
    ranks.disconnect()


if __name__ == "__main__":
    main()
