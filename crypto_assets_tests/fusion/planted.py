"""Members whose worth is known: logits of the truth with noise, and outcomes drawn from the truth."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np

from crypto_assets.fusion.families import expit
from crypto_assets.models._base import Forecast

START = datetime(2024, 1, 1, tzinfo=UTC)
DIRECTION, VARIANCE = frozenset({"p_up", "p_beats_median"}), frozenset({"realised_var"})
BOTH = DIRECTION | VARIANCE
HOURS = {"ret_1h": 1, "ret_4h": 4, "ret_24h": 24}


class World:
    """`days` of hours and `coins`: true logits `s_HTN`, true variance of a day `v_TN`, labels drawn from them."""

    def __init__(self, days: int, coins: int = 4, seed: int = 0, edge: float = 0.4, shock_day: int | None = None) -> None:
        g = np.random.default_rng(seed)
        self.g, self.symbols = g, tuple("ABCDEFGH"[:coins])
        T = days * 24
        self.ts = np.datetime64("2024-01-01", "us") + np.arange(T) * np.timedelta64(1, "h")
        self.s_HTN = edge * g.normal(size=(3, T, coins))
        wave = 0.5 * np.sin(np.arange(T) / 200)[:, None] + 0.1 * g.normal(size=(1, coins))
        self.v_TN = np.exp(-7 + wave)
        hidden = self.v_TN.copy()
        if shock_day is not None:  # the variance is four times what anybody forecasts from then on
            hidden[shock_day * 24 :] *= 4
        self.labels = {}
        for h, (name, hours) in enumerate(HOURS.items()):
            up = g.random((T, coins)) < expit(self.s_HTN[h])
            self.labels[name] = np.where(up, 1, -1) * np.abs(g.normal(size=(T, coins))) * np.sqrt(hidden * hours / 24)
        self.labels["above_median_24h"] = (g.random((T, coins)) < expit(self.s_HTN[2])).astype(float)
        self.labels["rv_24h"] = hidden * g.gamma(8, 1 / 8, size=(T, coins))

    def member(self, noise: float, scale: float = 1.0, variance_noise: float | None = None) -> Forecast:
        """Logits: `scale` (truth + noise); variance: truth with log-normal noise, or none."""
        z = scale * (self.s_HTN + noise * self.g.normal(size=self.s_HTN.shape))
        return self.of(expit(z), variance_noise)

    def of(self, p_HTN: np.ndarray, variance_noise: float | None = None) -> Forecast:
        """A forecast of these probabilities."""
        nothing = np.full_like(p_HTN, np.nan)
        rv = np.full_like(self.v_TN, np.nan)
        if variance_noise is not None:
            rv = self.v_TN * np.exp(variance_noise * self.g.normal(size=rv.shape))
        return Forecast(self.ts, self.symbols, p_HTN, nothing, nothing.copy(), p_HTN[2].copy(), rv)

    def cut(self, values: Mapping[str, np.ndarray], first: int, last: int | None = None) -> dict[str, np.ndarray]:
        """Arrays `[T, N]` of the days from `first` to before `last`."""
        return {name: v[first * 24 : None if last is None else last * 24] for name, v in values.items()}


def days(forecasts: Mapping[str, Forecast], first: int, last: int | None = None) -> dict[str, Forecast]:
    """Every member's forecast of the days from `first` to before `last`."""
    s = slice(first * 24, None if last is None else last * 24)
    return {
        name: Forecast(
            f.ts[s],
            f.symbols,
            f.p_up_HTN[:, s],
            f.mean_HTN[:, s],
            f.log_var_HTN[:, s],
            f.p_beats_median_TN[s],
            f.realised_var_TN[s],
        )
        for name, f in forecasts.items()
    }
