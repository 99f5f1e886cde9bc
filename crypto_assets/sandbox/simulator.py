"""`SimulatedMarket`: the tables the providers would serve, and the oracle, as functions of (market, seed, absolute hour).

Windows are half open and in UTC; what lies before `EPOCH` (daily tables: before `daily.FIRST_DAY`) or after `LAST` does not
exist and is left out. Nothing here knows the present: the server cuts what has not been published yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime

import numpy as np
import polars as pl

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market import coins as market_coins
from crypto_assets.market.coins import DEFAULT_SYMBOLS
from crypto_assets.market.errors import SettingsError
from crypto_assets.market.time import HOUR
from crypto_assets.sandbox import candles as candle_columns
from crypto_assets.sandbox import oracle, subjects, texts
from crypto_assets.sandbox.path import Path
from crypto_assets.sandbox.planting import (
    COINS,
    EPOCH,
    FUNDING_HOURS,
    FUNDING_MEAN,
    FUNDING_SCALE,
    LAST,
    LEVELS,
    PLANTED,
    REVERSED,
    SYMBOLS,
    Break,
)
from crypto_assets.sandbox.randomness import Randomness

VENUES = ("spot", "perp")


class SimulatedMarket:
    """One planted market. Raises SettingsError for an unknown market or symbol, a negative seed or a naive datetime.

    `breaks` change the planted weights at known hours; the oracle knows the law of the bar that opens, as it always does.
    Thread safe; the path is computed once and extended when a later hour is asked for.
    """

    def __init__(self, market: str = "standard", seed: int = 7, breaks: Sequence[Break] = ()) -> None:
        if market not in PLANTED:
            raise SettingsError(f"market = {market!r}: expected one of {', '.join(PLANTED)}")
        if not isinstance(seed, int) or seed < 0:
            raise SettingsError(f"seed = {seed!r}: expected a whole number, zero or above")
        self.market = market
        self.seed = seed
        self.symbols: tuple[str, ...] = SYMBOLS
        """All coins that trade here: the eight default ones, one listed late, one delisted."""
        self.breaks = _checked(breaks)
        self._path = Path(market, seed, self.breaks)

    @property
    def randomness(self) -> Randomness:
        """The generators of this market, for side series (`sandbox/series.py`)."""
        return self._path.randomness

    def listing(self, symbol: str) -> tuple[datetime, datetime | None]:
        """Open of the first bar, and the moment of delisting or None."""
        coin = COINS[self._index(symbol)]
        first = max(EPOCH, _midnight(coin.listed)) if coin.listed else EPOCH
        return first, _midnight(coin.delisted) if coin.delisted else None

    def candles(self, symbol: str, venue: str, start: datetime, end: datetime) -> pl.DataFrame:
        """Hourly bars whose open lies in `[start, end)`.

        Columns ts (open), open, high, low, close (USD), volume (coins), quote_volume_usd, trades, taker_buy_volume. Hours of an
        outage and hours when the coin is not listed have no row.
        """
        if venue not in VENUES:
            raise SettingsError(f"venue = {venue!r}: expected one of {', '.join(VENUES)}")
        i = self._index(symbol)
        first, last = self._listed_hours(symbol, start, end)
        arrays = self._path.upto(last)
        there = ~arrays["halted"][first:last, i]
        columns = {c: arrays[f"{venue}_{c}"][first:last, i][there] for c in candle_columns.COLUMNS}
        frame = pl.DataFrame({"ts": _hours(np.arange(first, last)[there])} | columns)
        return frame.with_columns(pl.col("trades").cast(pl.Int64))

    def funding(self, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
        """Settlements at 00, 08 and 16 UTC in `[start, end)`: ts, funding_rate (of 8 hours), mark_price (USD).

        The driver is (funding_rate - FUNDING_MEAN) / FUNDING_SCALE exactly, from its settlement until the next.
        """
        i = self._index(symbol)
        first, last = self._listed_hours(symbol, start, end)
        hours = np.arange(first + (-first) % FUNDING_HOURS, last, FUNDING_HOURS)
        arrays = self._path.upto(last)
        rate = np.round(FUNDING_MEAN + FUNDING_SCALE * arrays["funding"][hours, i], 8)
        return pl.DataFrame({"ts": _hours(hours), "funding_rate": rate, "mark_price": arrays["perp_open"][hours, i]})

    def headlines(self, start: datetime, end: datetime) -> pl.DataFrame:
        """News files stamped in `[start, end)`, one at each xx:30: ts, id, title, url, domain."""
        first, last = _span(start + texts.STAMP_BEFORE, end + texts.STAMP_BEFORE)
        first = max(first, 0)
        last = max(first, last)
        days = range(first // 24, -(-last // 24))
        hours = np.arange(24 * days.start, 24 * days.stop)
        level = self._path.upto(24 * days.stop)["level"][hours]
        bounds = [self._listed_hours(s, EPOCH, LAST) for s in SYMBOLS]
        listed = np.stack([(hours >= a) & (hours < b) for a, b in bounds], axis=1)
        former = np.stack([hours <= _renamed_hour(s) for s in SYMBOLS], axis=1)
        frame = texts.headlines(self._path.randomness, days, level, listed, former)
        return frame.filter(pl.col("ts") >= start, pl.col("ts") < end)

    def onchain(self, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
        """Daily on-chain metrics of days in `[start, end)`: ts, metric, value. BTC has all; see `subjects.metrics_of`."""
        return subjects.onchain(self._path, self._index(symbol), start, end)

    def tvl(self, start: datetime, end: datetime) -> pl.DataFrame:
        """Total value locked of days in `[start, end)`: ts, chain ("Total" for all), tvl_usd."""
        return subjects.tvl(self._path, start, end)

    def treasury_10y(self, start: datetime, end: datetime) -> pl.DataFrame:
        """10-year yield of trading days in `[start, end)`: ts, yield_pct."""
        return subjects.treasury_10y(self._path, start, end)

    def vix(self, start: datetime, end: datetime) -> pl.DataFrame:
        """VIX of trading days in `[start, end)`: ts, open, high, low, close."""
        return subjects.vix(self._path, start, end)

    def fear_greed(self, start: datetime, end: datetime) -> pl.DataFrame:
        """Fear & Greed of days in `[start, end)`: ts, value_pct, from the average level of all coins on the day before."""
        return subjects.fear_greed(self._path, start, end)

    def oracle(self, start: datetime, end: datetime) -> pl.DataFrame:
        """The best forecasts at decision times in `[start, end)`, for every coin listed then.

        Columns symbol, ts, p_up (that the next hour's return is positive, given all that was published), p_up_latent (knowing
        the text noise too; the regime is still filtered), p_up_one_coin (as p_up, the regime filtered from this coin alone),
        sigma_1h (standard deviation of the next hourly log return), rv_24h_forecast (expected sum of the next 24 squared
        hourly log returns; its QLIKE is the floor). No row at `EPOCH`: no bar has closed. "All that was published" is that of
        the eight default coins, whichever of them a lake holds.
        """
        return self._long(start, end, lambda first, last: oracle.optimum(self._path, first, last))

    def truth(self, start: datetime, end: datetime) -> pl.DataFrame:
        """The planted drivers at decision times in `[start, end)`: what a perfect feature set would hold, for tests.

        Columns symbol, ts; published: level, funding, daily_mean (share of the daily tables in A), last_e (standardised
        return of the bar that closed), known_mean (A + L e'), p_regime (filtered); never published: regime, next_e
        (standardised return of the bar that opens).
        """

        def columns(first: int, last: int) -> dict[str, np.ndarray]:
            rows = {k: v[first:last] for k, v in self._path.upto(last).items()}
            shape = rows["e"].shape
            return {
                "level": LEVELS[rows["level"]],
                "funding": rows["funding"],
                "daily_mean": rows["exogenous"] - rows["sentiment"],
                "last_e": rows["last_e"],
                "known_mean": rows["known"],
                "p_regime": np.broadcast_to(rows["p_regime"][:, None], shape),
                "regime": np.broadcast_to(rows["regime"][:, None], shape),
                "next_e": rows["e"],
            }

        return self._long(start, end, columns)

    def graph(self) -> pl.DataFrame:
        """The planted lead-lag edges before any break: leader, follower, weight."""
        edges = [(SYMBOLS[j], SYMBOLS[i], self._path.lead[i, j]) for i, j in zip(*np.nonzero(self._path.lead), strict=True)]
        return pl.DataFrame(edges, schema={"leader": pl.String, "follower": pl.String, "weight": pl.Float64}, orient="row")

    def tables(self, start: datetime, end: datetime, symbols: Sequence[str] | None = None) -> dict[str, pl.DataFrame]:
        """The nine raw tables for `ts` in `[start, end)`, in their own columns (symbol, ts, available_at, ..., source).

        `symbols` are the eight default coins unless given. This is what the sources would bring from the server. Daily tables
        reach back 416 days before `EPOCH`: a start that early gives long daily lookbacks their history.
        """
        return subjects.raw_tables(self, start, end, tuple(symbols) if symbols is not None else DEFAULT_SYMBOLS)

    def _index(self, symbol: str) -> int:
        if symbol not in SYMBOLS:
            raise SettingsError(f"symbol {symbol!r} does not trade in the simulated market: it has {', '.join(SYMBOLS)}")
        return SYMBOLS.index(symbol)

    def _listed_hours(self, symbol: str, start: datetime, end: datetime) -> tuple[int, int]:
        first, last = _span(start, end)
        listed, delisted = self.listing(symbol)
        first = max(first, int((listed - EPOCH) / HOUR))
        if delisted is not None:
            last = min(last, int((delisted - EPOCH) / HOUR))
        return (first, last) if first < last else (0, 0)

    def _long(self, start: datetime, end: datetime, columns: Callable[[int, int], dict[str, np.ndarray]]) -> pl.DataFrame:
        first, last = _span(start, end)
        first = max(first, 1)
        last = max(first, last)
        values = columns(first, last)
        hours = np.arange(first, last)
        frames = []
        for i, symbol in enumerate(SYMBOLS):
            frame = pl.DataFrame({"ts": _hours(hours)} | {k: np.ascontiguousarray(v[:, i]) for k, v in values.items()})
            listed, delisted = self.listing(symbol)
            keep = pl.col("ts") > listed if delisted is None else (pl.col("ts") > listed) & (pl.col("ts") < delisted)
            frames.append(frame.filter(keep).select(pl.lit(symbol).alias("symbol"), pl.all()))
        return pl.concat(frames)


def _checked(breaks: Sequence[Break]) -> tuple[Break, ...]:
    last = EPOCH
    for change in breaks:
        if change.after != REVERSED and change.after not in PLANTED:
            raise SettingsError(f"a break to {change.after!r}: expected {REVERSED} or one of {', '.join(PLANTED)}")
        if change.at.tzinfo is None or (change.at - EPOCH) % HOUR or not last < change.at < LAST:
            raise SettingsError(
                f"a break at {change.at}: expected the open of a bar, in UTC, after {EPOCH} and any earlier break"
            )
        last = change.at
    return tuple(breaks)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _span(start: datetime, end: datetime) -> tuple[int, int]:
    """Hours since `EPOCH` of the whole hours in `[start, end)`; (0, 0) where there is none."""
    for name, value in (("start", start), ("end", end)):
        if value.tzinfo is None:
            raise SettingsError(f"{name} = {value!r} has no time zone: give an aware UTC datetime")
    first, last = -((EPOCH - start) // HOUR), -((EPOCH - min(end, LAST)) // HOUR)
    return (first, last) if first < last else (0, 0)


def _renamed_hour(symbol: str) -> int:
    """Hour since `EPOCH` at which the coin took its present ticker, -1 if it never had another."""
    former = market_coins.COINS[symbol].former
    return (_midnight(former[-1][1]) - EPOCH) // HOUR if former else -1


def _hours(hours: np.ndarray) -> pl.Series:
    micros = int(EPOCH.timestamp()) * 1_000_000 + hours.astype(np.int64) * 3_600_000_000
    return pl.Series(micros).cast(UTC_US)
