"""The variational network: closed forms of the layer, the pool without rows, and a departure that no weight can make."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
import torch

from crypto_assets.fusion import variational
from crypto_assets.fusion.checkpoint import FusionCheckpoint
from crypto_assets.fusion.families import FAMILIES, expit
from crypto_assets.fusion.fitting import fit
from crypto_assets.fusion.fused import apply, entropy
from crypto_assets.fusion.pool import pool
from crypto_assets.market.errors import SettingsError
from crypto_assets_tests.fusion.planted import DIRECTION, START, World, days


def test_a_layer_draws_outputs_as_its_weights_would():
    """Local reparameterisation: the same mean and variance as drawing the weights."""
    torch.manual_seed(0)
    layer = variational.make(3, 2)
    x = torch.tensor([[1.0, -2.0, 0.5]])
    with torch.no_grad():
        layer.raw_OI.fill_(0.0)
        outputs = torch.stack([layer(x)[0] for _ in range(4000)])
        w, b = layer.drawn(4000)
        drawn = torch.einsum("soi,i->so", w, x[0]) + b
    np.testing.assert_allclose(outputs.mean(0), drawn.mean(0), atol=0.12)
    np.testing.assert_allclose(outputs.std(0), drawn.std(0), rtol=0.05)


def test_the_divergence_is_torchs():
    from torch.distributions import Normal, kl_divergence

    layer = variational.make(4, 3)
    found = 0.0
    for mean, raw in ((layer.mean_OI, layer.raw_OI), (layer.mean_O, layer.raw_O)):
        q = Normal(mean, torch.nn.functional.softplus(raw))
        found += kl_divergence(q, Normal(0.0, variational.PRIOR_SD)).sum().item()
    assert layer.divergence().item() == pytest.approx(found, rel=1e-5)


@pytest.mark.slow
def test_it_learns_what_weights_cannot_and_is_sure_of_what_it_has_seen():
    """The pool is right on one side of an input and upside down on the other."""
    g = np.random.default_rng(0)
    z, side = g.normal(size=6000), g.choice([-1.0, 1.0], size=6000)
    truth = z * side
    y = (g.random(6000) < expit(truth)).astype(float)
    x = np.column_stack([z, side])
    net = variational.fit(x, z, y, temper=1.0, samples=64, seed=0, config=variational.Config(steps=800, lr=0.03))
    drawn = variational.drawn(net, x, z)
    loss = FAMILIES["bernoulli"].loss
    assert loss(drawn.mean(axis=0), y).mean() < loss(z, y).mean() - 0.1
    far = variational.drawn(net, 6 * x[:200], z[:200]).std(axis=0).mean()
    assert far > drawn[:, :200].std(axis=0).mean()


def test_the_same_seed_gives_the_same_draws():
    x, z, y = np.ones((50, 2)), np.zeros(50), np.tile([0.0, 1.0], 25)
    one, other = (variational.fit(x, z, y, temper=1.0, samples=8, seed=3, config=variational.Config.debug()) for _ in range(2))
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name])


@pytest.mark.slow
def test_the_head_is_chosen_by_name_and_travels_on_disk(tmp_path):
    """Where the pool is already right, the network stays near it; it is saved with the rest; another name is refused."""
    world = World(45, coins=4)
    members = {"one": world.member(0.4, 0.5), "other": world.member(0.4, 0.5)}
    outputs, versions = dict.fromkeys(members, DIRECTION), dict.fromkeys(members, "1")
    begin, labels = START + timedelta(days=40), world.cut(world.labels, 0, 40)
    told = {"start": begin, "outputs": outputs, "versions": versions}
    learned = fit(days(members, 0, 40), labels, **told, head="variational")
    rest = {"members": days(members, 40), "labels": world.cut(world.labels, 40), "versions": versions, "cost": 0.0}
    made = apply(learned, **rest)
    again = apply(FusionCheckpoint.load(learned.save(tmp_path)), **rest)
    np.testing.assert_array_equal(made.forecast.p_up_HTN, again.forecast.p_up_HTN)
    np.testing.assert_allclose(made.aleatoric_HTN + made.epistemic_HTN, entropy(made.forecast.p_up_HTN), atol=1e-12)
    y, pooled = world.labels["ret_1h"][40 * 24 :] > 0, pool(list(days(members, 40).values())).p_up_HTN[0]

    def log_loss(p):
        return -np.log(np.where(y, p, 1 - p)).mean()

    assert log_loss(made.forecast.p_up_HTN[0]) < log_loss(pooled) + 2e-3
    with pytest.raises(SettingsError, match="unknown head"):
        fit(days(members, 0, 40), labels, **told, head="softmax")
