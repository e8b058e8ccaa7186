"""Preference training starts from its reference, and only from there."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from learnat.errors import LearnatError
from learnat.training.batches import TokenBatch, make_batch
from learnat.training.logprobs import node_logprobs, token_logprobs
from learnat.training.losses import MadpoLoss
from learnat.training.modules import PreferenceModule
from learnat.training.optimizers import adamw, warmup_cosine
from learnat.training.packing import Item
from learnat.training.reference import reference_logprobs, with_reference
from learnat.training.resume import resume_file
from learnat.training.tries import join
from tests.training.conftest import items, tiny_model
from tests.training.runs import STEPS, referenced, run


def test_preference_training_starts_at_the_asked_margin() -> None:
    model = tiny_model(dtype=torch.float32)
    data = referenced(model, items())
    module = PreferenceModule(
        model,
        MadpoLoss(alpha=2.0),
        optimizer=partial(adamw, lr=1e-3),
        schedule=warmup_cosine,
        gradient_clip=0.0,
        total_steps=1,
    )
    first = join([item.trie for item in data if item.db_id == "0"])
    batch = make_batch([first], "packed", 0)
    loss, metrics = module.pack_loss(batch, module.step_total([batch]))
    assert loss.item() == pytest.approx(torch.nn.functional.softplus(2 * batch.margin).mean().item(), rel=1e-4)
    assert metrics["margin/achieved"].item() == pytest.approx(0.0, abs=1e-4)


def test_a_step_without_pairs_learns_its_right_steps_alone() -> None:
    model = tiny_model(dtype=torch.float32)
    data = referenced(model, items())
    first = join([replace(item.trie, pairs=()) for item in data if item.db_id == "0"])
    batch = make_batch([first], "packed", 0)
    module = preference_module(model)
    module.loss.nll_weight = 3.0
    module.check_start(batch)
    loss, metrics = module.pack_loss(batch, module.step_total([batch]))
    assert loss.item() == pytest.approx(3 * metrics["nll"].item())
    assert metrics["nll"].item() > 0 and metrics["preference_loss"].item() == 0


def preference_module(model: torch.nn.Module) -> PreferenceModule:
    return PreferenceModule(
        model, MadpoLoss(), optimizer=partial(adamw, lr=1e-3), schedule=warmup_cosine, gradient_clip=0.0, total_steps=1
    )


def batches_of(data: list[Item]) -> list[TokenBatch]:
    return [make_batch([item.trie], "packed", 0) for item in data]


def test_a_policy_that_is_not_its_reference_is_refused() -> None:
    model = tiny_model(dtype=torch.float32)
    tries = [item.trie for item in items()]
    logprobs = reference_logprobs(model, batches_of(items()), "cpu", lambda count: None)
    module = preference_module(model)
    module.check_start(make_batch(with_reference(tries, logprobs), "packed", 0))
    with pytest.raises(
        LearnatError, match=r"differ from the reference's by 0\.091 .*must be equal\. The reference log-probs"
    ):
        module.check_start(make_batch(with_reference(tries, logprobs * 1.1), "packed", 0))


def test_rounding_is_no_other_policy_where_steps_are_nearly_certain() -> None:
    """The log-probs of a policy that has learnt its steps are hardly larger than what bfloat16 does to them."""
    model = tiny_model(dtype=torch.float32)
    tries = [item.trie for item in items()]
    batch = make_batch(tries, "packed", 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(300):
        loss = -node_logprobs(token_logprobs(model, batch), batch).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    logprobs = reference_logprobs(model, batches_of(items()), "cpu", lambda count: None)
    assert logprobs.abs().mean() < 1
    module = preference_module(model)
    for changed, is_right in ((logprobs, True), (logprobs + 0.3, False), (logprobs * 2, False)):
        start = make_batch(with_reference(tries, changed), "packed", 0)
        expected = nullcontext() if is_right else pytest.raises(LearnatError, match="At step 0")
        with torch.autocast("cpu", torch.bfloat16), expected:
            module.check_start(start)


def test_a_single_pair_whose_steps_changed_places_is_refused() -> None:
    """Among many steps, a few that are wrong hardly move the mean error: each pair is looked at by itself."""
    model = tiny_model(dtype=torch.float32)
    tries = [item.trie for item in items()] * 20
    batches = [make_batch([trie], "packed", 0) for trie in tries]
    logprobs = reference_logprobs(model, batches, "cpu", lambda count: None)
    batch = make_batch(tries, "packed", 0)
    apart = (logprobs[batch.chosen] - logprobs[batch.rejected]).abs()
    pair = int(apart.argsort()[len(apart) // 2])
    one, other = int(batch.chosen[pair]), int(batch.rejected[pair])
    logprobs[one], logprobs[other] = logprobs[other].clone(), logprobs[one].clone()
    module = preference_module(model)
    with pytest.raises(LearnatError, match=rf"those of \d+ of {len(apart)} step pairs by more than rounding"):
        module.check_start(make_batch(with_reference(tries, logprobs), "packed", 0))


def test_a_resumed_run_is_not_checked_against_its_reference(tmp_path: Path) -> None:
    """By then the policy is not its reference any more."""
    fast = partial(adamw, lr=0.05)
    assert len(run(tmp_path, True, optimizer=fast, max_steps=2)) == 2
    model = tiny_model(dtype=torch.float32)
    reference = reference_logprobs(model, batches_of(items()), "cpu", lambda count: None)
    state = torch.load(resume_file(tmp_path), weights_only=True)["state_dict"]  # type: ignore[arg-type]
    model.load_state_dict({name.removeprefix("model."): value for name, value in state.items()})
    moved = make_batch(with_reference([item.trie for item in items()], reference), "packed", 0)
    with pytest.raises(LearnatError, match="At step 0"):
        preference_module(model).check_start(moved)
    assert len(run(tmp_path, True, optimizer=fast)) == STEPS


def test_a_resume_point_of_other_weights_is_refused(tmp_path: Path) -> None:
    run(tmp_path, False, max_steps=1)
    with pytest.raises(LearnatError, match=r"resume\.ckpt does not fit .* lacks \d+ \(such as .*lora_A.*delete it"):
        run(tmp_path, False, dropout=0.1)
