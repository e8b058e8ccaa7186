"""What is measured and logged: counts against hand-counted figures, rates against formulas, rows against the steps."""

from __future__ import annotations

import csv
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from peft import LoraConfig, get_peft_model
from rich.console import Console

from learnat.errors import LearnatError
from learnat.training.callbacks import StepProgress, status
from learnat.training.flops import flops_per_token, peak_flops
from learnat.training.losses import MadpoLoss, SftLoss
from learnat.training.metrics import gradient_norm
from learnat.training.modules import PolicyModule, PreferenceModule, SftModule
from learnat.training.optimizers import adamw, warmup_cosine
from learnat.training.packing import Item, Packing, StepLoader
from learnat.training.rates import Interval, Work
from learnat.training.reference import reference_logprobs, with_reference
from learnat.training.resume import ResumePoint, resume_file
from learnat.training.throughput import Throughput
from learnat.training.tries import TokenTrie, TrieNode, TriePair
from tests.training.conftest import items, tiny_model
from tests.training.runs import EveryStep

PACKING = Packing("packed", 2, 2, 100, length_bucket=16)
STEPS = 9
COMMON = {"train/loss", "train/gradient_norm", "train/learning_rate", "memory/peak_resident_gib"}
PREFERENCE = {
    "train/preference_loss", "train/nll", "train/rewards/chosen", "train/rewards/rejected", "train/rewards/accuracy",
    "train/rewards/ties", "train/margin/achieved", "train/margin/asked", "train/logprobs/chosen",
    "train/logprobs/rejected", "throughput/pairs_per_s", "throughput/pairs_per_step",
}  # fmt: skip
RATES = {
    "throughput/steps_per_s", "throughput/questions_per_s", "throughput/tokens_per_s",
    "throughput/logical_tokens_per_s", "throughput/padding_share", "throughput/waiting_share",
}  # fmt: skip


def counted_trie() -> TokenTrie:
    """A schema of 5 tokens; a question (2) with two steps (3 and 4); one (1) with two steps (2, 2) then 3."""
    lengths = ((-1, 5), (0, 2), (1, 3), (1, 4), (0, 1), (4, 2), (4, 2), (6, 3))
    steps = {2, 3, 5, 6, 7}
    nodes = tuple(TrieNode(parent, (7,) * n, i in steps, float(i in steps)) for i, (parent, n) in enumerate(lengths))
    return TokenTrie(nodes, (TriePair(3, 2, 0.5), TriePair(6, 5, 0.2)), questions=2)


class Killed(L.Callback):
    """Ends the run after ``stop`` steps, as a kill would, with a resume point written just before."""

    def __init__(self, stop: int) -> None:
        self.stop = stop

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        if trainer.global_step == self.stop:
            trainer.save_checkpoint(Path(trainer.default_root_dir) / "resume.ckpt")
            raise InterruptedError


def loader(model: Any, pairs: bool = True) -> StepLoader:
    data = items()
    tries = [item.trie for item in data]
    logprobs = reference_logprobs(model, [PACKING.batch([trie], 0) for trie in tries], "cpu", lambda count: None)
    known = [trie if pairs else replace(trie, pairs=()) for trie in with_reference(tries, logprobs)]
    return StepLoader([Item(i.db_id, trie) for i, trie in zip(data, known, strict=True)], PACKING, 0, seed=1)


def fit(
    folder: Path,
    throughput: Throughput,
    every: int = 4,
    kind: type[PolicyModule] = PreferenceModule,
    gradient_clip: float = 1.0,
    extra: L.Callback | None = None,
    point: ResumePoint | None = None,
) -> list[dict[str, str]]:
    """Train a fresh model (or go on with the run in ``folder``); the rows of metrics.csv."""
    model = tiny_model(dtype=torch.float32)
    module = kind(
        model,
        SftLoss() if issubclass(kind, SftModule) else MadpoLoss(nll_weight=0.2),  # type: ignore[arg-type]
        optimizer=partial(adamw, lr=1e-3),  # type: ignore[arg-type]
        schedule=partial(warmup_cosine, warmup=0.1),
        gradient_clip=gradient_clip,
        total_steps=STEPS,
    )
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=3,
        log_every_n_steps=every,
        logger=CSVLogger(folder, name="", version=""),
        callbacks=[throughput, *([extra] if extra else []), point or ResumePoint()],
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = loader(model, pairs=not issubclass(kind, SftModule))
    with nullcontext() if not isinstance(extra, Killed) else pytest.raises(InterruptedError):
        trainer.fit(module, data, ckpt_path=resume_file(folder))
    return list(csv.DictReader((folder / "metrics.csv").open()))


