"""The graph network: torch_geometric computes the same numbers, and an edge is what one coin hears another by."""

from __future__ import annotations

import pytest
import torch

from crypto_assets.models.graph import Attention, Exchange
from crypto_assets.models.training.edges import NUMBERS
from crypto_assets_tests.models import _nets


@pytest.fixture(scope="module")
def module():
    return _nets.module("graph")


@pytest.fixture(scope="module")
def batch(module):
    return _nets.batch(module)


def test_lists_of_edges_in_torch_geometric_give_the_same_numbers_and_gradients(module, batch):
    sparse = _nets.module("graph", sparse=True)
    sparse.load_state_dict(module.state_dict())
    for a, b in zip(module(batch), sparse(batch), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    for net in (module, sparse):
        net.zero_grad()
        net(batch).logits_BL4.square().mean().backward()
    for (name, a), b in zip(module.named_parameters(), sparse.parameters(), strict=True):
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, atol=1e-6, rtol=1e-3, msg=name)


def test_parameters_are_named_as_in_torch_geometric():
    from torch_geometric.nn import GATv2Conv

    theirs = GATv2Conv(16, 8, heads=2, edge_dim=len(NUMBERS), add_self_loops=False)
    assert {k: v.shape for k, v in theirs.state_dict().items()} == {
        k: v.shape for k, v in Attention(16, 2).state_dict().items()
    }


def test_who_has_no_edge_and_no_market_hears_itself_alone(module, batch):
    exchange = module.blocks[0].exchange
    assert isinstance(exchange, Exchange)
    h, listed = torch.randn(6, 3, 16), torch.ones(6, 3, dtype=torch.bool)
    edges = torch.zeros(6, 3, 3, 2)
    edges[:, 0, 1, 1] = 0.5  # to coin 0 from coin 1

    def heard(h):
        z = exchange.norm(h)
        return exchange.by_pairs(z, *exchange.open(edges, listed))

    louder = h.clone()
    louder[:, 1] = torch.randn(6, 16)
    before, after = heard(h), heard(louder)
    assert not torch.allclose(before[:, 0], after[:, 0])
    assert torch.equal(before[:, 2], after[:, 2])


def test_attention_is_readable_and_sums_to_one_for_listed_coins(module, batch):
    weights = module.attention(batch)
    assert weights.shape == (2, *batch.edges_BLNNR.shape[:-1], 2)
    listed = batch.listed_BL.transpose(1, 2)
    torch.testing.assert_close(weights.sum(dim=4)[:, listed], torch.ones(2, int(listed.sum()), 2))
    assert (weights.sum(dim=4)[:, ~listed] == 0).all()


def test_fifty_coins_fit():
    net = _nets.module("graph")
    batch = _nets.batch(net, answered=4, chunks=1)
    many = batch._replace(
        x_BLF=torch.randn(1, 50, 4, 7),
        coin_B=torch.zeros(1, 50, dtype=torch.int64),
        listed_BL=torch.ones(1, 50, 4, dtype=torch.bool),
        edges_BLNNR=torch.rand(1, 4, 50, 50, 2),
    )
    assert torch.isfinite(net(many).logits_BL4).all()


def test_a_memory_is_an_average_of_its_last_bars(module):
    memory = module.blocks[1].memory
    weights = memory.weights(60)
    life = memory.log_life.exp()
    assert (weights[:, 10, 11:] == 0).all()
    assert (weights[:, 59, : 60 - memory.kernel] == 0).all()
    torch.testing.assert_close(weights[:, 59, 58] / weights[:, 59, 59], torch.exp(-1 / life))
    torch.testing.assert_close(weights[:, 59].sum(dim=-1), 1 - torch.exp(-memory.kernel / life))
