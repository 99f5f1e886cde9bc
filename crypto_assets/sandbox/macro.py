"""Macro beside the planted yield and VIX: currencies, metals, oil, commodities; side series in realistic magnitudes.

Columns run over the days from `FIRST_DAY` to a last day, and the values of a day do not depend on which day is last. A day on
which a market is closed has no row.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from crypto_assets.sandbox.daily import FIRST_DAY, is_trading_day
from crypto_assets.sandbox.defi import dated
from crypto_assets.sandbox.series import days, level, noise

if TYPE_CHECKING:
    from crypto_assets.sandbox.simulator import SimulatedMarket

PER_EURO = {"USD": (1.08, 4), "JPY": (158.0, 2), "GBP": (0.85, 5), "CAD": (1.47, 4), "SEK": (11.4, 4), "CHF": (0.95, 4)}
"""Currency -> its usual price of one euro, and the digits the central bank prints."""
LEGS = ("EUR", "JPY", "GBP", "CAD", "SEK", "CHF")
WEIGHTS = {"EUR": 0.576, "JPY": 0.136, "GBP": 0.119, "CAD": 0.091, "SEK": 0.042, "CHF": 0.036}
"""Weights of the dollar index, all positive for currencies per dollar."""
DXY_FACTOR = 50.14348112
PRICES = {
    "Crude oil, Brent": ("$/bbl", 80.0),
    "Crude oil, WTI": ("$/bbl", 76.0),
    "Natural gas, US": ("$/mmbtu", 3.0),
    "Aluminum": ("$/mt", 2350.0),
    "Copper": ("$/mt", 9000.0),
    "Gold": ("$/troy oz", 2000.0),
    "Silver": ("$/troy oz", 24.0),
    "Platinum": ("$/troy oz", 950.0),
}
"""Monthly prices of the Pink Sheet: unit, and usual value of those that have no daily series here."""
INDICES = {"Energy": 105.0, "Non-energy": 112.0, "Agriculture": 108.0, "Metals & Minerals": 106.0, "Precious Metals": 150.0}


def is_target_day(day: date) -> bool:
    """Whether the euro payment system is open: Monday to Friday but for 1 January, 1 May, 25 and 26 December."""
    return day.weekday() < 5 and (day.month, day.day) not in {(1, 1), (5, 1), (12, 25), (12, 26)}


def is_london_day(day: date) -> bool:
    """Whether the bullion auctions take place: Monday to Friday but for 1 January, 25 and 26 December."""
    return day.weekday() < 5 and (day.month, day.day) not in {(1, 1), (12, 25), (12, 26)}


def on(frame: pl.DataFrame, is_open: Callable[[date], bool]) -> pl.DataFrame:
    """The rows of the days on which a market is open."""
    return frame.filter(pl.Series([is_open(ts.date()) for ts in frame["ts"]], dtype=pl.Boolean))


def wave(market: SimulatedMarket, name: str, last: date, size: float, half_life_days: float = 90.0) -> np.ndarray:
    """A slow factor around one, day by day."""
    return np.exp(size * level(market.randomness, f"macro:{name}", FIRST_DAY, last, half_life_days)[:, 0])


@lru_cache(maxsize=16)
def per_euro(market: SimulatedMarket, last: date) -> pl.DataFrame:
    """ECB reference rates, units of each currency for one euro: ts and the currencies."""
    columns = {name: np.round(usual * wave(market, name, last, 0.04), n) for name, (usual, n) in PER_EURO.items()}
    return on(dated(columns, last), is_target_day)


@lru_cache(maxsize=16)
def per_dollar(market: SimulatedMarket, last: date) -> pl.DataFrame:
    """The same for one dollar, five digits behind the point, with the dollar index `dxy_ecb`: ts, EUR, JPY, ..."""
    rates = per_euro(market, last)
    euro = (1 / pl.col("USD")).round(5).alias("EUR")
    legs = rates.select("ts", euro, *((pl.col(name) / pl.col("USD")).round(5).alias(name) for name in LEGS[1:]))
    index = pl.lit(DXY_FACTOR)
    for name, weight in WEIGHTS.items():
        index = index * pl.col(name) ** weight
    return legs.with_columns(dxy_ecb=index)


@lru_cache(maxsize=16)
def metals(market: SimulatedMarket, last: date) -> pl.DataFrame:
    """Auction prices in USD an ounce: ts, gold (null on 24 and 31 December: no afternoon auction), silver."""
    gold = np.round(PRICES["Gold"][1] * wave(market, "gold", last, 0.12, 180.0), 2)
    ratio = 84 * wave(market, "gold/silver", last, 0.06)
    frame = on(dated({"gold": gold, "silver": np.round(gold / ratio, 3)}, last), is_london_day)
    is_eve = (pl.col("ts").dt.month() == 12) & pl.col("ts").dt.day().is_in([24, 31])
    return frame.with_columns(gold=pl.when(~is_eve).then(pl.col("gold")))


@lru_cache(maxsize=16)
def token_gold(market: SimulatedMarket, last: date) -> pl.DataFrame:
    """PAXG in USDT, every day: ts, close; near the gold price of a day without auction too."""
    gold = PRICES["Gold"][1] * wave(market, "gold", last, 0.12, 180.0)
    premium = 1 + 0.001 * noise(market.randomness, "macro:paxg", FIRST_DAY, last)[:, 0]
    return dated({"close": np.round(gold * premium, 2)}, last)


@lru_cache(maxsize=16)
def oil(market: SimulatedMarket, last: date) -> pl.DataFrame:
    """Spot prices in USD a barrel: ts, WTI, Brent."""
    wti = PRICES["Crude oil, WTI"][1] * wave(market, "oil", last, 0.12)
    brent = wti + 4 * wave(market, "oil spread", last, 0.2)
    return on(dated({"WTI": np.round(wti, 2), "Brent": np.round(brent, 2)}, last), is_trading_day)


def months(last: date) -> list[date]:
    """First days of the months from that after `FIRST_DAY` to the last one that is over on `last`."""
    found, month = [], (FIRST_DAY.replace(day=1) + timedelta(days=32)).replace(day=1)
    while (month + timedelta(days=32)).replace(day=1) <= last:
        found.append(month)
        month = (month + timedelta(days=32)).replace(day=1)
    return found


@lru_cache(maxsize=16)
def pink_sheet(market: SimulatedMarket, last: date) -> pl.DataFrame:
    """Monthly averages: month (its first day), and the prices and indices by name; metals and oil are those of the days."""
    wanted = months(last)
    if not wanted:
        return pl.DataFrame(schema={"month": pl.Date, **dict.fromkeys([*PRICES, *INDICES], pl.Float64)})
    daily = {
        "Gold": (metals, "gold"),
        "Silver": (metals, "silver"),
        "Crude oil, WTI": (oil, "WTI"),
        "Crude oil, Brent": (oil, "Brent"),
    }
    columns: dict[str, list[float]] = {}
    for name, usual in {**{k: v for k, (_, v) in PRICES.items()}, **INDICES}.items():
        if name in daily:
            table, column = daily[name]
            known = (
                table(market, last).group_by(pl.col("ts").dt.date().dt.month_start().alias("month")).agg(pl.col(column).mean())
            )
            by_month = dict(known.iter_rows())
            columns[name] = [round(by_month[m], 3) for m in wanted]
        else:
            factor = dict(zip(days(FIRST_DAY, last), wave(market, name, last, 0.1), strict=True))
            columns[name] = [round(usual * float(factor[m]), 2) for m in wanted]
    return pl.DataFrame({"month": wanted, **columns})
