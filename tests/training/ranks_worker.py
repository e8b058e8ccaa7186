"""What test_ranks.py runs under torchrun and in one process: short training runs, their figures written as JSON.

    torchrun --nproc-per-node=2 ranks_worker.py FOLDER CASE …

A case is ``strategy-stage-weights-optimizer``, such as ``ddp-madpo-lora-sgd``; ``@stop`` behind it ends the run before
its time, ``@resume`` goes on from there. SGD shows a wrongly scaled gradient, which AdamW would hide.
"""

from __future__ import annotations

import json
import random
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy
from omegaconf import OmegaConf
from torch import nn

from learnat.training import models, ranks
from learnat.training.batches import make_batch
from learnat.training.losses import MadpoLoss, SftLoss
from learnat.training.modules import PolicyModule, PreferenceModule, SftModule
from learnat.training.optimizers import adamw, warmup_cosine
from learnat.training.packing import Item, Packing, StepLoader
from learnat.training.preparation import prepare_for_training
from learnat.training.reference import reference_logprobs, with_reference
from learnat.training.resume import resume_file
from learnat.training.sharding import FullySharded, gather
from learnat.training.throughput import Throughput
from tests.training.conftest import random_trie, tiny_model
from tests.training.runs import EveryStep

STOP = 2
CLIP = {"lora": 0.9, "full": 3.0}
"""Between the smallest and the largest gradient norm of a run: clipping must see the norm over all ranks."""
SETTINGS = OmegaConf.create(
    {
        "gradient_checkpointing": True,
        "compile": False,
        "dtype": "float32",
        "lora": {"enabled": True, "r": 4, "alpha": 8, "dropout": 0.0, "target_modules": ["q_proj", "down_proj"]},
    }
)


class Figures(L.Callback):
    """Keeps what every step logs; stops the run after ``stop`` steps, as a kill would."""

    def __init__(self, stop: int | None) -> None:
        self.steps: list[dict[str, float]] = []
        self.stop = stop

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        assert isinstance(trainer.lightning_module, PolicyModule)
        row = trainer.lightning_module.logged
        self.steps.append({name: value for name, value in row.items() if name.startswith("train/")})
        if trainer.global_step == self.stop:
            folder = Path(trainer.default_root_dir)
            gathered = list(trainer.strategy.lightning_module_state_dict())
            ranks.on_first(partial((folder / "gathered.json").write_text, json.dumps(gathered)))
            trainer.save_checkpoint(folder / "resume.ckpt")
            raise InterruptedError


def items() -> list[Item]:
    """Questions of three databases, one of them alone in the last step: the second rank has nothing to do there."""
    rng = random.Random(0)
    made = []
    for database, questions in enumerate((4, 6, 5)):
        root = random_trie(rng).nodes[0]
        for _ in range(questions):
            trie = random_trie(rng, questions=1)
            made.append(Item(str(database), replace(trie, nodes=(root, *trie.nodes[1:]))))
    return made


def policy(lora: bool) -> models.Policy:
    """A tiny model, ready to be trained."""
    made: Any = models.Policy("tiny", tiny_model(dtype=torch.float32), None, None, 99, "sdpa", None, "")  # type: ignore[arg-type]
    L.seed_everything(1, verbose=False)
    prepare_for_training(made, OmegaConf.merge(SETTINGS, {"lora": {"enabled": lora}}), "madpo")
    return made


def with_references(model: nn.Module, data: list[Item]) -> list[Item]:
    """The datamodule's way: questions shared out over the ranks."""

    def of_item(item: Item) -> torch.Tensor:
        return reference_logprobs(model, [make_batch([item.trie], "packed", 0)], "cpu", lambda count: None)

    tries = with_reference([item.trie for item in data], torch.cat(ranks.spread(of_item, data)))
    return [Item(item.db_id, trie) for item, trie in zip(data, tries, strict=True)]


def run(case: str, folder: Path) -> list[dict[str, float]]:
    """The figures of every step; the trained model is left in ``folder``, where it came to its end."""
    case, _, mode = case.partition("@")
    place = folder / case
    place.mkdir(parents=True, exist_ok=True)
    strategy, stage, weights, optimizer = case.split("-")
    model = policy(weights == "lora").model
    chosen: Any = {"one": lambda: "auto", "ddp": DDPStrategy, "fsdp": lambda: FullySharded("float32")}[strategy]()
    figures = Figures(STOP if mode == "stop" else None)
    trainer = L.Trainer(
        accelerator="cpu",
        devices=ranks.count(),
        strategy=chosen,
        max_epochs=2,
        logger=False,
        callbacks=[Throughput(), figures, EveryStep()],
        log_every_n_steps=1,
        default_root_dir=place,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    if strategy == "fsdp":
        chosen.shard(model)
    kind: Any = PreferenceModule if stage == "madpo" else SftModule
    module = kind(
        model,
        MadpoLoss(nll_weight=0.2) if stage == "madpo" else SftLoss(),
        optimizer=partial(adamw, lr=5e-3) if optimizer == "adamw" else sgd,
        schedule=partial(warmup_cosine, warmup=0.1),
        gradient_clip=CLIP[weights],
        total_steps=10,
    )
    data = with_references(model, items())
    loader = StepLoader(data, Packing("packed", 2, 3, 40, 8), 0, 1, ranks.index(), ranks.count())
    try:
        trainer.fit(module, loader, ckpt_path=resume_file(place) if mode == "resume" else None)
    except InterruptedError:
        return figures.steps
    if strategy == "fsdp":
        gather(model)
    ranks.on_first(partial(model.save_pretrained, place / "exported"))
    return figures.steps


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05, momentum=0.9)


def main() -> None:
    folder = Path(sys.argv[1])
    ranks.connect()
    for case in sys.argv[2:]:
        steps = run(case, folder)
        ranks.on_first(partial((folder / f"{case}.json").write_text, json.dumps(steps)))
    ranks.disconnect()


if __name__ == "__main__":
    main()
