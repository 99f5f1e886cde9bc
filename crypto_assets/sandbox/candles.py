"""Hourly candles of both venues around the simulated returns.

The perpetual's close carries the planted return; high and low are drawn from the Brownian bridge between open and close with
the bar's realised variance (twelve five-minute returns, chi-squared with 12 degrees of freedom over 12). The spot close is the
perpetual's less a small basis. Rarely a spot candle is disputed: its close or its wick is more than 2 % off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crypto_assets.sandbox.planting import BLOCK_HOURS, COINS

N = len(COINS)
START = np.array([c.price_usd for c in COINS])
HOURLY_SD = np.array([c.hourly_sd for c in COINS])
VOLUME_USD = np.array([c.volume_usd for c in COINS])
DECIMALS = np.array([9 - int(np.floor(np.log10(p))) for p in START])
"""Ten significant digits at the first price: a logarithmic return is exact to about 1e-9 after a fall by a factor of ten."""
BASIS_MEAN, BASIS_FUNDING, BASIS_SD = 1e-4, 1e-4, 5e-5
SPOT_SHARE = 0.35
"""Spot turnover relative to the perpetual's."""
DISPUTED_PER_HOUR = 1 / 2000
TRADE_USD = 900.0
"""Typical size of a trade."""


@dataclass
class CandleState:
    """What a block leaves to the next: logarithmic price and the two venues' last closes."""

    log_price: np.ndarray
    perp_close: np.ndarray
    spot_close: np.ndarray

    @classmethod
    def start(cls) -> CandleState:
        """The state before the first bar."""
        price = _tick(START[None])[0]
        return cls(np.log(START), price, price.copy())


def block(rng: np.random.Generator, path: dict[str, np.ndarray], state: CandleState) -> dict[str, np.ndarray]:
    """Arrays `[hour, coin]` named `perp_open` ... `spot_taker_buy_volume` for one block; `state` is updated."""
    shape = (BLOCK_HOURS, N)
    r = HOURLY_SD * np.sqrt(path["variance"]) * path["e"]
    log_price = state.log_price + np.cumsum(r, axis=0)
    close = _tick(np.exp(log_price))
    opened = np.concatenate([state.perp_close[None], close[:-1]])
    ratio = rng.chisquare(12, shape) / 12
    high, low = _range(rng, opened, close, HOURLY_SD**2 * path["variance"] * ratio)
    activity = np.sqrt(path["variance"]) * np.exp(0.3 * rng.standard_normal(shape)) * (0.5 + 0.5 * ratio)
    out = _named("perp", opened, high, low, close, *_trading(rng, VOLUME_USD * activity, opened, close, path["e"]))

    basis = BASIS_MEAN + BASIS_FUNDING * path["funding"] + BASIS_SD * rng.standard_normal(shape)
    spot_close = _tick(close / (1 + basis))
    spot_open = np.concatenate([state.spot_close[None], spot_close[:-1]])
    spot_high, spot_low = _tick(high / (1 + basis)), _tick(low / (1 + basis))
    shown = _dispute(rng, spot_close, spot_high, spot_low)
    spot_high = np.maximum.reduce([spot_high, spot_open, shown])
    spot_low = np.minimum.reduce([spot_low, spot_open, shown])
    traded = _trading(rng, SPOT_SHARE * VOLUME_USD * activity, spot_open, spot_close, path["e"])
    out |= _named("spot", spot_open, spot_high, spot_low, shown, *traded)
    state.log_price, state.perp_close, state.spot_close = log_price[-1].copy(), close[-1].copy(), spot_close[-1].copy()
    return out


def _tick(price: np.ndarray) -> np.ndarray:
    scale = 10.0**DECIMALS
    return np.rint(price * scale) / scale


def _range(
    rng: np.random.Generator, opened: np.ndarray, close: np.ndarray, realised: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Maximum and minimum of a Brownian bridge of variance `realised`, each with its exact law."""
    r = np.log(close / opened)
    up = (r + np.sqrt(r * r - 2 * realised * np.log1p(-rng.random(r.shape)))) / 2
    down = (r - np.sqrt(r * r - 2 * realised * np.log1p(-rng.random(r.shape)))) / 2
    high = np.maximum(_tick(opened * np.exp(up)), np.maximum(opened, close))
    low = np.minimum(_tick(opened * np.exp(down)), np.minimum(opened, close))
    return high, low


def _trading(
    rng: np.random.Generator, quote_usd: np.ndarray, opened: np.ndarray, close: np.ndarray, e: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    volume = np.round(quote_usd / close, 3)
    quote = np.round(volume * (opened + close) / 2, 2)
    trades = np.floor(quote / (TRADE_USD * np.exp(0.1 * rng.standard_normal(e.shape)))) + 1
    share = np.clip(0.5 + 0.08 * np.tanh(e) + 0.03 * rng.standard_normal(e.shape), 0.05, 0.95)
    return volume, quote, trades, np.round(volume * share, 3)


def _dispute(rng: np.random.Generator, close: np.ndarray, high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """The spot close as printed; wicks of disputed candles are widened in place."""
    hit = rng.random(close.shape) < DISPUTED_PER_HOUR
    kind, size, sign = rng.random(close.shape), rng.uniform(0.022, 0.06, close.shape), rng.choice((-1.0, 1.0), close.shape)
    wrong = _tick(close * (1 + sign * size))
    wick = hit & (kind >= 0.5)
    high[wick & (sign > 0)] = wrong[wick & (sign > 0)]
    low[wick & (sign < 0)] = wrong[wick & (sign < 0)]
    return np.where(hit & (kind < 0.5), wrong, close)


COLUMNS = ("open", "high", "low", "close", "volume", "quote_volume_usd", "trades", "taker_buy_volume")


def _named(venue: str, *arrays: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{venue}_{column}": array for column, array in zip(COLUMNS, arrays, strict=True)}
