"""The openai proposer against a server that fails in every way: no question is lost, every failure has its reason."""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from learnat.errors import LearnatError
from learnat.synthesis.demonstrations import Demonstration, MaskedQuestionPool
from learnat.synthesis.growth import Budget
from learnat.synthesis.proposers.base import Request, Unanswered
from learnat.synthesis.proposers.openai import OpenAIProposer
from learnat.synthesis.proposers.spending import RunBudget
from learnat.synthesis.pruning import Included, Parses, Runs
from learnat.synthesis.reward import AstReward
from learnat.synthesis.runner import synthesize
from learnat.synthesis.search import MctsSearch
from learnat.synthesis.settings import describe
from learnat.synthesis.synthesizer import Synthesizer
from learnat.synthesis.tree import SearchTree, Step, read_trees
from tests.synthesis.conftest import QUESTIONS, SCHEMA, SmallBenchmark
from tests.synthesis.faulty_server import Fault, FaultyServer, serving

CONF = Path(__file__).parents[2] / "conf"

Serve = Callable[..., FaultyServer]
Propose = Callable[..., OpenAIProposer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server whose n-th prompt meets, one after the other, the n-th of the given lists of faults."""
    running: list[Any] = []

    def start(*faults: list[Fault], others: Fault = "ok") -> FaultyServer:
        def plan(prompt: int, request: int) -> Fault:
            planned = faults[prompt] if prompt < len(faults) else []
            return planned[request] if request < len(planned) else others

        running.append(serving(plan))
        return running[-1].__enter__()

    yield start
    for context in running:
        context.__exit__(None, None, None)


@pytest.fixture
def proposer_of() -> Iterator[Propose]:
    """Makes proposers, and closes them."""
    made: list[OpenAIProposer] = []

    def make(server: FaultyServer, **settings: Any) -> OpenAIProposer:
        options = {"concurrency": 4, "timeout_s": 3.0, "attempts": 3, **settings}
        made.append(OpenAIProposer("m", server.base_url, **options))
        return made[-1]

    yield make
    for proposer in made:
        proposer.close()


def request_of(number: int = 0, k: int = 2, sample: int = 0) -> Request:
    example = SmallBenchmark(None).examples("train")[number]
    return Request(example, SCHEMA, (), k, sample, random.Random(0))


def trees_of(benchmark: SmallBenchmark, proposer: OpenAIProposer, folder: Path) -> list[SearchTree]:
    search = MctsSearch(k=1, budget=Budget(max_calls=4))
    synthesizer = Synthesizer(proposer, search, [Parses(), Runs(), Included()], AstReward())
    return list(read_trees(synthesize(benchmark, "train", synthesizer, folder, workers=1)))


FAULTS: dict[Fault, str] = {
    "429": "http 429",
    "500": "http 500",
    "hang": "timed out",
    "drip": "timed out",
    "dropped": "connection failed",
    "broken JSON": "response is no JSON",
    "wrong schema": "response without a message",
    "no message": "response without a message",
    "prose": "not JSON",
    "cut off": "truncated",
    "half of it": "step without SQL",
}
"""What happens to the first request of each of the questions, and the reason that is counted for it."""


def test_no_question_is_lost_and_every_failure_is_counted(
    serve: Serve, proposer_of: Propose, benchmark_of_music: SmallBenchmark, tmp_path: Path
) -> None:
    assert len(FAULTS) == len(QUESTIONS)
    server = serve(*([fault] for fault in FAULTS))
    # Long enough for a busy machine, so that only what hangs is timed out.
    settings = {"cache": tmp_path / "replies.sqlite", "timeout_s": 3.0}
    trees = trees_of(benchmark_of_music, proposer_of(server, **settings), tmp_path)
    assert len(trees) == len(QUESTIONS) and all(tree.stats.solved for tree in trees)

    counted = sum((Counter(tree.stats.rejected) for tree in trees), Counter())
    assert counted == Counter(FAULTS.values())
    assert json.loads((tmp_path / "summary.json").read_text())["rejected"] == dict(sorted(counted.items()))
    assert server.count == 2 * len(QUESTIONS)

    gaps = {fault: later - first for fault, (first, later) in zip(FAULTS, server.requests.values(), strict=True)}
    assert gaps["429"] >= 1.0  # Retry-After; the back-off alone would be half of it
    # Replies without a step are not asked for again within a call, but by the search, with the next sample index.
    calls = {tree.stats.calls for tree in trees if set(tree.stats.rejected) & {"not JSON", "truncated"}}
    assert calls == {2}

    # All of it from the cache, also the replies without a step.
    again = trees_of(benchmark_of_music, proposer_of(server, **settings), tmp_path / "again")
    assert server.count == 2 * len(QUESTIONS)
    assert [tree.nodes for tree in again] == [tree.nodes for tree in trees]
    assert all(tree.stats.cached_calls == tree.stats.calls for tree in again)


def test_a_question_without_an_answer_is_asked_again_by_a_rerun(
    serve: Serve, proposer_of: Propose, benchmark_of_music: SmallBenchmark, tmp_path: Path
) -> None:
    # One question at a time, so that the second one is the second.
    server = serve([], ["500", "wrong schema"])
    settings = {"attempts": 2, "concurrency": 1}
    with pytest.raises(LearnatError, match=r"1 question got no answer.*http 500: 1.*response without a message: 1"):
        trees_of(benchmark_of_music, proposer_of(server, **settings), tmp_path)
    assert len(list(read_trees(tmp_path / "trees.jsonl"))) == len(QUESTIONS) - 1
    before = server.count
    trees = trees_of(benchmark_of_music, proposer_of(server, **settings), tmp_path)
    assert server.count == before + 1
    assert all(tree.stats.solved for tree in trees) and len(trees) == len(QUESTIONS)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("429", "http 429"), ("500", "http 500"), ("hang", "timed out"), ("dropped", "connection failed")],
)
def test_after_all_attempts_a_call_is_unanswered(serve: Serve, proposer_of: Propose, fault: Fault, reason: str) -> None:
    server = serve(others=fault)
    with pytest.raises(Unanswered) as raised:
        proposer_of(server, attempts=2, timeout_s=0.3).propose(request_of())
    assert raised.value.reasons == (reason, reason) and server.count == 2


def test_attempts_bound_errors_and_unreadable_responses_together(serve: Serve, proposer_of: Propose) -> None:
    server = serve(["500", "broken JSON", "500", "ok"])
    with pytest.raises(Unanswered) as raised:
        proposer_of(server, attempts=3).propose(request_of())
    assert raised.value.reasons == ("http 500", "response is no JSON", "http 500")


@pytest.mark.parametrize(("fault", "reason"), [("too long", "prompt too long"), ("filtered", "refused")])
def test_what_the_server_never_answers_costs_the_call_only(
    serve: Serve, proposer_of: Propose, fault: Fault, reason: str
) -> None:
    proposals = proposer_of(serve(others=fault)).propose(request_of())
    assert (proposals.proposals, proposals.rejected) == ((), (reason,))


@pytest.mark.parametrize(
    ("fault", "settings", "message"),
    [
        ("401", {"api_key_env": "LEARNAT_TEST_KEY"}, r"refused the key \(http 401.*LEARNAT_TEST_KEY"),
        ("401", {}, "refused the key.*proposer.api_key_env=NAME"),
        ("404", {}, "no model 'm'.*proposer.model=NAME"),
        ("400", {}, r"http 400.*response_format is not supported.*conf/proposer/openai.yaml says which"),
        ("quota", {"attempts": 1}, "quota is used up"),
    ],
)
def test_what_holds_for_all_calls_ends_the_run(
    serve: Serve,
    proposer_of: Propose,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    settings: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.setenv("LEARNAT_TEST_KEY", "secret")
    server = serve(others=fault)
    with pytest.raises(LearnatError, match=message) as raised:
        proposer_of(server, **settings).propose(request_of())
    assert server.base_url in str(raised.value) and "the same command goes on" in str(raised.value)
    assert server.count == 1


def test_a_server_that_is_not_there_ends_the_run(serve: Serve, proposer_of: Propose) -> None:
    with serving(lambda *_: "ok") as gone:
        proposer = proposer_of(gone, attempts=2)
    with pytest.raises(LearnatError, match=r"cannot be reached.*proposer\.base_url=URL"):
        proposer.propose(request_of())


def test_the_key_comes_from_the_environment_and_is_no_setting(
    serve: Serve, proposer_of: Propose, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    proposer = proposer_of(server, api_key_env="LEARNAT_TEST_KEY")
    with pytest.raises(LearnatError, match=r"environment variable LEARNAT_TEST_KEY.*is not set"):
        proposer.propose(request_of())
    monkeypatch.setenv("LEARNAT_TEST_KEY", "secret")
    assert proposer.propose(request_of()).proposals
    assert server.keys == {"Bearer secret"}
    settings = describe(proposer)
    assert "secret" not in json.dumps(settings)
    assert settings["model"] == "m" and settings["sees_gold"] is True
    assert not {"base_url", "api_key_env", "concurrency", "timeout_s", "attempts", "budget", "cache"} & set(settings)


def test_without_the_extra_the_message_says_what_to_install(
    serve: Serve, proposer_of: Propose, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("openai", "learnat.synthesis.proposers.chat_client", "learnat.synthesis.proposers.chat_server"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(LearnatError, match=r"pip install -e '\.\[openai\]'"):
        proposer_of(serve()).propose(request_of())


def test_what_is_sent(serve: Serve, proposer_of: Propose) -> None:
    server = serve()
    proposer = proposer_of(server, seed=7, send_seed=True, extra_body={"top_p": 0.5}, max_reply_tokens=99)
    proposals = proposer.propose(request_of(1, sample=2))
    body = server.bodies[0]
    assert {name: body[name] for name in ("model", "seed", "top_p", "max_tokens", "temperature")} == {
        "model": "m",
        "seed": 9,
        "top_p": 0.5,
        "max_tokens": 99,
        "temperature": 0.8,
    }
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["steps"]
    assert (proposals.prompt_tokens, proposals.completion_tokens, proposals.cached) == (100, 10, False)
    [proposal] = proposals.proposals
    assert (proposal.sql, proposal.source, proposal.final) == (QUESTIONS[1][1], "openai:m", "execution")

    plain = proposer_of(server, response_format="text", temperature=None, max_reply_tokens=None)
    plain.propose(request_of())
    assert set(server.bodies[1]) == {"model", "messages"}


def test_each_sample_is_asked_for_once(serve: Serve, proposer_of: Propose, tmp_path: Path) -> None:
    server = serve(["prose"])
    path = tmp_path / "replies.sqlite"
    first = proposer_of(server, cache=path)
    asked = [first.propose(request_of(sample=sample)) for sample in (0, 1)]
    assert [len(proposals.proposals) for proposals in asked] == [0, 1] and server.count == 2
    # The settings that may change do not matter to the cache: no server, no key is needed.
    known = OpenAIProposer("m", "http://127.0.0.1:9/v1", api_key_env="LEARNAT_NO_KEY", cache=path)
    for sample, before in enumerate(asked):
        now = known.propose(request_of(sample=sample))
        assert now.cached and not before.cached
        assert (now.proposals, now.rejected, now.prompt_tokens) == (before.proposals, before.rejected, 100)
    known.close()
    other = proposer_of(server, cache=path, sees_gold=True, temperature=0.1)
    assert not other.propose(request_of()).cached


def test_no_more_calls_than_allowed_are_in_flight(serve: Serve, proposer_of: Propose) -> None:
    server = serve(others="hang")
    proposer = proposer_of(server, concurrency=2, timeout_s=60)
    reasons: list[tuple[str, ...]] = []

    def ask(number: int) -> None:
        with pytest.raises(Unanswered) as raised:
            proposer.propose(request_of(number))
        reasons.append(raised.value.reasons)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while server.count < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    assert server.count == 2

    # Closing ends the wait of all of them at once, and of those that come later.
    start = time.monotonic()
    proposer.close()
    for thread in threads:
        thread.join()
    assert time.monotonic() - start < 5
    ask(0)
    assert reasons == [("given up",)] * 6 and server.count == 2


def test_a_spent_budget_ends_the_run_and_a_rerun_goes_on(
    serve: Serve, proposer_of: Propose, benchmark_of_music: SmallBenchmark, tmp_path: Path
) -> None:
    server = serve()
    cache = tmp_path / "replies.sqlite"
    # 110 tokens a reply: 0.00012 at these prices.
    budgets = [
        RunBudget(max_tokens=300),
        RunBudget(max_cost=0.0003, prompt_price=1.0, completion_price=2.0),
        RunBudget(max_tokens=600),
    ]
    messages = (r"max_tokens=300 is spent: 300 prompt and 30", "cost 0.00036")
    for budget, message in zip(budgets[:2], messages, strict=True):
        with pytest.raises(LearnatError, match=rf"{message}.*goes on"):
            trees_of(benchmark_of_music, proposer_of(server, concurrency=1, cache=cache, budget=budget), tmp_path)
    assert server.count == 6
    trees = trees_of(benchmark_of_music, proposer_of(server, concurrency=1, cache=cache, budget=budgets[2]), tmp_path)
    assert len(trees) == len(QUESTIONS) == server.count


@pytest.mark.parametrize(
    "settings",
    [{"max_tokens": 0}, {"max_cost": 1.0}, {"max_cost": -1.0, "prompt_price": 1.0}, {"prompt_price": -1.0}],
)
def test_a_budget_that_cannot_be_one(settings: dict[str, Any]) -> None:
    with pytest.raises(LearnatError, match=r"proposer\.budget\."):
        RunBudget(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "localhost:8000"},
        {"response_format": "json"},
        {"final": "exact"},
        {"granularity": "clauses"},
        {"temperature": -1},
        {"attempts": 0},
        {"concurrency": 0},
        {"timeout_s": 0},
        {"max_reply_tokens": 0},
    ],
)
def test_settings_are_checked(settings: dict[str, Any]) -> None:
    [key] = settings
    with pytest.raises(LearnatError, match=rf"proposer\.{key}="):
        OpenAIProposer("m", **settings)


class OneDemonstration:
    """A pool that shows the same solved question to all, and remembers what it was told."""

    round_size: int | None = 5

    def __init__(self) -> None:
        self._told: list[str] = []

    def add(self, trees: Any) -> None:
        self._told += [tree.example_id for tree in trees]

    def similar(self, example: Any, schema: Any) -> list[Demonstration]:
        return [Demonstration(f"Known: {len(self._told)}?", "", (Step("All?", "SELECT 1"),))]


def test_demonstrations_are_shown_and_the_pool_learns(
    serve: Serve, proposer_of: Propose, benchmark_of_music: SmallBenchmark, tmp_path: Path
) -> None:
    server = serve()
    pool = OneDemonstration()
    trees_of(benchmark_of_music, proposer_of(server, demonstrations=pool), tmp_path)
    shown = Counter(body["messages"][-1]["content"].split("Known: ")[1].split("?")[0] for body in server.bodies)
    assert shown == {"0": 5, "5": 5, "10": 1}
    assert pool._told == [f"train/{number}" for number in range(10)]


def composed(*overrides: str) -> Any:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        chosen = ["proposer=openai", "proposer.model=m", "cache_dir=cache", *overrides]
        return compose("synthesize", overrides=chosen).proposer


def test_config_defaults_are_the_class_s_own() -> None:
    cfg = composed()
    proposer = instantiate(cfg, _convert_="all")
    default = OpenAIProposer("m", cache="cache/replies.sqlite", seed=1)  # the seed is the run's
    for name in set(cfg) - {"_target_"}:
        assert getattr(proposer, name) == getattr(default, name), name
    assert {field.name for field in fields(OpenAIProposer)} == set(cfg) - {"_target_"}


def test_a_pool_of_demonstrations_is_chosen_as_a_group() -> None:
    proposer = instantiate(composed("proposer/demonstrations=masked_question"), _convert_="all")
    assert isinstance(proposer.demonstrations, MaskedQuestionPool)
    assert proposer.round_size == proposer.demonstrations.round_size


def test_runs_of_another_seed_have_replies_of_their_own(serve: Serve, proposer_of: Propose, tmp_path: Path) -> None:
    """Otherwise three seeds of a study would be the same run three times."""
    server = serve()
    for seed in (1, 2, 1):
        proposer_of(server, seed=seed, cache=tmp_path / "replies.sqlite").propose(request_of())
    assert server.count == 2
    assert all("seed" not in body for body in server.bodies)


@pytest.mark.parametrize("url", ["localhost:8000/v1", "http://", "http://localhost:80a0/v1", "ftp://host/v1", ""])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(LearnatError, match="no server's address"):
        OpenAIProposer("m", url)


def test_a_key_loses_the_line_s_end_and_one_that_is_none_is_named(
    serve: Serve, proposer_of: Propose, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    monkeypatch.setenv("LEARNAT_TEST_KEY", "secret\r\n")
    assert proposer_of(server, api_key_env="LEARNAT_TEST_KEY").propose(request_of()).proposals
    monkeypatch.setenv("LEARNAT_TEST_KEY", "kéy")
    with pytest.raises(LearnatError, match="LEARNAT_TEST_KEY holds characters that no key has"):
        proposer_of(server, api_key_env="LEARNAT_TEST_KEY").propose(request_of())
