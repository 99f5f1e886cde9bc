"""Candles and funding laid out as arrays on an hourly grid without holes.

Shapes: T bars, N coins. Row t is the bar that opens at `ts_T[t]`, which is also the decision time of what it fills.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta

import numpy as np
import polars as pl

from crypto_assets.market.errors import SchemaError

HOUR_US = 3_600_000_000
DELISTED_AFTER = 24
"""Hours of silence up to the end of the candles after which a coin counts as delisted; a shorter one is a hole in the data."""
VOLATILITY_HOURS = 168
"""A week: every hour of the day and day of the week once."""
LEAST_VOLATILITY_HOURS = 24


@dataclass(frozen=True)
class Market:
    """Prices in USD, NaN = no bar. `volume_TN`: traded value, USD, NaN = unknown; `rate_TN`: funding rate settled at the
    bar's open, 0 = none; `mark_TN`: its mark price, NaN where the provider gave none; `delisted_TN`: the coin has traded its
    last bar.
    """

    ts_T: np.ndarray
    symbols: tuple[str, ...]
    open_TN: np.ndarray
    high_TN: np.ndarray
    low_TN: np.ndarray
    close_TN: np.ndarray
    volume_TN: np.ndarray
    rate_TN: np.ndarray
    mark_TN: np.ndarray
    delisted_TN: np.ndarray

    @property
    def listed_TN(self) -> np.ndarray:
        """The coin has a bar that closes at `ts_T[t]`: it can be decided about."""
        return np.vstack([np.zeros((1, len(self.symbols)), bool), ~np.isnan(self.close_TN[:-1])])

    @property
    def known_TN(self) -> np.ndarray:
        """Last close known at `ts_T[t]`, NaN before the coin's first bar."""
        T = len(self.ts_T)
        before = np.vstack([np.full((1, len(self.symbols)), np.nan), self.close_TN[:-1]])
        at = np.maximum.accumulate(np.where(np.isnan(before), 0, np.arange(T)[:, None]), axis=0)
        return np.take_along_axis(before, at, axis=0)

    def cut(self, bars: slice) -> Market:
        """The grid of these bars alone."""
        arrays = {f.name: getattr(self, f.name)[bars] for f in fields(self) if f.name != "symbols"}
        return Market(symbols=self.symbols, **arrays)

    def last_close(self, t: int) -> np.ndarray:
        """Last close known at `ts_T[t]`, `[N]`, NaN before the coin's first bar."""
        known = ~np.isnan(self.close_TN[:t])
        latest = np.where(known.any(axis=0), t - 1 - known[::-1].argmax(axis=0), 0) if t else np.zeros(len(self.symbols), int)
        return np.where(known.any(axis=0), self.close_TN[latest, np.arange(len(self.symbols))], np.nan)

    def volatility(self) -> np.ndarray:
        """Root mean square of the hourly log returns of the week up to `ts_T[t]`, `[T, N]`; NaN under 24 known returns."""
        with np.errstate(invalid="ignore"):
            squared = np.diff(np.log(self.close_TN), axis=0, prepend=np.nan) ** 2
        known = ~np.isnan(squared)
        sums = np.vstack([np.zeros((1, len(self.symbols))), np.nancumsum(squared, axis=0)])
        counts = np.vstack([np.zeros((1, len(self.symbols))), np.cumsum(known, axis=0)])
        t = np.arange(len(self.ts_T))
        first = np.maximum(t - VOLATILITY_HOURS, 0)
        n = counts[t] - counts[first]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(n >= LEAST_VOLATILITY_HOURS, np.sqrt(np.maximum(sums[t] - sums[first], 0.0) / n), np.nan)


def require(frame: pl.DataFrame, what: str, columns: tuple[str, ...], key: tuple[str, ...]) -> None:
    """Refuse a frame that is no clean time series.

    Raises SchemaError for a missing column, a naive or non-UTC `ts`, one off the hour, a duplicate key or a clock that runs
    backwards within a key.
    """
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise SchemaError(f"{what} lack the columns {missing}: expected {list(columns)}, found {frame.columns}")
    kind = frame.schema["ts"]
    if not (isinstance(kind, pl.Datetime) and kind.time_zone == "UTC"):
        raise SchemaError(f"{what}.ts must be UTC datetimes, was {kind}: give aware UTC timestamps")
    off = frame.filter(pl.col("ts").dt.truncate("1h") != pl.col("ts"))
    if len(off):
        raise SchemaError(f"{what}.ts must lie on the hour; {len(off)} rows do not, the first {off.row(0, named=True)}")
    group = [c for c in key if c != "ts"]
    steps = frame.select(*group, "ts", step=pl.col("ts").diff().over(group)).filter(pl.col("step") <= timedelta(0))
    if len(steps):
        first = steps.row(0, named=True)
        where = ", ".join(f"{c}={first[c]}" for c in key)
        kind_of = "a duplicate row" if first["step"] == timedelta(0) else "a clock that runs backwards"
        raise SchemaError(f"{what} hold {kind_of} at {where}: give each {key} once, sorted by ts")