def test_work_is_counted_from_the_batch() -> None:
    packed = Packing("packed", length_bucket=16).batch([counted_trie()], 0)
    assert Work.of([packed]) == Work(tokens=22, logical_tokens=40, positions=32, pairs=2, questions=2)
    padded = Packing("padded", length_bucket=1).batch([counted_trie()], 0)
    assert Work.of([padded]) == Work(tokens=40, logical_tokens=40, positions=44, pairs=2, questions=2)
    assert Work.of([packed, padded]) == Work(62, 80, 76, 4, 4)


def test_rates_follow_from_counts_and_time() -> None:
    interval = Interval(1, 0.5, 0.1) + Interval(3, 1.5, 0.4, Work(22, 40, 32, 2, 2))
    assert interval.rates() == {
        "steps_per_s": 2.0,
        "questions_per_s": 1.0,
        "pairs_per_s": 1.0,
        "pairs_per_step": 0.5,
        "tokens_per_s": 11.0,
        "logical_tokens_per_s": 20.0,
        "padding_share": 10 / 32,
        "waiting_share": 0.25,
    }
    assert interval.mfu(token_flops=1000, peak=1e5) == pytest.approx(1000 * 22 / 2.0 / 1e5)
    assert "pairs_per_s" not in Interval(1, 1.0, 0.0, Work(22, 40, 32, 0, 2)).rates()
    assert Interval().rates() == {}


def test_flops_are_those_of_the_decoder_layers_matrices() -> None:
    # Each of two layers: q and o 32 × 32, k and v 32 × 16, three matrices of 32 × 48.
    matrices = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48)
    model = tiny_model()
    assert flops_per_token(model) == 6 * matrices
    assert flops_per_token(get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))) == 4 * matrices


def test_the_peak_rate_is_known_by_name_or_given() -> None:
    assert peak_flops("NVIDIA H200") == peak_flops("NVIDIA H100 80GB HBM3") == 790e12
    assert peak_flops("NVIDIA A100-SXM4-80GB") == 312e12
    assert peak_flops("AMD EPYC") is None
    assert peak_flops("AMD EPYC", 2.0) == 2e12


@pytest.mark.parametrize("bound", [0.0, 0.5, 1e6])
def test_the_gradient_norm_is_taken_before_clipping(bound: float) -> None:
    parameters = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(3))]
    parameters[0].grad = torch.tensor([3.0, 4.0])
    assert gradient_norm(parameters, bound).item() == pytest.approx(5.0)
    assert parameters[0].grad.norm().item() == pytest.approx(0.5 if bound == 0.5 else 5.0, rel=1e-5)


@pytest.mark.parametrize("gradient_clip", [0.0, 1.0])
def test_rows_are_the_means_of_their_steps(tmp_path: Path, gradient_clip: float) -> None:
    single = fit(tmp_path / "single", Throughput(), every=1, gradient_clip=gradient_clip)
    assert [int(row["step"]) for row in single] == list(range(1, STEPS + 1))
    rows = fit(tmp_path / "several", Throughput(peak_tflops=1.0), every=4, gradient_clip=gradient_clip)
    # What is left at the end gets a row too.
    assert [int(row["step"]) for row in rows] == [4, 8, 9]
    assert set(rows[0]) == COMMON | PREFERENCE | RATES | {"step", "throughput/mfu"}
    means = {name for name in rows[0] if name.startswith("train/")} - {"train/learning_rate", "train/gradient_norm"}
    for row, part in zip(rows, (single[:4], single[4:8], single[8:]), strict=True):
        for name in means:
            values = [float(r[name]) for r in part]
            assert float(row[name]) == pytest.approx(sum(values) / len(values), rel=1e-4, abs=1e-5), name
        assert row["train/learning_rate"] == part[-1]["train/learning_rate"]
    norms = [float(row["train/gradient_norm"]) for row in single]
    expected = norms[3] if gradient_clip == 0 else sum(norms[:4]) / 4
    assert float(rows[0]["train/gradient_norm"]) == pytest.approx(expected, rel=1e-4)
    # The learning rate is the one that a step used: warm-up over one step, then a cosine down from the peak.
    assert float(single[0]["train/learning_rate"]) == pytest.approx(1e-3)
    assert float(single[-1]["train/learning_rate"]) > 0


