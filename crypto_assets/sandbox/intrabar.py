"""A bar taken apart: how many trades it needs, a price path through its four prices, sizes and sides that add up.

Pure functions on whole lots; `sandbox/microstructure.py` puts them together.
"""

from __future__ import annotations

import numpy as np

MOST_AN_HOUR = 720
"""Aggregate trades in an hourly bar, at most: one in five seconds is lively enough, and a day of them is a small file."""


def aggregates(opened, high, low, close, volume, quote, count, bought) -> np.ndarray:
    """Number of aggregate trades of each bar: enough for its prices and both sides, where it moved or traded at all."""
    prices = 1 + (high > np.maximum(opened, close)) + (low < np.minimum(opened, close)) + (high > low)
    sides = 1 + ((bought > 0) & (bought < volume))
    wanted = np.maximum(np.minimum(count, MOST_AN_HOUR), np.maximum(prices, sides))
    return np.where((volume > 0) | (high > low), wanted, 0)


def path(rng: np.random.Generator, n: int, opened: float, high: float, low: float, close: float) -> np.ndarray:
    """`n` prices from open to close that stay within high and low and touch both: a Brownian bridge, its excursions scaled."""
    if n < 3:
        return np.array([opened, close][:n])
    top, bottom = max(opened, close), min(opened, close)
    t = np.linspace(0.0, 1.0, n)
    walk = np.concatenate([[0.0], np.cumsum(rng.standard_normal(n - 1))])
    bridge = walk - t * walk[-1]
    price = opened + (close - opened) * t + bridge * ((high - low) / max(np.ptp(bridge), 1e-12))
    above, below = max(price.max() - top, 1e-12 * top), max(bottom - price.min(), 1e-12 * top)
    price = np.where(price > top, top + (price - top) * ((high - top) / above), price)
    price = np.where(price < bottom, bottom - (bottom - price) * ((bottom - low) / below), price)
    scale = 10.0 ** np.clip(9 - np.floor(np.log10(opened)), 0, 12)
    price = np.clip(np.rint(price * scale) / scale, low, high)
    inner = price[1:-1]
    at_high, at_low = int(np.argmax(inner)) + 1, int(np.argmin(inner)) + 1
    if at_low == at_high:
        at_low = at_high % (n - 2) + 1
    if high > top:
        price[at_high] = high
    if low < bottom:
        price[at_low] = low
    price[0], price[-1] = opened, close
    return price


def sizes(rng: np.random.Generator, price: np.ndarray, lots: int, bought: int) -> tuple[np.ndarray, np.ndarray]:
    """Side and lots of each trade: rises are bought more often, and the lots of the buys are `bought` in all."""
    n = len(price)
    buys = round(n * bought / lots) if lots else 0
    if 0 < bought < lots:
        buys = min(max(buys, 1), n - 1)
    lean = np.sign(np.diff(price, prepend=price[:1])) + rng.standard_normal(n)
    is_buy = np.zeros(n, dtype=np.bool_)
    is_buy[np.argsort(-lean, kind="stable")[:buys]] = True
    weights = rng.standard_exponential(n)
    size = np.zeros(n, dtype=np.int64)
    size[is_buy] = split(weights[is_buy], bought)
    size[~is_buy] = split(weights[~is_buy], lots - bought)
    return is_buy, size


def split(weights: np.ndarray, total: int, least: int = 1) -> np.ndarray:
    """`total` in whole parts in proportion to `weights`, each at least `least` where there is enough."""
    n = len(weights)
    if n == 0:
        return np.empty(0, dtype=np.int64)
    least = least if total >= least * n else 0
    share = np.cumsum(weights)
    share = share / share[-1] if share[-1] > 0 else np.arange(1, n + 1) / n
    cut = np.floor((total - least * n) * share).astype(np.int64)
    cut[-1] = total - least * n
    return np.diff(cut, prepend=0) + least


def lots_in_one(value: float) -> int:
    """The power of ten, at most 10^8, that makes a printed number whole."""
    return next((10**d for d in range(8) if round(value, d) == value), 10**8)
