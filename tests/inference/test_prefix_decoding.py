"""Rows that share keys and values are written as if each were computed whole and alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learnat.inference import prefix_decoding
from learnat.inference.decoding import Row, stop_criteria
from learnat.inference.engines.base import Completion, Decoding, without_room
from learnat.inference.generate import complete, prepare
from learnat.inference.prefix_attention import ATTENTION_NAME, is_supported, register
from learnat.inference.prefix_cache import SHARERS, STRAYS, PrefixCache, shared_prompts
from learnat.inference.prefix_decoding import DecodeStep, complete_sharing, read_prompts
from learnat.inference.writer import BatchWriter
from learnat.training.logprobs import causal_lm
from learnat.training.models import Policy
from learnat.training.prompts import STEP_END, PromptStyle, step_text
from learnat.training.tokenizer import train_tokenizer
from tests.inference.conftest import STEPS
from tests.training.conftest import FAMILIES, tiny_model, with_lora

TOKENIZER = train_tokenizer([step_text(step) for step in STEPS] * 4, 400)
SIZE = len(TOKENIZER)


def policy_of(family: str, dtype: torch.dtype = torch.float64, adapted: bool = False) -> Policy:
    """Random weights in double precision, so that both ways take the same tokens."""
    model = tiny_model(family, dtype, vocabulary=SIZE)
    model.generation_config.eos_token_id = TOKENIZER.eos_token_id
    model = with_lora(model) if adapted else model
    return Policy(family, model, TOKENIZER, PromptStyle(), 160, "sdpa", base_model=None, source=family)


def share(policy: Policy) -> Policy:
    register()
    prepare(policy, "cpu")
    causal_lm(policy.model).set_attn_implementation(ATTENTION_NAME)
    return policy


def whole(policy: Policy, rows: Sequence[Row], decoding: Decoding) -> list[Completion]:
    prepare(policy, "cpu")
    return complete(policy, rows, decoding, stop_criteria(TOKENIZER, decoding.stop))


def sharing(
    policy: Policy, rows: Sequence[Row], decoding: Decoding, cache: PrefixCache | None = None
) -> list[Completion]:
    stop = stop_criteria(TOKENIZER, decoding.stop)
    return complete_sharing(share(policy), rows, decoding, cache or PrefixCache(), stop)


def uncounted(completions: Sequence[Completion]) -> list[Completion]:
    return [replace(completion, cached_tokens=0) for completion in completions]


def ids(rng: random.Random, least: int, most: int) -> tuple[int, ...]:
    return tuple(rng.randrange(5, SIZE) for _ in range(rng.randint(least, most)))


def batch(rng: random.Random) -> list[Row]:
    """Rows of three databases, of some questions several samples, and rows that nothing begins like."""
    rows = []
    for database in [ids(rng, 20, 60) for _ in range(3)]:
        for question in [ids(rng, 1, 20) for _ in range(4)]:
            seeds = rng.choice([(None,), (rng.random(), rng.random(), None)])
            rows += [Row(database + question, seed, len(database)) for seed in seeds]  # type: ignore[arg-type]
    rows += [Row(ids(rng, 1, 70), None), Row(ids(rng, 70, 90), 3, shared=20)]
    rng.shuffle(rows)
    return rows


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("adapted", [False, True])
def test_every_row_is_as_if_computed_whole(family: str, adapted: bool) -> None:
    policy = policy_of(family, adapted=adapted)
    assert is_supported(policy.model)
    rows = batch(random.Random(family))
    decoding = Decoding(12, temperature=0.9, top_p=0.95)
    expected = whole(policy, rows, decoding)
    assert uncounted(sharing(policy, rows, decoding)) == expected
    assert len({completion.text for completion in expected}) > len(rows) / 2  # it is not always the same


def test_single_precision_and_a_stop_string_make_no_difference() -> None:
    policy = policy_of("qwen2", torch.float32)
    rows = batch(random.Random(1))
    for decoding in (Decoding(12), Decoding(12, temperature=1.0, stop=";")):
        assert uncounted(sharing(policy, rows, decoding)) == whole(policy, rows, decoding)


def test_rows_that_have_ended_are_dropped_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, rows = policy_of("qwen2"), batch(random.Random(8))
    sizes = []
    forward = DecodeStep._forward

    def counted(step: DecodeStep, seen: slice) -> torch.Tensor:
        sizes.append(len(step._tokens))
        return forward(step, seen)

    monkeypatch.setattr(DecodeStep, "_forward", counted)
    decoding = Decoding(30, temperature=1.0, stop="e")
    assert uncounted(sharing(policy, rows, decoding)) == whole(policy, rows, decoding)
    assert len(set(sizes)) > 2 and sizes == sorted(sizes, reverse=True)


def test_a_step_of_fixed_shapes_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a CUDA graph replays, without the graph."""
    policy, rows, decoding = policy_of("qwen2"), batch(random.Random(6)), Decoding(10, temperature=1.0)
    expected = sharing(policy, rows, decoding)
    shapes = set()

    def replay(step: DecodeStep) -> None:
        step._logits = step._forward_everywhere()
        shapes.add(step._key_values._hidden.shape)

    monkeypatch.setattr(prefix_decoding, "can_capture", lambda policy: True)
    monkeypatch.setattr(DecodeStep, "_replay", replay)
    assert sharing(policy, rows, decoding) == expected
    assert len(shapes) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("adapted", [False, True])
