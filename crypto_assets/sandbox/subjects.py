"""The daily subjects (on-chain, DeFi, macro, Fear & Greed) as their providers print them, and all nine raw tables at once."""

from __future__ import annotations

import typing
from collections.abc import Callable
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.errors import SettingsError
from crypto_assets.market.time import DAY
from crypto_assets.sandbox.daily import FIRST_DAY, WARMUP_DAYS, is_trading_day
from crypto_assets.sandbox.kernels import smooth
from crypto_assets.sandbox.path import Path
from crypto_assets.sandbox.planting import COINS, DEFI_CHAINS, EPOCH, LAST, LEVELS, ONCHAIN_LOG_SCALE, TVL_LOG_SCALE

if typing.TYPE_CHECKING:
    from crypto_assets.sandbox.simulator import SimulatedMarket

FIRST = EPOCH - WARMUP_DAYS * DAY
EVERY_COIN = ("AdrActCnt", "TxCnt", "CapMVRVCur", "CapMrktCurUSD", "SplyCur", "IssTotUSD", "FeeTotNtv")
FLOWS = ("FlowInExNtv", "FlowOutExNtv", "SplyExNtv")
TVL_START_USD = {"Total": 39.0e9, "Ethereum": 23.0e9, "Solana": 2.1e8, "Polygon": 1.0e9, "Cardano": 5.0e7}
INFLATION_PER_DAY = 5e-5
REALISED_PRICE_AR = 0.995
"""The realised price behind MVRV moves towards the close by half of one percent a day."""


def metrics_of(symbol: str) -> tuple[str, ...]:
    """On-chain metrics served for a coin: exchange flows for BTC and ETH, the hash rate for BTC."""
    more = FLOWS if symbol in ("BTC", "ETH") else ()
    return EVERY_COIN + more + (("HashRate",) if symbol == "BTC" else ())


def onchain(path: Path, i: int, start: datetime, end: datetime) -> pl.DataFrame:
    """Long metrics of coin `i`; see `SimulatedMarket.onchain`."""
    first, last = _days(start, end)
    coin = COINS[i]
    daily = path.daily(24 * max(last - WARMUP_DAYS, 1))
    values = _metrics(coin.symbol, i, daily, _daily_close(path, i, last), last)
    names = metrics_of(coin.symbol)
    ts = _dates(first, last)
    frames = [pl.DataFrame({"ts": ts, "value": values[m][first:last]}).with_columns(metric=pl.lit(m)) for m in names]
    frame = pl.concat(frames).select("ts", "metric", "value").sort("ts", "metric")
    return frame.filter(_listed(coin.listed, coin.delisted))


def _metrics(symbol: str, i: int, daily: dict[str, np.ndarray], close: np.ndarray, days: int) -> dict[str, np.ndarray]:
    coin = COINS[i]
    driver, noise = daily["onchain"][:days, i], daily["metric_noise"][:days, i]
    supply = np.round(coin.supply * (1 + INFLATION_PER_DAY * (np.arange(days) - WARMUP_DAYS)), 2)
    transactions = np.rint(2 * coin.active_addresses * np.exp(0.7 * ONCHAIN_LOG_SCALE * driver + 0.05 * noise[:, 0]))
    realised = smooth(close, REALISED_PRICE_AR)
    turnover = 0.002 * supply * np.exp(0.1 * noise[:, 1])
    return {
        "AdrActCnt": np.rint(coin.active_addresses * np.exp(ONCHAIN_LOG_SCALE * driver)),
        "TxCnt": transactions,
        "HashRate": 2.5e8 * np.exp(0.0006 * (np.arange(days) - WARMUP_DAYS) + 0.03 * noise[:, 2]),
        "CapMVRVCur": np.round(close / realised, 6),
        "CapMrktCurUSD": np.round(close * supply, 2),
        "SplyCur": supply,
        "IssTotUSD": np.round(close * INFLATION_PER_DAY * coin.supply * np.exp(0.02 * noise[:, 3]), 2),
        "FeeTotNtv": np.round(1e-5 * transactions * np.exp(0.1 * noise[:, 4]), 8),
        "FlowInExNtv": np.round(turnover * np.exp(-0.05 * driver), 4),
        "FlowOutExNtv": np.round(turnover * np.exp(0.05 * driver), 4),
        "SplyExNtv": np.round(0.12 * supply * np.exp(0.002 * noise[:, 5]), 4),
    }


def _daily_close(path: Path, i: int, days: int) -> np.ndarray:
    """Close of each UTC day, the first price before `EPOCH`; `days` counted from `FIRST_DAY`."""
    simulated = max(days - WARMUP_DAYS, 0)
    before = np.full(min(days, WARMUP_DAYS), COINS[i].price_usd)
    if not simulated:
        return before
    return np.concatenate([before, path.upto(24 * simulated)["perp_close"][23 : 24 * simulated : 24, i]])


def tvl(path: Path, start: datetime, end: datetime) -> pl.DataFrame:
    """See `SimulatedMarket.tvl`."""
    first, last = _days(start, end)
    daily = path.daily(24 * max(last - WARMUP_DAYS, 1))
    steps = TVL_LOG_SCALE * daily["tvl"][:, None] + daily["chain_noise"]
    growth = np.exp(np.cumsum(steps, axis=0))
    ts = _dates(first, last)
    frames = [
        pl.DataFrame({"ts": ts, "tvl_usd": np.round(TVL_START_USD[c] * growth[first:last, j], 2)}).with_columns(chain=pl.lit(c))
        for j, c in enumerate(DEFI_CHAINS)
    ]
    return pl.concat(frames).select("ts", "chain", "tvl_usd").sort("ts", "chain")


