"""Sampled rows, rows that stop, and rows of unequal room: each as if it were decoded alone."""

from __future__ import annotations

import pytest
import torch

from learnat.inference.decoding import Row, RowSampler, stop_criteria
from learnat.inference.engines.base import Decoding, without_room
from learnat.inference.generate import complete, prepare
from learnat.training.models import Policy
from learnat.training.prompts import STEP_END, step_text
from learnat.training.tokenizer import ANSWER_TOKEN
from tests.inference.conftest import STEPS, counted_policy
from tests.inference.test_generate import policy as untrained  # noqa: F401  # a fixture


@pytest.fixture(scope="module")
def counted() -> Policy:
    policy = counted_policy([step_text(first) + step_text(second) for first in STEPS for second in STEPS], 64)
    prepare(policy, "cpu")
    return policy


def ids(policy: Policy, text: str) -> tuple[int, ...]:
    return tuple(policy.tokenizer(text)["input_ids"])


def test_a_row_does_not_depend_on_the_rows_beside_it(untrained: Policy) -> None:  # noqa: F811
    prepare(untrained, "cpu")
    prompts = [ids(untrained, text) for text in ("SELECT", "-- How many heads are", "song WHERE", "a")]
    rows = [Row(prompt, seed) for prompt in prompts for seed in (None, 1, 2)]
    decoding = Decoding(16, temperature=0.8, top_p=0.9)
    together = complete(untrained, rows, decoding)
    assert together == [complete(untrained, [row], decoding)[0] for row in rows]
    assert len({completion.text for completion in together[:3]}) == 3  # chance makes a difference
    assert together[0] == complete(untrained, [rows[0]], Decoding(16))[0]  # but not to greedy rows


@pytest.mark.parametrize(
    ("top_p", "few", "nucleus"),
    [
        (0.95, 64, [1, 1, 1, 0, 0]),  # 0.73 + 0.18 + 0.09 reach 0.95
        (0.95, 2, [1, 1, 1, 0, 0]),  # found by sorting
        (0.5, 2, [1, 0, 0, 0, 0]),
        (1.0, 64, [1, 1, 1, 1, 1]),
    ],
)
def test_draws_follow_the_softmax_cut_to_its_nucleus(
    top_p: float, few: int, nucleus: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("learnat.inference.decoding.FEW", few)
    scores = torch.tensor([2.0, 0.5, 1.0, -1.0, -3.0])
    rows = [Row((1,), seed) for seed in range(20_000)]
    sampler = RowSampler([*rows, Row((1,))], Decoding(1, temperature=0.7, top_p=top_p), 1, torch.device("cpu"))
    picked = sampler(torch.zeros(len(rows) + 1, 1), scores.repeat(len(rows) + 1, 1))
    assert torch.equal(picked[-1], scores)
    drawn = picked[:-1].argmax(-1).bincount(minlength=5) / len(rows)
    expected = (scores / 0.7).softmax(-1) * torch.tensor(nucleus)
    torch.testing.assert_close(drawn, expected / expected.sum(), atol=0.01, rtol=0.0)


@pytest.mark.parametrize("top_p", [0.9, 1.0])
def test_a_draw_next_to_one_is_of_the_likely_tokens_too(top_p: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.Random.random", lambda self: 1 - 2**-53)  # the largest it can be; 1.0 as a float32
    sampler = RowSampler([Row((1,), 7)], Decoding(1, temperature=1.0, top_p=top_p), 1, torch.device("cpu"))
    picked = sampler(torch.zeros(1, 1), torch.tensor([[5.0, 4.0, -torch.inf, -torch.inf]]))
    assert picked.argmax(-1).tolist() == [1]


def test_a_text_ends_where_the_stop_string_is_complete(untrained: Policy) -> None:  # noqa: F811
    prepare(untrained, "cpu")
    tokenizer, prompt = untrained.tokenizer, ids(untrained, "song WHERE")
    whole = complete(untrained, [Row(prompt)], Decoding(24))[0]
    assert not whole.finished
    written = tokenizer(whole.text)["input_ids"]
    stops = {whole.text[i : i + 3] for i in range(0, len(whole.text) - 3) if whole.text[i : i + 3].isascii()}
    assert len(stops) > 5
    for stop in stops:
        done = complete(untrained, [Row(prompt)], Decoding(24, stop=stop), stop_criteria(tokenizer, stop))[0]
        assert done.finished and whole.text.startswith(done.text) and stop in done.text
        # One token less, and it would not be there: no later occurrence was waited for.
        texts = [tokenizer.decode(written[:n]) for n in range(len(written) + 1)]
        assert done.text == next(text for text in texts if stop in text)


def test_each_row_stops_by_itself(counted: Policy) -> None:
    stop = stop_criteria(counted.tokenizer, STEP_END)
    rows = [Row(ids(counted, ANSWER_TOKEN), seed) for seed in range(24)]
    done = complete(counted, rows, Decoding(40, temperature=1.0, stop=STEP_END), stop)
    assert len({completion.completion_tokens for completion in done}) > 3
    for completion in done:
        assert completion.finished and completion.text.count(STEP_END) == 1 and completion.text.endswith(STEP_END)
        assert completion.completion_tokens == len(counted.tokenizer(completion.text)["input_ids"])


def test_the_stop_string_at_a_prompt_s_end_stops_nothing(counted: Policy) -> None:
    prompt = ids(counted, ANSWER_TOKEN + step_text(STEPS[0]))
    stop = stop_criteria(counted.tokenizer, STEP_END)
    done = complete(counted, [Row(prompt)], Decoding(40, stop=STEP_END), stop)[0]
    assert done.text.startswith("--") and done.text.endswith(STEP_END)


def test_each_row_has_the_room_that_its_prompt_leaves(counted: Policy) -> None:
    short, long = ids(counted, ANSWER_TOKEN), (*[5] * 57, *ids(counted, ANSWER_TOKEN))
    rows = [Row(short), Row(long), Row((5,) * 64), Row((5,) * 70)]
    done = complete(counted, rows, Decoding(40))
    assert [completion.completion_tokens for completion in done] == [40, 6, 0, 0]
    assert not any(completion.finished for completion in done)
    assert done[0] == complete(counted, rows[:1], Decoding(40))[0]
    assert done[2] == without_room(64)


def test_a_cancelled_batch_ends_at_its_next_token(counted: Policy) -> None:
    lengths = []

    def watch(written: torch.Tensor) -> bool:
        lengths.append(written.shape[1])
        return len(lengths) == 3

    complete(counted, [Row(ids(counted, ANSWER_TOKEN))], Decoding(40), watch=watch)
    assert lengths == [1, 2, 3]