def test_policy_and_reference_tie_at_the_start(tmp_path: Path) -> None:
    first = fit(tmp_path, Throughput(), every=1)[0]
    assert float(first["train/margin/achieved"]) == pytest.approx(0, abs=1e-5)
    assert float(first["train/margin/asked"]) > 0


def test_an_sft_stage_logs_no_pairs_and_no_mfu_on_a_cpu(tmp_path: Path) -> None:
    assert set(fit(tmp_path, Throughput(), kind=SftModule)[0]) == COMMON | RATES | {"step"}


class SlowStart(PreferenceModule):
    """As if the first step compiled something."""

    def training_step(self, packs: Any, batch_idx: int) -> None:
        super().training_step(packs, batch_idx)
        if batch_idx == 0:
            time.sleep(0.3)


def test_the_first_step_is_not_measured(tmp_path: Path) -> None:
    throughput = Throughput()
    fit(tmp_path, throughput, kind=SlowStart)
    assert throughput.steps == STEPS and throughput.measured.steps == STEPS - 1
    assert throughput.seconds - throughput.measured.seconds >= 0.3
    steps = loader(tiny_model(dtype=torch.float32))
    works = [Work.of(packs) for _ in range(3) for packs in steps]
    assert throughput.measured.work == sum(works[1:], start=Work())


def test_a_resumed_stage_measures_its_own_steps(tmp_path: Path) -> None:
    fit(tmp_path, Throughput(), extra=Killed(4))
    resumed = Throughput()
    fit(tmp_path, resumed)
    steps = loader(tiny_model(dtype=torch.float32))
    works = [Work.of(packs) for _ in range(3) for packs in steps]
    assert resumed.steps == 5
    assert resumed.measured.steps == 4 and resumed.measured.work == sum(works[5:], start=Work())


def test_the_summary_and_the_progress_line_show_the_rates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not Console().is_terminal
    throughput = Throughput(peak_tflops=1.0)
    fit(tmp_path, throughput, every=1, extra=StepProgress(plain_every_s=0))
    work = throughput.measured.work
    assert throughput.summary().startswith(f"{STEPS} steps in ")
    assert f"({work.logical_tokens / work.tokens:.1f}x fewer tokens than path by path)" in throughput.summary()
    assert "pairs/s, MFU 0.00, peak memory" in throughput.summary()
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert f"step {STEPS}/{STEPS}, loss " in last and " tokens/s, " in last and last.endswith("pairs/s, 0 s left")


def test_a_stage_without_steps_has_a_summary() -> None:
    assert Throughput().summary() == "0 steps in 0 s"
    assert status({}) == ""


class Diverged(L.Callback):
    """Spoils a weight before step ``step``, as a rate that is far too high would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        if trainer.global_step + 1 == self.step:
            next(pl_module.parameters()).data.fill_(float("nan"))


def test_a_run_that_diverged_ends_and_keeps_its_last_good_state(tmp_path: Path) -> None:
    with pytest.raises(LearnatError, match=r"train/loss is nan in the row of step 4.* from step 2\. Lower the"):
        fit(tmp_path, Throughput(), extra=Diverged(3), point=EveryStep())
    path = resume_file(tmp_path)
    assert path is not None
    state = torch.load(path, weights_only=True)
    assert state["global_step"] == 2 and all(weight.isfinite().all() for weight in state["state_dict"].values())


def test_without_a_resume_point_the_error_says_so(tmp_path: Path) -> None:
    with pytest.raises(LearnatError, match="There is no resume point"):
        fit(tmp_path, Throughput(), every=1, extra=Diverged(2))
