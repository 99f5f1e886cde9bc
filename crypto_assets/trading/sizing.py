"""How large a position may be: from calibrated probabilities, from volatility, from confidence, and their minimum.

All are fractions of equity for one position, arrays of any one shape; NaN in, 0 out: what is not known is not bet on.
"""

from __future__ import annotations

import numpy as np

from crypto_assets.market.errors import SettingsError

Array = np.ndarray

KELLY_CAP = 0.25
KELLY_FRACTION = 0.5
"""Half of Kelly keeps three quarters of the growth at half the volatility (MacLean, Thorp and Ziemba 2010), and forgives errors
in the probability, which full Kelly does not."""
RISK_PER_TRADE = 0.02
CONFIDENCE_SHARE = 0.10
HALF_LIFE_HOURS = 168.0
HOURS_A_YEAR = 24 * 365
MEAN_ABSOLUTE = float(np.sqrt(2 / np.pi))


def payoff(sigma: Array, hours: float, cost: float) -> Array:
    """What a win pays over what a loss costs, for a position that is closed after `hours`: (E|r| - cost) / (E|r| + cost).

    E|r| is that of a normal return of volatility `sigma` an hour; `cost`: fee and slippage of the round trip, a fraction.
    Below 0 where even a win does not pay the costs.
    """
    move = sigma * np.sqrt(hours) * MEAN_ABSOLUTE
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(move > 0, (move - cost) / (move + cost), np.nan)


def kelly(p_win: Array, ratio: Array, *, fraction: float = KELLY_FRACTION, cap: float = KELLY_CAP) -> Array:
    """`fraction` of Kelly's bet, p - (1 - p) / ratio, between 0 and `cap` (Kelly, Bell System Technical Journal 1956).

    `p_win` must be calibrated: a probability that is two points too high near one half doubles the bet, or more. `ratio`: win
    over loss. Raises SettingsError for a fraction or cap outside 0..1.
    """
    for name, value in (("fraction", fraction), ("cap", cap)):
        if not 0 <= value <= 1:
            raise SettingsError(f"Kelly's {name} must lie between 0 and 1, was {value!r}")
    with np.errstate(invalid="ignore", divide="ignore"):
        bet = np.where(ratio > 0, p_win - (1 - p_win) / ratio, 0.0)
    return np.clip(np.nan_to_num(fraction * bet, nan=0.0), 0.0, cap)


def risk_based(sigma: Array, hours: float, *, risk: float = RISK_PER_TRADE) -> Array:
    """The position that loses `risk` of the equity on an adverse move of two standard deviations over `hours`."""
    with np.errstate(invalid="ignore", divide="ignore"):
        size = risk / (2 * sigma * np.sqrt(hours))
    return np.where(np.isfinite(size), size, 0.0)


def confidence_based(confidence: Array, *, share: float = CONFIDENCE_SHARE) -> Array:
    """Confidence (0..1) times a tenth."""
    return np.nan_to_num(np.clip(confidence, 0.0, 1.0), nan=0.0) * share


def smallest(p_up: Array, sigma: Array, hours: float, cost: float, *, fraction: float = KELLY_FRACTION) -> Array:
    """Signed position: the side that is likelier, as large as the least of Kelly's, the risk-based and the confidence-based."""
    p_win = np.maximum(p_up, 1 - p_up)
    sizes = (kelly(p_win, payoff(sigma, hours, cost), fraction=fraction), risk_based(sigma, hours), confidence_based(p_win))
    return np.nan_to_num(np.sign(p_up - 0.5), nan=0.0) * np.minimum.reduce(sizes)


def at_volatility(weights_TN: Array, close_TN: Array, target: float, *, most: float = 1.0) -> Array:
    """Weights scaled so that the portfolio's expected volatility is `target` a year, never by more than to `most` gross.

    Expected by the covariance of hourly log returns up to each row, exponentially weighted with a half-life of a week; row t of
    `close_TN` must be known at the decision of row t (its last close). A missing return counts as 0. During the first half-life
    nothing is known and weights are 0.
    """
    if not target > 0:
        raise SettingsError(f"a volatility target must be above 0, was {target!r}")
    with np.errstate(invalid="ignore"):
        r_TN = np.nan_to_num(np.diff(np.log(close_TN), axis=0, prepend=np.nan))
    decay, covariance, out = 0.5 ** (1 / HALF_LIFE_HOURS), np.zeros((r_TN.shape[1],) * 2), np.zeros_like(weights_TN)
    held = np.nan_to_num(weights_TN)
    for t, r in enumerate(r_TN):
        covariance = decay * covariance + (1 - decay) * np.outer(r, r)
        expected = np.sqrt(max(held[t] @ covariance @ held[t] / (1 - decay ** (t + 1)), 0.0) * HOURS_A_YEAR)
        gross = np.abs(held[t]).sum()
        if t >= HALF_LIFE_HOURS and expected > 0:
            out[t] = weights_TN[t] * min(target / expected, most / gross)
    return out
