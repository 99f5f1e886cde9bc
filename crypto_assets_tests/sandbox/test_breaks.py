"""A break at a known hour: nothing before it changes, and the oracle is exact on both sides of it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.stats import multivariate_normal

from crypto_assets.market.coins import DEFAULT_SYMBOLS
from crypto_assets.market.errors import SettingsError
from crypto_assets.market.time import DAY, HOUR
from crypto_assets.sandbox.planting import CORE, FACTOR_SHARE, LATENT_TEXT_SD, PLANTED, REGIME_STAY, Break
from crypto_assets.sandbox.simulator import EPOCH, SimulatedMarket

AT = EPOCH + 300 * DAY + 7 * HOUR
END = EPOCH + 800 * DAY


@pytest.fixture(scope="module")
def broken() -> SimulatedMarket:
    return SimulatedMarket("standard", 7, breaks=(Break(AT),))


def after(market: SimulatedMarket) -> pl.DataFrame:
    """Oracle and whether the next bar rose, from the break on, for the default coins without bars of an outage."""
    frame = market.oracle(AT, END).join(market.truth(AT, END), on=["symbol", "ts"])
    frame = frame.filter(pl.col("symbol").is_in(DEFAULT_SYMBOLS), pl.col("next_e") != 0)
    return frame.with_columns(up=(pl.col("next_e") > 0).cast(pl.Float64))


def test_before_the_break_everything_is_as_without_it(broken, standard):
    start = AT - 40 * DAY
    published = pl.col("available_at") <= AT
    without = standard.tables(start, AT)
    for name, rows in broken.tables(start, AT).items():
        assert_frame_equal(rows.filter(published), without[name].filter(published), check_exact=True)
    assert_frame_equal(broken.oracle(start, AT), standard.oracle(start, AT), check_exact=True)


def test_at_the_break_the_first_bar_moves_by_the_turned_mean(broken, standard):
    """Published drivers and shocks are the same, so the first two returns differ by twice the mean that was planted."""
    k = (AT - EPOCH) // HOUR
    old, new = standard._path.upto(k + 1), broken._path.upto(k + 1)
    turned = old["known"][k] + old["latent"][k] + PLANTED["standard"].a[2] * old["regime"][k] * old["last_e"][k]
    np.testing.assert_allclose(old["e"][k] - new["e"][k], 2 * turned, atol=1e-12)
    np.testing.assert_array_equal(old["e"][k - 1], new["e"][k - 1])


def test_after_the_break_every_probability_is_the_frequency_that_happens(broken):
    frame = after(broken).with_columns(residual=pl.col("up") - pl.col("p_up"), bin=pl.col("p_up").qcut(10))
    for _, part in frame.group_by("bin"):
        spread = np.sqrt((part.group_by("ts").agg(pl.col("residual").sum())["residual"] ** 2).sum())
        assert abs(part["residual"].sum()) < 3 * spread


def test_the_regime_filter_goes_through_the_break_as_bayes_rule_does():
    at = EPOCH + 100 * HOUR
    arrays = SimulatedMarket("standard", 3, breaks=(Break(at, "realistic"),))._path.upto(400)
    probability = 0.5
    for k in range(400):
        a1, _, a3, a4 = PLANTED["standard" if k < 100 else "realistic"].a
        assert arrays["p_regime"][k] == pytest.approx(probability, abs=1e-9)
        there = np.flatnonzero(~arrays["halted"][k, :CORE])
        spread = ((a1 + a4 * arrays["funding"][k, there]) * LATENT_TEXT_SD) ** 2
        covariance = FACTOR_SHARE + np.diag(1 - FACTOR_SHARE + spread)
        e, known, last = (arrays[name][k, there] for name in ("e", "known", "last_e"))
        up, down = (multivariate_normal.pdf(e, known + z * a3 * last, covariance) for z in (1, -1))
        posterior = probability * up / (probability * up + (1 - probability) * down)
        probability = REGIME_STAY * posterior + (1 - REGIME_STAY) * (1 - posterior)


def test_a_break_to_null_leaves_nothing_to_find():
    p = after(SimulatedMarket("standard", 7, breaks=(Break(AT, "null"),)))["p_up"]
    assert (p == 0.5).all()


def test_values_depend_on_the_hour_alone_across_a_break(broken):
    pieces = SimulatedMarket("standard", 7, breaks=(Break(AT),))
    start, end = AT - 3 * DAY, AT + 3 * DAY
    late, early = pieces.oracle(AT + HOUR, end), pieces.oracle(start, AT + HOUR)
    order = ["symbol", "ts"]
    assert_frame_equal(pl.concat([early, late]).sort(order), broken.oracle(start, end).sort(order), check_exact=True)


@pytest.mark.parametrize(
    "breaks",
    [
        (Break(AT, "bull"),),
        (Break(EPOCH),),
        (Break(AT + HOUR / 2),),
        (Break(AT), Break(AT)),
        (Break(AT.replace(tzinfo=None)),),
    ],
)
def test_a_break_that_cannot_be_is_refused(breaks):
    with pytest.raises(SettingsError, match="break"):
        SimulatedMarket("standard", 7, breaks=breaks)