def treasury_10y(path: Path, start: datetime, end: datetime) -> pl.DataFrame:
    """See `SimulatedMarket.treasury_10y`."""
    first, last = _days(start, end)
    daily = path.daily(24 * max(last - WARMUP_DAYS, 1))
    return _trading(pl.DataFrame({"ts": _dates(first, last), "yield_pct": daily["yield_pct"][first:last]}), first, last)


def vix(path: Path, start: datetime, end: datetime) -> pl.DataFrame:
    """See `SimulatedMarket.vix`."""
    first, last = _days(start, end)
    rows = path.daily(24 * max(last - WARMUP_DAYS, 1))["vix"][first:last]
    columns = {name: np.ascontiguousarray(rows[:, j]) for j, name in enumerate(("open", "high", "low", "close"))}
    return _trading(pl.DataFrame({"ts": _dates(first, last)} | columns), first, last)


def fear_greed(path: Path, start: datetime, end: datetime) -> pl.DataFrame:
    """See `SimulatedMarket.fear_greed`."""
    first, last = _days(start, end)
    mood = path.daily(24 * max(last - WARMUP_DAYS, 1))["mood"]
    level = LEVELS[path.upto(24 * max(last - WARMUP_DAYS, 1))["level"]]
    average = level[: len(level) // 24 * 24].reshape(-1, 24, level.shape[1]).mean(axis=(1, 2))
    feeling = np.concatenate([0.6 * mood[: WARMUP_DAYS + 1], average])
    value = np.clip(np.rint(50 + 25 * feeling), 0, 100)
    return pl.DataFrame({"ts": _dates(first, last), "value_pct": value[first:last]})


def raw_tables(market: SimulatedMarket, start: datetime, end: datetime, symbols: tuple[str, ...]) -> dict[str, pl.DataFrame]:
    """See `SimulatedMarket.tables`."""

    def per_coin(read: Callable[[str], pl.DataFrame]) -> pl.DataFrame:
        return pl.concat([read(s).select(pl.lit(s).alias("symbol"), pl.all()) for s in symbols])

    hour, half = timedelta(hours=1), timedelta(minutes=30)
    frames = {
        "raw/binance_candles": (per_coin(lambda s: market.candles(s, "spot", start, end)), hour, "binance_spot"),
        "raw/binance_perp_candles": (per_coin(lambda s: market.candles(s, "perp", start, end)), hour, "binance_futures"),
        "raw/binance_funding": (per_coin(lambda s: market.funding(s, start, end)), timedelta(0), "binance_futures"),
        "raw/fear_greed": (market.fear_greed(start, end), hour, "alternative_me"),
        "raw/news": (market.headlines(start, end), half, "gdelt_bulk"),
        "raw/coinmetrics_onchain": (per_coin(lambda s: market.onchain(s, start, end)), 27 * hour, "coinmetrics"),
        "raw/defillama_tvl": (market.tvl(start, end), 27 * hour, "defillama"),
        "raw/treasury_10y": (market.treasury_10y(start, end), 23 * hour + half, "treasury"),
        "raw/cboe_vix": (market.vix(start, end), 30 * hour, "cboe"),
    }
    return {name: _stamped(frame, lag, source) for name, (frame, lag, source) in frames.items()}


def _stamped(frame: pl.DataFrame, lag: timedelta, source: str) -> pl.DataFrame:
    head = [c for c in ("symbol", "ts") if c in frame.columns]
    rest = [c for c in frame.columns if c not in head]
    return frame.select(*head, (pl.col("ts") + lag).alias("available_at"), *rest, pl.lit(source).alias("source"))


def _days(start: datetime, end: datetime) -> tuple[int, int]:
    """Rows of the daily arrays whose midnight lies in `[start, end)`; (0, 0) where there is none."""
    for name, value in (("start", start), ("end", end)):
        if value.tzinfo is None:
            raise SettingsError(f"{name} = {value!r} has no time zone: give an aware UTC datetime")
    first, last = max(-((FIRST - start) // DAY), 0), -((FIRST - min(end, LAST)) // DAY)
    return (first, last) if first < last else (0, 0)


def _dates(first: int, last: int) -> pl.Series:
    micros = int(FIRST.timestamp()) * 1_000_000 + np.arange(first, last, dtype=np.int64) * 86_400_000_000
    return pl.Series(micros).cast(UTC_US)


def _trading(frame: pl.DataFrame, first: int, last: int) -> pl.DataFrame:
    keep = [is_trading_day(FIRST_DAY + timedelta(days=d)) for d in range(first, last)]
    return frame.filter(pl.Series(keep, dtype=pl.Boolean))


def _listed(listed: date | None, delisted: date | None) -> pl.Expr:
    expr = pl.lit(True)
    if listed is not None:
        expr &= pl.col("ts").dt.date() >= listed
    if delisted is not None:
        expr &= pl.col("ts").dt.date() < delisted
    return expr
