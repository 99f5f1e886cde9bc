"""From members' forecasts to what is combined: by target, each member's logit or log variance, and the outcome from the labels.

The return over a horizon has a variance from every member that forecasts it, and from every member that forecasts the realised
variance of the day, scaled by the square root of time. Shapes: M members of the target, T hours, N coins.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from crypto_assets.fusion.families import expit
from crypto_assets.market.time import HORIZONS
from crypto_assets.models._base import Forecast

Array = np.ndarray

CLIP = 6.0
"""Largest logit of a member that counts (p = 0.9975): no hour of a market is more certain."""
SMALLEST = 1e-12
"""Variances below are this: a coin that does not trade has none."""


@dataclass(frozen=True)
class Target:
    """What is combined: `output` of the forecast, at horizon number `h` where it has one; `hours` of its label."""

    name: str
    family: str
    output: str
    h: int | None
    hours: int
    label: str

    def outcome(self, labels: Mapping[str, Array]) -> Array:
        """1, 0 or NaN; or the log of a variance."""
        y = labels[self.label]
        if self.output == "p_up":
            return np.where(np.isnan(y) | (y == 0), np.nan, (y > 0).astype(float))
        if self.output == "log_var":
            return np.log(np.maximum(y**2, SMALLEST))
        return np.log(np.maximum(y, SMALLEST)) if self.output == "realised_var" else y

    def predictor(self, forecast: Forecast, output: str | None = None) -> Array:
        """The member's logit or log variance, `[T, N]`."""
        output = output or self.output
        values = getattr(forecast, ARRAYS[output])
        values = values[self.h] if self.h is not None and values.ndim == 3 else values
        if output in ("p_up", "p_beats_median"):
            return np.clip(np.log(values) - np.log1p(-values), -CLIP, CLIP) if values.size else values
        if output == "realised_var":
            return np.log(np.maximum(values, SMALLEST)) + np.log(self.hours / 24)
        return values


ARRAYS = {
    "p_up": "p_up_HTN",
    "p_beats_median": "p_beats_median_TN",
    "log_var": "log_var_HTN",
    "mean": "mean_HTN",
    "realised_var": "realised_var_TN",
}
DIRECTIONS = [
    *(Target(name, "bernoulli", "p_up", h, hours, f"ret_{name}") for h, (name, hours) in enumerate(HORIZONS.items())),
    Target("24h_relative", "bernoulli", "p_beats_median", None, 24, "above_median_24h"),
]
VOLATILITY = Target("volatility", "gamma", "realised_var", None, 24, "rv_24h")
RETURN_VARIANCES = [
    Target(f"return variance {name}", "gamma", "log_var", h, hours, f"ret_{name}")
    for h, (name, hours) in enumerate(HORIZONS.items())
]
COMBINED = [VOLATILITY, *RETURN_VARIANCES, *DIRECTIONS]
"""In the order in which they are made: a return's mean needs its variance and its direction."""


def members_of(target: Target, outputs: Mapping[str, frozenset[str]]) -> list[tuple[str, str]]:
    """(member, its output) for every member that says something about the target, in the order of `outputs`."""
    wanted = [target.output, "realised_var"] if target.output == "log_var" else [target.output]
    return [(name, output) for output in wanted for name, said in outputs.items() if output in said]


def stacked(target: Target, members: list[tuple[str, str]], forecasts: Mapping[str, Forecast]) -> Array:
    """Members' predictors `[M, T, N]`; a member silent about a row counts there as the others' average."""
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.stack([target.predictor(forecasts[name], output) for name, output in members])
        there = np.isfinite(z)
        if there.all():
            return z
        return np.where(there, z, np.where(there, z, 0.0).sum(axis=0) / there.sum(axis=0))  # where nobody speaks, NaN


def mean_members(
    h: int, forecasts: Mapping[str, Forecast], outputs: Mapping[str, frozenset[str]], scale_TN: Array, logit_TN: Array
) -> tuple[tuple[str, ...], Array]:
    """Standardised means of the return over horizon `h`: of every member that forecasts one, and the one P(up) implies.

    A normal return with standard deviation `scale_TN` that rises with probability p has mean scale * ndtri(p).
    """
    from scipy.special import ndtri

    names = [name for name, said in outputs.items() if "mean" in said]
    implied = ndtri(expit(logit_TN))
    z = np.stack([*(forecasts[name].mean_HTN[h] / scale_TN for name in names), implied])
    return (*names, "P(up)"), np.where(np.isfinite(z), z, implied)


def market_variance(forecasts: Mapping[str, Forecast], outputs: Mapping[str, frozenset[str]]) -> Array | None:
    """Mean log variance over coins and members by hour, `[T]`; None where no member forecasts one."""
    members = members_of(VOLATILITY, outputs)
    if not members:
        return None
    z_MTN = stacked(VOLATILITY, members, forecasts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(z_MTN, axis=(0, 2))


def mean_name(h: int) -> str:
    """Of the mean of the return over horizon number `h`."""
    return f"return mean {DIRECTIONS[h].name}"


def interval_name(h: int) -> str:
    """Of the interval of the return over horizon number `h`."""
    return f"return {DIRECTIONS[h].name}"
