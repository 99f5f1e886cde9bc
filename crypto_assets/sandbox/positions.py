"""What traders hold and offer in the perpetuals: open interest and ratios, depth by band, the premium over the index.

Pure functions of the market and time. They carry no planted signal: levels are side series (`series.py`) that move from day to
day, with a little noise every five minutes; prices are the candles'.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache

import numpy as np
import polars as pl

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.time import DAY, HOUR, midnight
from crypto_assets.sandbox.microstructure import Market
from crypto_assets.sandbox.series import ORIGIN, level

STEPS = 288
"""Five-minute steps of a day."""
HELD_HOURS = 8.0
"""Typical open interest, in hours of turnover."""
RATIOS = ("top_account_ratio", "top_position_ratio", "account_ratio", "taker_ratio")
TYPICAL = np.array([1.3, 1.2, 1.5, 1.0])
"""Long over short, in the order of `RATIOS`."""
SLOW, FAST = np.array([0.15, 0.15, 0.15, 0.0]), np.array([0.005, 0.005, 0.005, 0.25])
"""Standard deviations of the logarithms of `RATIOS`, from day to day and every five minutes."""
BANDS_PCT = np.array([-5.0, -4.0, -3.0, -2.0, -1.0, 1.0, 2.0, 3.0, 4.0, 5.0])
NARROW_SINCE = date(2026, 1, 15)
"""From then on there are bands of 0.2 % too."""
RESTING = 0.02
"""Typical worth within 1 %, relative to an hour's turnover."""
BOOK_LATE = timedelta(seconds=7)
"""Book snapshots are stamped so long after each five minutes."""


@lru_cache(maxsize=256)
def metrics(market: Market, symbol: str, day: date) -> pl.DataFrame:
    """Rows of a day every five minutes from 00:00 on; none where the coin is not listed.

    Columns ts, open_interest (coins, to 0.001), open_interest_usd (to cents), `RATIOS` (to four digits).
    """
    price, (coins, _) = _prices(market, symbol, day), _turnover(market, symbol)
    slow, fast = _drawn(market, f"positions {symbol}", day, 1 + len(RATIOS))
    held = np.round(HELD_HOURS * coins * np.exp(0.2 * slow[:, 0] + 0.002 * fast[:, 0]), 3)
    ratios = np.round(TYPICAL * np.exp(SLOW * slow[:, 1:] + FAST * fast[:, 1:]), 4)
    frame = pl.DataFrame({"ts": _steps(day), "open_interest": held, "open_interest_usd": np.round(held * price, 2)})
    return frame.with_columns(pl.Series(name, ratios[:, k]) for k, name in enumerate(RATIOS)).head(len(price))


@lru_cache(maxsize=64)
def bands(market: Market, symbol: str, day: date) -> pl.DataFrame:
    """Depth of a day every five minutes, by band: ts, band_pct, depth (coins, to 0.001), notional_usd (to cents)."""
    price, (_, usd) = _prices(market, symbol, day), _turnover(market, symbol)
    pct = BANDS_PCT if day < NARROW_SINCE else np.sort(np.append(BANDS_PCT, (-0.2, 0.2)))
    slow, fast = _drawn(market, f"depth {symbol}", day, 2)
    side = (pct > 0).astype(int)
    worth = RESTING * usd * np.abs(pct) ** 0.8 * np.exp(0.3 * slow[:, side] + 0.02 * fast[:, side])
    worth = worth[: len(price)]
    depth = worth / (price[:, None] * (1 + pct / 200))
    ts = (_steps(day).head(len(price)) + BOOK_LATE).to_frame("ts")
    frame = ts.select(pl.col("ts").repeat_by(len(pct)).explode())
    columns = {
        "band_pct": np.tile(pct, len(price)),
        "depth": np.round(depth, 3).ravel(),
        "notional_usd": np.round(worth, 2).ravel(),
    }
    return frame.with_columns(pl.Series(name, values) for name, values in columns.items())


def premium(market: Market, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
    """Hourly bars of the premium index whose open lies in `[start, end)`: ts, open, high, low, close, to 1e-8.

    The close is that of the perpetual over that of spot, less one; not a disputed spot close but the next bar's open.
    """
    perp = market.candles(symbol, "perp", start - HOUR, end)
    spot = market.candles(symbol, "spot", start - HOUR, end + HOUR).select("ts", index="close", following=pl.col("open"))
    following = spot.select(pl.col("ts") - HOUR, "following")
    bars = perp.select("ts", perp="close").join(spot.select("ts", "index"), on="ts").join(following, on="ts", how="left")
    close = (pl.col("perp") / pl.coalesce("following", "index") - 1).round(8)
    rows = bars.sort("ts").select("ts", close=close).with_columns(open=pl.col("close").shift(1).fill_null(pl.col("close")))
    high, low = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    return rows.filter(pl.col("ts") >= start).select("ts", "open", high=high, low=low, close="close")


@lru_cache(maxsize=64)
def _turnover(market: Market, symbol: str) -> tuple[float, float]:
    """Coins and dollars that change hands in a typical hour: the mean of the first week."""
    start = market.listing(symbol)[0]
    week = market.candles(symbol, "perp", start, start + 7 * DAY)
    coins, usd = (week[name].to_numpy().mean() if week.height else 1.0 for name in ("volume", "quote_volume_usd"))
    return float(coins), float(usd)


def _steps(day: date) -> pl.Series:
    first = int(midnight(day).timestamp()) * 1_000_000
    return pl.Series("ts", first + 300_000_000 * np.arange(STEPS)).cast(UTC_US)


def _prices(market: Market, symbol: str, day: date) -> np.ndarray:
    """The perpetual's price at each step: the open of its hour, or in an outage the last one; empty where it is not listed."""
    start = midnight(day)
    frame = market.candles(symbol, "perp", start - DAY, start + DAY)
    if frame.filter(pl.col("ts") >= start).is_empty():
        return np.empty(0)
    hours = pl.DataFrame({"ts": _steps(day)}).join_asof(frame.select("ts", "open"), on="ts", strategy="backward")
    return hours["open"].fill_null(strategy="backward").to_numpy()


def _drawn(market: Market, name: str, day: date, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Levels `[step, width]` on the way from this day's to the next, and standard normals of each step."""
    ends = level(market.randomness, name, day, day + DAY, width=width)
    share = np.arange(STEPS)[:, None] / STEPS
    rng = market.randomness.generator("series", (day - ORIGIN).days, f"{name} by five minutes")
    return ends[0] + (ends[1] - ends[0]) * share, rng.standard_normal((STEPS, width))
