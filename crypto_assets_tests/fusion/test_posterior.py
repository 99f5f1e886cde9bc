"""The posterior of the weights: closed forms, another solver, and NUTS."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import truncnorm

from crypto_assets.fusion.families import FAMILIES, expit
from crypto_assets.fusion.posterior import Posterior, Prior, _gibbs, fit, nonnegative, sample, temper

FREE = -1e6


def rows(family: str, R: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    g = np.random.default_rng(seed)
    x = np.column_stack([np.ones(R), g.normal(size=(R, 3))])
    z = x @ [0.1, 0.8, 0.3, -0.4]
    if family == "bernoulli":
        return x, (g.random(R) < expit(z)).astype(float)
    return x, z + (np.log(g.gamma(2, 0.5, size=R)) if family == "gamma" else g.normal(size=R))


def prior(low: float = 0.0) -> Prior:
    return Prior(np.array([0.0, 0.3, 0.3, 0.3]), np.diag([100.0, 4.0, 4.0, 4.0]), np.array([-5.0, low, low, low]))


@pytest.mark.parametrize("family", list(FAMILIES))
def test_slope_and_curvature_are_the_derivatives_of_the_loss(family):
    f, e = FAMILIES[family], 1e-5
    z, y = np.linspace(-2, 2, 9), np.tile([0.0, 1.0, 0.4], 3)
    np.testing.assert_allclose(f.slope(z, y), (f.loss(z + e, y) - f.loss(z - e, y)) / (2 * e), atol=1e-8)
    np.testing.assert_allclose(f.curvature(z, y), (f.slope(z + e, y) - f.slope(z - e, y)) / (2 * e), atol=1e-8)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_mode_is_that_of_a_general_optimiser(family):
    x, y = rows(family)
    p = prior()
    found = fit(x, y, FAMILIES[family], p, temper=0.5)

    def objective(w):
        d = w - p.mean
        return 0.5 * np.sum(FAMILIES[family].loss(x @ w, y)) + 0.5 * d @ p.precision @ d

    best = minimize(objective, p.mean, bounds=[(low, None) for low in p.low], method="L-BFGS-B", options={"ftol": 1e-14})
    np.testing.assert_allclose(found.mode, best.x, atol=2e-4)
    assert found.mode[3] == 0, "the member that is wrong way round is switched off"


def test_a_gaussian_posterior_is_the_closed_form():
    x, y = rows("gaussian")
    p = prior(FREE)
    found = fit(x, y, FAMILIES["gaussian"], p, temper=1.0)
    precision = p.precision + x.T @ x
    np.testing.assert_allclose(found.precision, precision)
    np.testing.assert_allclose(found.mode, np.linalg.solve(precision, p.precision @ p.mean + x.T @ y), rtol=1e-8)


def test_without_rows_the_posterior_is_the_prior():
    p = prior()
    found = fit(np.empty((0, 4)), np.empty(0), FAMILIES["bernoulli"], p, temper=1.0)
    np.testing.assert_allclose(found.mode, p.mean)
    np.testing.assert_allclose(found.precision, p.precision)


def test_nonnegative_solves_the_conditions_of_the_optimum():
    g = np.random.default_rng(3)
    for _ in range(20):
        a = g.normal(size=(6, 6))
        P, c, low = a @ a.T + 0.1 * np.eye(6), g.normal(size=6), np.zeros(6)
        w = nonnegative(P, c, low)
        slope = P @ (w - c)
        assert (w >= 0).all()
        assert (slope > -1e-8).all()
        assert abs(slope @ w) < 1e-8


@pytest.mark.parametrize("draw", [sample, lambda *a: _gibbs(*a, sweeps=60)[0]])
def test_draws_are_those_of_a_normal_cut_off_at_zero(draw):
    centre, width, low = np.array([0.5, -0.4]), np.array([0.3, 0.2]), np.zeros(2)
    posterior = Posterior(np.maximum(centre, 0), centre, np.diag(1 / width**2), low)
    drawn = draw(posterior, 4000, np.random.default_rng(0))
    for i in range(2):
        truth = truncnorm((0 - centre[i]) / width[i], np.inf, centre[i], width[i])
        assert abs(drawn[:, i].mean() - truth.mean()) < 4 * truth.std() / np.sqrt(4000)
        assert abs(drawn[:, i].std() / truth.std() - 1) < 0.06


def test_temper_finds_rows_that_are_repeated():
    """Ten equal rows in a block are worth one."""
    g = np.random.default_rng(0)
    x = np.repeat(np.column_stack([np.ones(3000), g.normal(size=3000)]), 10, axis=0)
    y = np.repeat((g.random(3000) < 0.5).astype(float), 10)
    f, z = FAMILIES["bernoulli"], np.zeros(30000)
    assert temper(x, f.slope(z, y), f.curvature(z, y), np.repeat(np.arange(3000), 10), 0.1) == pytest.approx(0.1, rel=0.1)
    assert temper(x[::10], f.slope(z, y)[::10], f.curvature(z, y)[::10], np.arange(3000), 0.1) == pytest.approx(1, rel=0.1)


@pytest.mark.slow
def test_laplace_agrees_with_nuts():
    """Means within a quarter of a posterior standard deviation, standard deviations within 15 %, one bound active."""
    import pyro
    import pyro.distributions as dist
    import torch
    from pyro.infer import MCMC, NUTS

    x, y = rows("bernoulli", R=300)
    p = prior()
    drawn = sample(fit(x, y, FAMILIES["bernoulli"], p, temper=0.7), 4000, np.random.default_rng(0))
    X, Y, m = (torch.as_tensor(a) for a in (x, y, p.mean))
    sd = torch.as_tensor(1 / np.sqrt(np.diag(p.precision)))

    def model():
        b = pyro.sample("b", dist.Normal(m[0], sd[0]))
        w = pyro.sample("w", dist.Uniform(torch.zeros(3, dtype=X.dtype), 5.0).to_event(1))
        pyro.factor("prior", dist.Normal(m[1:], sd[1:]).log_prob(w).sum())
        z = b + X[:, 1:] @ w
        pyro.factor("data", 0.7 * dist.Bernoulli(logits=z).log_prob(Y).sum())

    pyro.set_rng_seed(0)
    chain = MCMC(NUTS(model, jit_compile=True, ignore_jit_warnings=True), 1500, 300, disable_progbar=True)
    chain.run()
    found = chain.get_samples()
    truth = np.column_stack([found["b"].numpy(), found["w"].numpy()])
    np.testing.assert_allclose(drawn.mean(axis=0), truth.mean(axis=0), atol=0.25 * truth.std(axis=0).max())
    np.testing.assert_allclose(drawn.std(axis=0), truth.std(axis=0), rtol=0.15)