def test_replayed_steps_give_the_texts_of_a_cpu(adapted: bool) -> None:
    policy = policy_of("qwen2", torch.float32, adapted)
    rows, decoding = batch(random.Random(7)), Decoding(12, temperature=1.0)
    expected = sharing(policy, rows, decoding)
    for _ in range(2):  # each batch has a graph of its own
        writer = BatchWriter(policy, 64, "cuda")
        writer.start()
        found = writer.write(rows, decoding)
        writer.release()
        alike = sum(a.text == b.text for a, b in zip(uncounted(found), uncounted(expected), strict=True))
        assert alike >= 0.9 * len(rows)  # rounding may tip a draw
    policy.model.to("cpu")


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    policy, cache = policy_of("qwen2"), PrefixCache()
    rows, decoding = batch(random.Random(2)), Decoding(8, temperature=1.0)
    together = uncounted(sharing(policy, rows, decoding, cache))
    assert together == [uncounted(sharing(policy, [row], decoding, cache))[0] for row in rows]
    for size in (2, 5):  # some of these have their beginning in the cache, others not
        parts = [sharing(policy, rows[i : i + size], decoding, cache) for i in range(0, len(rows), size)]
        assert together == uncounted([completion for part in parts for completion in part])


@pytest.mark.parametrize("scores", [1, 2000, 10**9])
def test_prompts_are_read_alike_however_many_at_once(scores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learnat.inference.prefix_decoding.SCORES", scores)
    policy = policy_of("llama")
    rows = batch(random.Random(3))
    prepare(policy, "cpu")
    distinct = list(dict.fromkeys(row.prompt for row in rows))
    with torch.no_grad():
        expected = {p: policy.model(input_ids=torch.tensor([p])).logits[0, -1] for p in distinct}
    with torch.inference_mode():
        prompts = shared_prompts(rows, PrefixCache(), share(policy).model)
        logits, _ = read_prompts(policy.model, prompts)
    assert len(prompts.groups) == 4  # the fourth of a single row
    for prompt, found in zip(prompts.ids, logits, strict=True):
        torch.testing.assert_close(found.double(), expected[prompt], rtol=1e-5, atol=1e-5)


def test_a_prompt_that_fills_the_context_is_answered_by_nothing() -> None:
    policy = policy_of("qwen2")
    rows = [Row((5,) * 160, None, 100), Row((5,) * 155, None, 100), Row((6,) * 170)]
    full, almost, over = sharing(policy, rows, Decoding(20))
    assert full == without_room(160) and over == without_room(170)
    assert 0 < almost.completion_tokens <= 5
    assert sharing(policy, rows[:1], Decoding(20)) == [full]


def test_only_what_is_computed_is_no_cached_token() -> None:
    policy, cache = policy_of("qwen2"), PrefixCache()
    first, second = (7,) * 50, (8,) * 40
    rows = [Row((*first, i), None, 50) for i in range(5, 5 + SHARERS)]
    rows += [Row((*second, 9), seed, 40) for seed in range(SHARERS)] + [Row((9,) * 30, None, 10)]
    done = sharing(policy, rows, Decoding(3), cache)
    assert sum(c.prompt_tokens - c.cached_tokens for c in done) == 50 + SHARERS + 40 + 1 + 30
    again = sharing(policy, rows, Decoding(3), cache)
    assert sum(c.prompt_tokens - c.cached_tokens for c in again) == SHARERS + 1 + 20


def test_a_schema_of_a_single_row_does_not_widen_all_rows() -> None:
    """As where a batch begins or ends among a database's questions."""
    policy = policy_of("qwen2")
    rows = [Row((*(7,) * 50, i), None, 50) for i in range(5, 5 + SHARERS)] + [Row((*(8,) * 90, 5), None, 90)]
    with torch.inference_mode():
        prompts = shared_prompts(rows, PrefixCache(), share(policy).model)
    assert max(prompts.own) == 1
    decoding = Decoding(8, temperature=1.0)
    assert uncounted(sharing(policy, rows, decoding)) == whole(policy, rows, decoding)


def test_the_cache_keeps_what_was_used_last() -> None:
    model = share(policy_of("qwen2")).model
    with torch.inference_mode():
        token = PrefixCache().get(model, (5,))[0].size
        assert token == 2 * 2 * 2 * 8 * 8  # keys and values, layers, heads, channels, bytes
        cache = PrefixCache(capacity=50 * token)
        for token, known in ((5, False), (6, False), (5, True), (7, False), (5, True), (6, False)):
            prefix, found = cache.get(model, (token,) * 20)
            assert found == known and prefix.length == 20
        assert cache.get(model, (8,) * 60)[0].length == 60  # more than it may keep, and still of use


Beginnings = st.lists(st.integers(0, 3), max_size=3).map(tuple)
Rests = st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple)


