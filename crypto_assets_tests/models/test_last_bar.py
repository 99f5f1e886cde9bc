"""A net asked about its last bar alone, from what it kept of those before, against its pass over all of them."""

from __future__ import annotations

import pytest
import torch

from crypto_assets.models.registry import NETS
from crypto_assets.models.training.ensemble import Ensemble
from crypto_assets.models.training.heads import Net
from crypto_assets_tests.models import _nets


def one(name: str, seed: int) -> Net:
    """A net whose weights are all drawn at random."""
    net = _nets.module(name)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return net


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("name", NETS)
def test_the_last_bar_from_what_was_kept_is_the_last_bar_of_all(name, members):
    net = one(name, 1) if members == 1 else Ensemble([one(name, seed) for seed in range(members)])
    batch = _nets.batch(net, chunks=8)
    asked = batch.listed_BL[..., -1]
    assert 1 < asked.sum() < asked.numel()
    with torch.no_grad():
        expected, kept = _nets.at(net(batch), slice(-1, None)), net.keep(batch)
        found = net.last(batch.x_BLF[..., -1, :], batch.coin_B, asked, *kept)
        changed = torch.cat([batch.x_BLF[..., :-1, :], 9 + batch.x_BLF[..., -1:, :]], dim=-2)
        again = net.keep(batch._replace(x_BLF=changed))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a[asked], b[asked], rtol=1e-5, atol=1e-5)
        assert b[asked].std() > 0.01
    assert all(torch.equal(a, b) for a, b in zip(kept, again, strict=True)), "what is kept must not know the last bar"
