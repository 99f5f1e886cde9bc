"""The Bi-LSTM: a window is what it sees, and where it looks in it can be read."""

from __future__ import annotations

import pytest
import torch

from crypto_assets.models.bi_lstm import Config, Module
from crypto_assets.models.training.device import Batch
from crypto_assets_tests.models import _nets


@pytest.fixture(scope="module")
def module():
    return _nets.module("bi_lstm")


def cut(batch: Batch, first: int, length: int) -> Batch:
    return batch._replace(x_BLF=batch.x_BLF[:, first : first + length], listed_BL=batch.listed_BL[:, first : first + length])


def test_windows_of_a_chunk_are_the_windows_one_by_one(module):
    batch = _nets.batch(module, answered=9)
    together = module(batch)
    for at in range(9):
        alone = module(cut(batch, at, module.window))
        for a, b in zip(_nets.at(together, slice(at, at + 1)), alone, strict=True):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_every_bar_of_the_window_is_seen_by_both_directions(module):
    batch = _nets.batch(module, answered=1, listed=1.0)
    before = module(batch).logits_BL4
    for bar in range(module.window):
        x = batch.x_BLF.clone()
        x[:, bar] += 3.0
        assert not torch.equal(module(batch._replace(x_BLF=x)).logits_BL4, before), bar
    assert module.lstm.bidirectional


def test_attention_is_readable_and_skips_what_is_not_listed(module):
    batch = _nets.batch(module, answered=5, listed=1.0)
    batch.listed_BL[:, 2:4] = False  # the second patch of the first window
    weights = module.attention(batch)
    assert weights.shape == (4, 5, module.window // module.patch)
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, 5))
    assert (weights[:, 0, 1] == 0).all()
    assert (weights[:, 0, [0, 2]] > 0).all()


def test_a_window_is_a_whole_number_of_patches():
    with pytest.raises(ValueError, match="no whole number"):
        Module(Config(window=13, patch=4), 3, 2)
