"""The engine over a policy in memory: every sample of every prompt, once, and the same one whatever is asked beside."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from learnat.errors import LearnatError
from learnat.inference.engines.base import Decoding, Message, Prompt, Request, Written
from learnat.inference.engines.transformers import TransformersSettings
from learnat.training.models import Policy
from learnat.training.prompts import PromptStyle
from tests.inference.test_prefix_decoding import policy_of


@pytest.fixture(scope="module")
def policy() -> Policy:
    return policy_of("qwen2")


def chats(count: int) -> list[Prompt]:
    rng = random.Random(0)
    databases = ["singer: singer_id, name\n\n", "concert: concert_id, year, venue\nsinger: name\n\n"]
    prompts = []
    for number in range(count):
        shared = rng.choice(databases)
        question = "Which of them? " * rng.randint(1, 3) + str(number)
        prompts.append(Prompt((Message("user", shared + question),), shared))
    return prompts


def texts(
    settings: TransformersSettings,
    policy: Policy,
    prompts: Sequence[Prompt],
    decoding: Decoding,
    samples: Sequence[int],
) -> dict[tuple[int, int], str]:
    requests = [Request(prompt, samples) for prompt in prompts]
    written = list(settings.over(policy).generate(requests, decoding))
    found = {(each.position, each.sample): each.completion.text for each in written}
    assert len(found) == len(written)
    return found


def test_batches_and_what_is_asked_before_change_no_sample(policy: Policy) -> None:
    prompts, decoding = chats(9), Decoding(8, temperature=1.0, seed=7)
    together = texts(TransformersSettings(64, "cpu"), policy, prompts, decoding, range(5))
    assert set(together) == {(i, sample) for i in range(9) for sample in range(5)}
    assert len({text for (i, _), text in together.items() if i == 0}) > 1
    for settings in (TransformersSettings(4, "cpu"), TransformersSettings(7, "cpu", shared_prefix=False)):
        first = texts(settings, policy, prompts, decoding, (0, 1))
        later = texts(settings, policy, prompts[:3], decoding, (2, 3, 4))
        assert first.items() <= together.items() and later.items() <= together.items()
    other = texts(TransformersSettings(64, "cpu"), policy, prompts, Decoding(8, temperature=1.0, seed=8), range(5))
    assert other.keys() == together.keys() and other != together


def test_greedy_samples_are_alike_and_chats_go_on(policy: Policy) -> None:
    prompts = chats(2)
    prompts += [
        Prompt((*prompts[0].messages, Message("assistant", "SELECT 1;"), Message("user", "No."))),
    ]
    prompts += [Prompt(prompts[0].messages, prompts[0].shared, begun="-- How many singers?\n")]
    found = texts(TransformersSettings(64, "cpu"), policy, prompts, Decoding(8), (0, 3))
    assert all(found[i, 0] == found[i, 3] for i in range(4))
    whole = texts(TransformersSettings(64, "cpu", shared_prefix=False), policy, prompts, Decoding(8), (0, 3))
    assert whole == found


def test_the_policy_is_given_back_as_it_was(policy: Policy) -> None:
    policy.model.train()
    requests = [Request(prompt) for prompt in chats(5)]
    written = TransformersSettings(2, "cpu").over(policy).generate(requests, Decoding(4))
    next(written)
    assert not policy.model.training
    written.close()  # type: ignore[attr-defined]
    assert policy.model.training and policy.model.config._attn_implementation == "sdpa"


def test_a_session_keeps_what_was_computed_of_prompts(policy: Policy) -> None:
    prompts, decoding = chats(9), Decoding(8, temperature=1.0, seed=7)
    engine = TransformersSettings(64, "cpu").over(policy)
    policy.model.train()

    def draw(samples: Sequence[int]) -> list[Written]:
        requests = [Request(prompt, samples) for prompt in prompts]
        return sorted(engine.generate(requests, decoding), key=lambda each: (each.position, each.sample))

    def computed(written: Sequence[Written]) -> int:
        return sum(each.completion.prompt_tokens - each.completion.cached_tokens for each in written)

    apart = draw((0,)), draw((1,))
    assert computed(apart[0]) == computed(apart[1])
    with engine.session():
        together = draw((0,)), draw((1,))
        with engine.session():  # a strategy's within that of whoever calls it
            draw((2,))
        assert not policy.model.training
    assert [each.completion.text for part in together for each in part] == [
        each.completion.text for part in apart for each in part
    ]
    assert computed(together[0]) == computed(apart[0]) > computed(together[1]) > 0
    assert policy.model.training and policy.model.config._attn_implementation == "sdpa"
    assert computed(draw((0,))) == computed(apart[0])  # nothing is left of it


def test_what_a_policy_needs(tmp_path: Path) -> None:
    with pytest.raises(LearnatError, match="Give what to ask: checkpoint="):
        TransformersSettings().open(None, PromptStyle())
    with pytest.raises(LearnatError, match="is not a LearNAT checkpoint"):
        TransformersSettings().open(tmp_path, PromptStyle())
    with pytest.raises(LearnatError, match=r"engine\.batch_size=0 must be"):
        TransformersSettings(batch_size=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_new_tokens": 0}, "inference.max_new_tokens=0"),
        ({"temperature": -1.0}, "inference.temperature=-1.0"),
        ({"top_p": 0.0}, "inference.top_p=0.0"),
        ({"top_p": 1.5}, "inference.top_p=1.5"),
    ],
)
def test_mistakes_in_the_decoding(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(LearnatError, match=message):
        Decoding(**wrong)  # type: ignore[arg-type]