def lay_out(frame: pl.DataFrame, column: str, symbols: tuple[str, ...], start_us: int, hours: int, empty: float) -> np.ndarray:
    """`column` of the rows inside the grid as `[hours, N]` float64, `empty` where there is no row, null or NaN."""
    index = pl.DataFrame({"symbol": symbols, "n": np.arange(len(symbols))}, schema={"symbol": pl.String, "n": pl.Int64})
    rows = frame.select("symbol", t=(pl.col("ts").dt.epoch("us") - start_us) // HOUR_US, value=pl.col(column).cast(pl.Float64))
    rows = rows.join(index, on="symbol", how="inner").filter(pl.col("t").is_between(0, hours - 1))
    out = np.full((hours, len(symbols)), empty)
    out[rows["t"].to_numpy(), rows["n"].to_numpy()] = rows["value"].fill_null(empty).fill_nan(empty).to_numpy()
    return out


def market(candles: pl.DataFrame, funding: pl.DataFrame | None) -> Market:
    """The grid of `candles` (symbol, ts = bar's open, open, close, and where they are known high, low, quote_volume_usd) and
    `funding` (symbol, ts, funding_rate, mark_price?, available_at?).

    Where `funding` says when a row became available, a settlement that several rows describe counts once, as first published.
    Coins are sorted by symbol. A settlement belongs to the bar whose open is nearest, so a few milliseconds of delay do not
    move it. Raises SchemaError for an empty table, a price that is null, not finite or not positive, a duplicate row or a
    clock that runs backwards.
    """
    if candles.is_empty():
        raise SchemaError("the candles hold no rows: a backtest needs curated/candles over its window")
    require(candles, "candles", ("symbol", "ts", "open", "close"), ("symbol", "ts"))
    for column in ("open", "close"):
        bad = candles.filter(~(pl.col(column).is_finite() & (pl.col(column) > 0)).fill_null(False))
        if len(bad):
            row = bad.row(0, named=True)
            raise SchemaError(
                f"candles.{column} must be a finite price above 0; {len(bad)} rows are not, the first "
                f"{row['symbol']} {row['ts']}: {row[column]!r}; drop the bar or repair it"
            )
    symbols = tuple(sorted(candles["symbol"].unique()))
    stamps = candles["ts"].dt.epoch("us")
    start, end = int(stamps.min()), int(stamps.max())  # type: ignore[arg-type]
    hours = (end - start) // HOUR_US + 1
    close = lay_out(candles, "close", symbols, start, hours, np.nan)
    last = hours - 1 - (~np.isnan(close))[::-1].argmax(axis=0)
    delisted = (np.arange(hours)[:, None] > last) & (last < hours - DELISTED_AFTER)
    rate, mark = _funding(funding, symbols, start, hours)
    ts = (start + HOUR_US * np.arange(hours)).astype("datetime64[us]")
    opens, high, low, volume = (_known(candles, c, symbols, start, hours) for c in ("open", "high", "low", "quote_volume_usd"))
    return Market(ts, symbols, opens, high, low, close, volume, rate, mark, delisted)


def _known(candles: pl.DataFrame, column: str, symbols: tuple[str, ...], start: int, hours: int) -> np.ndarray:
    if column not in candles.columns:
        return np.full((hours, len(symbols)), np.nan)
    return lay_out(candles, column, symbols, start, hours, np.nan)


def _funding(funding: pl.DataFrame | None, symbols: tuple[str, ...], start: int, hours: int) -> tuple[np.ndarray, np.ndarray]:
    if funding is None or funding.is_empty():
        return np.zeros((hours, len(symbols))), np.full((hours, len(symbols)), np.nan)
    missing = [c for c in ("symbol", "ts", "funding_rate") if c not in funding.columns]
    if missing:
        raise SchemaError(f"funding lacks the columns {missing}: expected symbol, ts, funding_rate, found {funding.columns}")
    if "mark_price" not in funding.columns:
        funding = funding.with_columns(mark_price=pl.lit(None, pl.Float64))
    snapped = funding.with_columns(pl.col("ts").dt.round("1h"))
    if "available_at" in snapped.columns:
        # Sources a second apart, and a provider's revision, describe the settlement that was paid once: as first published.
        snapped = snapped.sort("available_at", maintain_order=True).unique(["symbol", "ts"], keep="first", maintain_order=True)
    require(snapped, "funding", ("symbol", "ts", "funding_rate"), ("symbol", "ts"))
    bad = snapped.filter(~pl.col("funding_rate").is_finite().fill_null(False))
    if len(bad):
        raise SchemaError(f"funding.funding_rate must be finite; {len(bad)} rows are not, the first {bad.row(0, named=True)}")
    return (
        lay_out(snapped, "funding_rate", symbols, start, hours, 0.0),
        lay_out(snapped, "mark_price", symbols, start, hours, np.nan),
    )
