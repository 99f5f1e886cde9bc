"""Calibration: each kind finds what was done to the truth, a proper score chooses between them, and a ranking is kept."""

from __future__ import annotations

import numpy as np
import pytest

from crypto_assets.fusion.calibration import KINDS, choose, fit
from crypto_assets.fusion.families import expit


def rows(distort, R: int = 40_000, seed: int = 0):
    """(distorted logits, outcomes of the true ones, true logits)."""
    g = np.random.default_rng(seed)
    z = g.normal(size=R) * 0.8
    return distort(z), (g.random(R) < expit(z)).astype(float), z


@pytest.mark.parametrize(
    ("distort", "kind"),
    [(lambda z: z, "none"), (lambda z: 2 * z, "temperature"), (lambda z: np.where(z > 0, 3 * z, z / 3) + 0.4, "isotonic")],
)
def test_the_kind_that_undoes_the_distortion_is_chosen(distort, kind):
    z, y, truth = rows(distort)
    found, scores = choose(z, y, 1.0)
    assert found.kind == kind
    assert set(scores) == set(KINDS)
    assert np.abs(expit(found.logit(z)) - expit(truth)).mean() < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_a_calibrator_keeps_the_ranking(kind):
    z, y, _ = rows(lambda z: 1.5 * z)
    calibrated = fit(kind, z, y, 1.0).logit(np.sort(z))
    assert (np.diff(calibrated) >= 0).all()
    assert np.isfinite(calibrated).all()


def test_few_rows_change_nothing():
    z, y, _ = rows(lambda z: 3 * z, R=300)
    assert choose(z, y, 1.0)[0].kind == "none"


def test_isotonic_is_scikit_learns_where_every_row_is_a_bin():
    from scipy.optimize import isotonic_regression
    from sklearn.isotonic import IsotonicRegression

    g = np.random.default_rng(0)
    y, w = g.random(50), g.random(50)
    np.testing.assert_allclose(
        isotonic_regression(y, weights=w).x, IsotonicRegression().fit(np.arange(50), y, w).predict(np.arange(50))
    )
