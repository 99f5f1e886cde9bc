"""Out of memory halves the work and not the gradient; the largest batch; what a training takes, by estimate."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from crypto_assets.market.errors import SettingsError
from crypto_assets.models.training import engine, memory, steps
from crypto_assets.models.training.device import DevicePanel
from crypto_assets.models.training.inference import Answerer
from crypto_assets.models.training.inputs import Inputs
from crypto_assets.models.transformer import Config, Module
from crypto_assets_tests.models import _planted

QUIET = replace(Config.debug(), dropout=0.0, feature_dropout=0.0, coin_dropout=0.0)
ROWS = (0, 480)


@pytest.fixture(scope="module")
def data() -> DevicePanel:
    panel = _planted.panel(500)
    return DevicePanel.build(
        panel, Inputs.fit(panel, lags=4, indicators=False).apply(panel), panel.symbols, torch.device("cpu")
    )


def learner(data, config=QUIET) -> steps.Learner:
    torch.manual_seed(0)
    module = Module(config, data.x_NTF.shape[-1], 3)
    return steps.Learner.of(module, torch.optim.SGD(module.parameters(), lr=0.1), ROWS, config.training)


def cramped(module, most: int):
    """The module on a machine that runs out of memory above `most` chunks."""

    def forward(batch):
        if len(batch.coin_B) > most:
            raise torch.OutOfMemoryError(f"{len(batch.coin_B)} chunks do not fit")
        return module(batch)

    return forward


def test_out_of_memory_halves_until_it_fits_and_the_gradient_stays(data):
    chunks = next(steps.Batches(data, ROWS, QUIET.training, seed=3))
    roomy, tight = learner(data), learner(data)
    tight.forward = cramped(tight.module, most=3)
    with pytest.warns(match="steps now in 4 parts"):
        losses = [steps.step(which, data, chunks).item() for which in (roomy, tight)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)
    for a, b in zip(roomy.module.parameters(), tight.module.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)
    assert (roomy.accumulate, tight.accumulate) == (1, 4)


def test_when_not_even_one_chunk_fits_it_says_what_to_do(data):
    stuck = learner(data)
    stuck.forward = cramped(stuck.module, most=0)
    with pytest.warns(match="in 8 parts"), pytest.raises(SettingsError, match="single chunk of 48 bars: set recompute"):
        steps.step(stuck, data, next(steps.Batches(data, ROWS, QUIET.training, seed=3)))


@pytest.mark.parametrize("limit", [1, 5, 8, 13, 16, 40])
def test_the_largest_batch_is_found_by_real_attempts(limit):
    tried: list[int] = []

    def attempt(batch: int) -> None:
        tried.append(batch)
        if batch > limit:
            raise torch.OutOfMemoryError

    assert memory.largest_batch(attempt, most=24) == min(limit, 24)
    assert len(tried) <= 10
    assert len(set(tried)) == len(tried)


def test_no_batch_at_all_is_an_error():
    def never(batch: int) -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(SettingsError, match="not even a batch of one"):
        memory.largest_batch(never, most=8)


def test_what_is_kept_for_the_backward_pass_is_counted_once_and_without_parameters():
    layer = torch.nn.Linear(10, 20)
    x = torch.randn(7, 10)
    assert memory.kept_bytes(lambda: layer(x).square().sum(), layer) == x.numel() * 4 + 7 * 20 * 4


def test_kept_bytes_grow_with_the_chunk_and_shrink_with_recompute(data):
    def chunk(config):
        module = Module(config, data.x_NTF.shape[-1], 3)
        return memory.estimate(module, data, config.training).chunk

    longer = replace(QUIET, training=replace(QUIET.training, chunk=96))
    assert chunk(longer) == pytest.approx(2 * chunk(QUIET), rel=0.02)
    assert chunk(replace(QUIET, recompute=True)) < 0.6 * chunk(QUIET)


def test_parts_are_the_fewest_that_fit():
    found = memory.Estimate(parameters=1000, panel=10**6, chunk=10**6)
    assert found.parts(16, budget=10**9) == 1
    for parts in (2, 4, 8, 16):
        assert found.parts(16, budget=found.total(16 // parts)) == parts
        assert found.total(16 // parts) < found.total(32 // parts)
    with pytest.raises(SettingsError, match="one chunk takes"):
        found.parts(16, budget=10**6)


def test_answers_may_be_asked_through_buffers_that_are_kept(data):
    module = learner(data).module
    ask, expected = Answerer(module), engine.answers(module, data, (40, 470))
    for _ in range(2):
        for found, wanted in zip(engine.answers(module, data, (40, 470), ask=ask), expected, strict=True):
            assert torch.equal(found, wanted)


def test_buffered_answers_are_the_nets_own(data):
    module = learner(data).module.eval()
    ask = Answerer(module)
    for start in (10, 60, 110):
        batch, _ = data.gather(*data.everyone(start, together=False), 40)
        kept = ask(batch)
        with torch.no_grad():
            for found, expected in zip(kept, module(batch), strict=True):
                assert torch.equal(found, expected)
    with torch.no_grad():
        module.readout.deep.bias.add_(1.0)
    assert not torch.equal(ask(batch).logits_BL4, kept.logits_BL4)