@given(drawn=st.lists(st.tuples(Beginnings, Rests), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_groups_are_of_prompts_that_begin_alike(drawn: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
    rows = [Row(beginning + rest, None, len(beginning)) for beginning, rest in drawn]
    # One prompt has one beginning.
    beginnings = {row.prompt: row.prompt[: row.shared] for row in rows}
    rows = [replace(row, shared=len(beginnings[row.prompt])) for row in rows]
    with torch.inference_mode():
        prompts = shared_prompts(rows, PrefixCache(), MODEL)
    assert sorted(prompts.ids) == sorted(set(beginnings))
    shared = {beginning for beginning in beginnings.values() if beginning}
    worth = {b for b in shared if sum(beginnings[row.prompt] == b for row in rows) >= SHARERS}
    few = worth and len(shared - worth) <= STRAYS
    worth = shared if few else worth
    assert len(prompts.groups) == len(worth)
    sources = sorted(prompts.ids.index(row.prompt) for row in rows)
    covered = set()
    for group, of_rows in zip(prompts.groups, prompts.groups_of_rows(sources), strict=True):
        members = set(range(group.start, group.stop))
        (beginning,) = {prompts.ids[i][: prompts.shared[i]] for i in members}
        assert beginning in worth and len(beginning) == group.prefix.length and not members & covered
        assert of_rows.stop - of_rows.start >= (1 if few else SHARERS)
        assert {sources[i] for i in range(of_rows.start, of_rows.stop)} == members
        covered |= members
    assert all(prompts.shared[i] == 0 for i in set(range(len(prompts.ids))) - covered)
    assert sum(prompts.computed) == sum(prompts.own) + sum(map(len, worth))


MODEL = share(policy_of("qwen2")).model


def test_a_model_of_another_kind_is_computed_whole() -> None:
    policy = policy_of("qwen2")
    policy.model.config.layer_types = ["sliding_attention", "full_attention"]
    assert not is_supported(policy.model)
    policy = policy_of("llama")
    assert is_supported(policy.model)
    policy.model.config.rope_parameters = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    assert not is_supported(policy.model)
    policy = policy_of("qwen2")
    rows, decoding = batch(random.Random(4)), Decoding(6)
    written = {}
    for shared_prefix in (True, False):
        writer = BatchWriter(policy, 64, "cpu", shared_prefix)
        writer.start()
        written[shared_prefix] = writer.write(rows, decoding)
        writer.release()
    assert uncounted(written[True]) == written[False]
    assert any(completion.cached_tokens for completion in written[True])


def test_a_stopped_batch_stops_at_its_next_token() -> None:
    policy, lengths = share(policy_of("qwen2")), []

    def watch(written: torch.Tensor) -> bool:
        lengths.append(written.shape[1])
        return len(lengths) == 3

    complete_sharing(policy, batch(random.Random(5)), Decoding(40), PrefixCache(), None, watch)
    assert lengths == [1, 2, 3]


def test_the_stop_string_at_a_prompts_end_stops_nothing() -> None:
    policy = policy_of("qwen2")
    prompt = tuple(TOKENIZER(step_text(STEPS[0]))["input_ids"])
    (done,) = sharing(policy, [Row(prompt)], Decoding(10, stop=STEP_END))
    assert done.completion_tokens > 0
