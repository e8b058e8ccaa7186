"""Search trees of real questions: packed tries give the loss and the gradients of plain padded rows."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from learnat.benchmarks.spider import SpiderBenchmark
from learnat.synthesis.proposers.ast import AstProposer
from learnat.synthesis.pruning import Depth, Duplicate, Included, Parses, Progress, Runs
from learnat.synthesis.reward import AstReward
from learnat.synthesis.runner import synthesize
from learnat.synthesis.search import MctsSearch
from learnat.synthesis.synthesizer import Synthesizer
from learnat.training.datamodule import DecompositionDataModule
from learnat.training.encoding import PromptEncoder
from learnat.training.losses import MadpoLoss, SftLoss
from learnat.training.modules import PolicyModule, PreferenceModule, SftModule
from learnat.training.optimizers import adamw, warmup_cosine
from learnat.training.packing import Packing
from learnat.training.prompts import PromptStyle, example_text
from learnat.training.reference import reference_logprobs
from learnat.training.selection import PairSelection
from learnat.training.tokenizer import train_tokenizer
from tests.training.conftest import tiny_model, use_float64_norms

QUESTIONS = 12
PACKED = Packing("packed", questions_per_trie=QUESTIONS, databases_per_step=1, token_budget=4000)


@pytest.fixture(scope="module")
def benchmark(learnat_data: Path) -> SpiderBenchmark:
    return SpiderBenchmark(learnat_data / "spider", missing="skip", limit=QUESTIONS)


@pytest.fixture(scope="module")
def trees(benchmark: SpiderBenchmark, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rules = (Parses(), Runs(), Included(), Duplicate(), Progress(), Depth(8))
    synthesizer = Synthesizer(AstProposer(orders=2), MctsSearch(), rules, AstReward(), seed=1)
    return synthesize(benchmark, "train", synthesizer, tmp_path_factory.mktemp("trees"))


@pytest.fixture(scope="module")
def encoder(benchmark: SpiderBenchmark) -> PromptEncoder:
    style = PromptStyle("ddl", 0)
    examples = benchmark.examples("train")
    texts = [style.database_text(benchmark.database(example.db_id)) + example_text(example) for example in examples]
    return PromptEncoder(train_tokenizer(texts, 1000), style)


def loss_and_gradients(data: DecompositionDataModule, packing: Packing, preference: bool) -> tuple[Tensor, Tensor, int]:
    """Of the first optimiser step of a fresh float64 model; last the tokens fed to it."""
    model = tiny_model(vocabulary=len(data.encoder.tokenizer))
    use_float64_norms(model)
    data.packing = packing
    packs = next(iter(data.train_dataloader()))
    kind, loss = (PreferenceModule, MadpoLoss(nll_weight=0.3)) if preference else (SftModule, SftLoss())
    module: PolicyModule = kind(
        model, loss, optimizer=partial(adamw, lr=1e-3), schedule=warmup_cosine, gradient_clip=0.0, total_steps=1
    )
    total = module.step_total(packs)
    losses = [module.pack_loss(batch, total)[0] for batch in packs]
    torch.stack(losses).sum().backward()
    gradients = nn.utils.parameters_to_vector(parameter.grad for parameter in model.parameters())
    return torch.stack(losses).sum().detach(), gradients, sum(batch.tokens for batch in packs)


@pytest.mark.parametrize("preference", [False, True], ids=["sft", "preference"])
def test_spider_trees_packed_equal_padded(
    benchmark: SpiderBenchmark, trees: Path, encoder: PromptEncoder, preference: bool
) -> None:
    selection = PairSelection(rejected_per_step=2) if preference else None
    data = DecompositionDataModule(lambda: trees, benchmark, "train", encoder, PACKED, 4096, 1, 2, selection)
    data.setup()
    if preference:
        reference = tiny_model(vocabulary=len(encoder.tokenizer))
        use_float64_norms(reference)
        reference.get_output_embeddings().weight.data *= 0.9  # a policy that has left its reference
        batches = map(data.reference_batch, data.reference_tries())
        data.set_reference(reference_logprobs(reference, batches, "cpu", lambda count: None))
    loss, gradients, tokens = loss_and_gradients(data, PACKED, preference)
    padded = replace(PACKED, layout="padded", length_bucket=8)
    expected, expected_gradients, padded_tokens = loss_and_gradients(data, padded, preference)
    assert 1.5 * tokens < padded_tokens
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
    assert (gradients - expected_gradients).norm() <= 1e-10 * expected_gradients.norm()
