"""The openai proposer against a real server: ``transformers serve`` with a model made here."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from learnat.benchmarks.generated import GeneratedBenchmark
from learnat.synthesis.growth import Budget
from learnat.synthesis.proposers.base import Request
from learnat.synthesis.proposers.chat import ChatPrompt
from learnat.synthesis.proposers.openai import OpenAIProposer
from learnat.synthesis.pruning import Included, Parses, Runs
from learnat.synthesis.reward import AstReward
from learnat.synthesis.runner import synthesize
from learnat.synthesis.search import MctsSearch
from learnat.synthesis.synthesizer import Synthesizer
from learnat.synthesis.tree import SearchTree, children, read_trees
from tests.synthesis.chat_model import make_chat_model
from tests.synthesis.model_server import ModelServer

pytestmark = pytest.mark.slow

QUESTIONS = 200
CONCURRENCY = 16
K = 2

PROMPT = {"schema_style": "compact", "samples": 0}


@pytest.fixture(scope="session")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> GeneratedBenchmark:
    return GeneratedBenchmark(
        cache_dir=tmp_path_factory.mktemp("generated"),
        num_databases=1,
        num_unseen_databases=1,
        train_questions=QUESTIONS,
        limit=QUESTIONS,
    )


def replies(benchmark: GeneratedBenchmark, count: int = 4) -> list[str]:
    """One step over one table each, of tables that the questions are about."""
    schema = benchmark.database(benchmark.examples("train")[0].db_id).schema
    steps = [
        {"sub_question": f"List the {table.name}s.", "sql": f"SELECT {table.columns[1].name} FROM {table.name}"}
        for table in schema.tables[:count]
    ]
    return [json.dumps({"steps": [step]}) for step in steps]


@pytest.fixture(scope="session")
def served(benchmark: GeneratedBenchmark, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    home = tmp_path_factory.mktemp("served")
    server = ModelServer(home / "model", home)
    schema = benchmark.database(benchmark.examples("train")[0].db_id).schema
    prompt = ChatPrompt(**PROMPT)  # type: ignore[arg-type]
    chats = [
        prompt.messages(Request(example, schema, (), K, 0, random.Random(0))) for example in benchmark.examples("train")
    ]
    make_chat_model(home / "model", chats, replies(benchmark))
    try:
        server.start()
        yield server
    finally:
        server.kill()


class WatchedProposer(OpenAIProposer):
    """Notes how many calls were under way at once."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._count_lock = threading.Lock()
        self._under_way = self._most = 0

    def propose(self, request: Request):  # type: ignore[no-untyped-def]
        with self._count_lock:
            self._under_way += 1
            self._most = max(self._most, self._under_way)
        try:
            return super().propose(request)
        finally:
            with self._count_lock:
                self._under_way -= 1


def trees_of(benchmark: GeneratedBenchmark, proposer: OpenAIProposer, folder: Path) -> list[SearchTree]:
    search = MctsSearch(k=K, budget=Budget(max_calls=2))
    synthesizer = Synthesizer(proposer, search, [Parses(), Runs(), Included()], AstReward())
    return list(read_trees(synthesize(benchmark, "train", synthesizer, folder)))


def test_questions_at_once_and_again_from_the_cache(
    benchmark: GeneratedBenchmark, served: ModelServer, tmp_path: Path
) -> None:
    def proposer(base_url: str) -> WatchedProposer:
        return WatchedProposer(
            served.name,
            base_url,
            concurrency=CONCURRENCY,
            max_reply_tokens=64,
            cache=tmp_path / "replies.sqlite",
            **PROMPT,  # type: ignore[arg-type]
        )

    asking = proposer(served.base_url)
    trees = trees_of(benchmark, asking, tmp_path / "asked")
    assert len(trees) == QUESTIONS and asking._most == CONCURRENCY
    calls = sum(tree.stats.calls for tree in trees)
    assert served.requests() == calls > QUESTIONS
    assert all(tree.stats.cached_calls == 0 and tree.stats.prompt_tokens > 0 for tree in trees)

    # What the model says are steps like those of an LLM: some right, some wrong, some worth nothing.
    nodes = [node for tree in trees for node in tree.nodes]
    assert {node.source for node in nodes} == {f"openai:{served.name}"}
    verdicts = Counter(node.pruned_by for node in nodes)
    assert verdicts[None] > QUESTIONS / 10 and verdicts["included"] > QUESTIONS / 10
    assert sum(not tree.nodes for tree in trees) < QUESTIONS / 4
    assert any(children(tree, node.id) for tree in trees for node in tree.nodes if node.included)

    # Nobody listens at the discard port: every reply comes from the cache.
    again = trees_of(benchmark, proposer("http://127.0.0.1:9/v1"), tmp_path / "again")
    assert served.requests() == calls
    assert sum(tree.stats.cached_calls for tree in again) == sum(tree.stats.calls for tree in again) == calls
    unpriced = {"seconds": 0.0, "cached_calls": 0}
    assert [replace(tree, stats=replace(tree.stats, **unpriced)) for tree in again] == [  # type: ignore[arg-type]
        replace(tree, stats=replace(tree.stats, **unpriced))  # type: ignore[arg-type]
        for tree in trees
    ]
