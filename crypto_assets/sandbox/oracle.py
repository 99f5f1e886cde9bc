"""The best possible forecast, exact by construction.

Published optimum: what prices, headlines, funding and the daily tables say by the decision time, and no more. With A the known
mean, e' the coin's last standardised return and p the filtered probability of momentum (`kernels.hamilton`),

    P(up) = p Phi((A + a3 e')/sd) + (1 - p) Phi((A - a3 e')/sd),   sd^2 = 1 + (a1 + a4 F)^2 tau^2,

the variance of the unseen text noise being part of sd. The latent optimum knows that noise and still filters the regime. The
one-coin column filters the regime from the coin's own returns only: the ceiling of a model that looks at one coin.
"""

from __future__ import annotations

import numpy as np

from crypto_assets.sandbox.candles import HOURLY_SD
from crypto_assets.sandbox.moments import expected_variance
from crypto_assets.sandbox.path import Path


def optimum(path: Path, first: int, last: int) -> dict[str, np.ndarray]:
    """Columns `[hour, coin]` at decision times `EPOCH + first` ... `EPOCH + last - 1` hours: see `SimulatedMarket.oracle`."""
    arrays = path.upto(last)
    rows = {k: v[first:last] for k, v in arrays.items()}
    rows["hour"] = np.arange(first, last)
    a3 = path.weights(first, last)[:, 2]
    tilt = a3[:, None] * rows["last_e"]
    sd = np.sqrt(1.0 + rows["extra_variance"])
    joint, latent = rows["p_regime"][:, None], rows["p_regime_latent"][:, None]
    spread = 4.0 * joint * (1.0 - joint) * tilt**2
    return {
        "p_up": _mixture(joint, rows["known"], tilt, sd),
        "p_up_latent": _mixture(latent, rows["known"] + rows["latent"], tilt, np.ones_like(sd)),
        "p_up_one_coin": _mixture(rows["p_regime_alone"], rows["known"], tilt, sd),
        "sigma_1h": HOURLY_SD * np.sqrt(rows["variance"] * (sd**2 + spread)),
        "rv_24h_forecast": HOURLY_SD**2 * _expected_variance(path, rows, first, last),
    }


def _expected_variance(path: Path, rows: dict[str, np.ndarray], first: int, last: int) -> np.ndarray:
    """By the law that holds when it is asked: a break within the next 24 h is not foreseen, unlike in the next hour."""
    parts = [
        expected_variance(law.planted, law.second_moment, {k: v[hours] for k, v in rows.items()})
        for hours, law in path.laws_in(first, last)
    ]
    return np.concatenate(parts) if parts else np.empty_like(rows["variance"])


def _mixture(p: np.ndarray, mean: np.ndarray, tilt: np.ndarray, sd: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr

    return p * ndtr((mean + tilt) / sd) + (1.0 - p) * ndtr((mean - tilt) / sd)
