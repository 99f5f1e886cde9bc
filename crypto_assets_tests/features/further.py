"""Random rows of the tables beyond the default graph, with holes, blanks, late rows and revisions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from crypto_assets.features._onchain_more import OLDER, YOUNG
from crypto_assets_tests.features.market import UTC_US, daily, walk

CHARTS = ("estimated-transaction-volume-usd", "n-transactions", "n-transactions-per-block", "miners-revenue", "mempool-size")
HOLDERS = ("sopr", "sth-sopr", "long-term-hodler-supply-btc", "short-term-hodler-supply-btc")
LINES = ("averageGasPrice", "activeAccounts", "newAccounts", "newContracts", "networkUtilization")
GLASSNODE = (
    *("indicators/nvt", "indicators/sopr", "supply/liquid_sum", "supply/illiquid_sum"),
    *("distribution/balance_1pct_holders", "addresses/min_1k_count", "supply/profit_relative"),
)
SANTIMENT = (
    *("whale_transaction_count_100k_usd_to_inf", "network_growth"),
    *("social_volume_total", "sentiment_weighted_total"),
)
"""Metrics that come a month late."""
POOLS = (("a", "lido", "STETH"), ("b", "rocket-pool", "RETH"), ("c", "aave-v3", "USDC"), ("d", "sky-lending", "SUSDS"))
PAIRS = (("ethereum", "p", "WETH", "USDC"), ("ethereum", "q", "LINK", "WETH"), ("solana", "r", "USDC", "SOL"))
RECENT = 45
"""Days with hourly and finer rows, the last ones."""


def further(rng: np.random.Generator, symbols: Sequence[str], start: datetime, days: int) -> dict[str, pl.DataFrame]:
    """Every table that the families read and the default graph has not."""
    tables = _onchain(rng, symbols, start, days) | _attention(rng, symbols, start, days)
    tables |= _defi(rng, start, days) | _macro(rng, start, days)
    recent = min(days, RECENT)
    return tables | _trading(rng, symbols, start + timedelta(days=days - recent), recent)


def _many(rng: np.random.Generator, start: datetime, days: int, metrics: Sequence[str], lag: float, level: float, **keys):
    make = lambda n: walk(rng, n, level, 0.05)  # noqa: E731
    return pl.concat([daily(rng, start, days, {**keys, "metric": m}, lag, value=make) for m in metrics])


def _onchain(rng: np.random.Generator, symbols: Sequence[str], start: datetime, days: int) -> dict[str, pl.DataFrame]:
    waves = [f"hodl-waves-supply/age_{age}" for age in (*YOUNG, *OLDER)]
    adjusted = [start + timedelta(days=13.7 * k) for k in range(int(days / 13.7) + 1)]
    difficulty = pl.DataFrame(
        {"ts": adjusted, "value": np.exp(rng.normal(0, 0.03, len(adjusted)))}, schema={"ts": UTC_US, "value": pl.Float64}
    ).with_columns(metric=pl.lit("difficulty_ratio"), source=pl.lit("random"), available_at=pl.col("ts") + timedelta(hours=2))
    return {
        "raw/blockchain_com_charts": _many(rng, start, days, CHARTS, 36, 1e5),
        "raw/mempool_mining": difficulty,
        "raw/bgeometrics_onchain": pl.concat(
            [_many(rng, start, days, HOLDERS, 192, 1.0), _many(rng, start, days, waves, 192, 1e6)]
        ),
        "raw/blockscout_stats": _many(rng, start, days, LINES, 36, 30.0),
        "raw/glassnode_metrics": pl.concat([_many(rng, start, days, GLASSNODE, 36, 2.0, symbol=s) for s in ("BTC", "ETH")]),
        "raw/santiment_metrics": pl.concat(
            _many(rng, start, days, metrics, lag, 99.0, symbol=s)
            for s in symbols
            for metrics, lag in ((SANTIMENT, 31 * 24), (["dev_activity"], 27))
        ),
        "raw/coingecko_market": pl.concat(
            [
                daily(rng, start, days, {"symbol": s}, 24.75, market_cap_usd=lambda n: walk(rng, n, 1e9, 0.03))
                for s in symbols[-max(1, len(symbols) - 1) :]
            ]
        ),
    }


def _attention(rng: np.random.Generator, symbols: Sequence[str], start: datetime, days: int) -> dict[str, pl.DataFrame]:
    counts = lambda n: np.floor(walk(rng, n, 300, 0.1))  # noqa: E731
    few = lambda n: rng.poisson(3, n).astype(float)  # noqa: E731
    blank = pl.when(pl.col("ts").dt.ordinal_day() % 17 > 0)
    reddit = [daily(rng, start, days, {"symbol": s}, 72, posts=counts, comments=counts) for s in symbols]
    gdelt = [
        daily(
            rng, start, days, {"symbol": s}, 25, tone=lambda n: rng.normal(0, 2, n), volume_pct=lambda n: walk(rng, n, 0.1, 0.1)
        )
        for s in symbols
    ]
    repos = [(s, f"{s}/{k}") for n, s in enumerate(symbols) for k in range(1 + n % 2)]
    return {
        "raw/wikimedia_pageviews": pl.concat([daily(rng, start, days, {"symbol": s}, 48, views=counts) for s in symbols]),
        "raw/arctic_shift_counts": pl.concat(reddit).with_columns(posts=blank.then("posts")),
        "raw/x_counts": pl.concat([daily(rng, start, days, {"symbol": s}, 24.2, posts=counts) for s in symbols]),
        "raw/gdelt_tone": pl.concat(gdelt).with_columns(tone=blank.then("tone")),
        "raw/github_commits": pl.concat(
            [daily(rng, start, days, {"symbol": s, "repo": r}, 192, commits=few, authors=few) for s, r in repos]
        ),
    }


def _defi(rng: np.random.Generator, start: datetime, days: int) -> dict[str, pl.DataFrame]:
    usd = lambda n: walk(rng, n, 1e9, 0.03)  # noqa: E731
    few = lambda n: rng.poisson(20, n).astype(float)  # noqa: E731
    percent = lambda n: 50 + 20 * np.sin(np.cumsum(rng.normal(0, 0.1, n)))  # noqa: E731
    n, first = 24 * min(days, RECENT), start + timedelta(days=max(0, days - RECENT), minutes=7)
    snapshots = pl.concat(
        pl.DataFrame(
            {
                "ts": pl.datetime_range(first, first + timedelta(hours=n - 1), "1h", time_unit="us", eager=True),
                "chain": chain,
                "pool": pool,
                "base": base,
                "quote": quote,
                "base_pct": percent(n),
                "liquidity_usd": walk(rng, n, 1e7, 0.01),
                "source": "random",
            }
        ).filter(pl.Series(rng.random(n) > 0.1))
        for chain, pool, base, quote in PAIRS
    ).with_columns(available_at=pl.col("ts"))
    return {
        "raw/defillama_yields": pl.concat(
            daily(rng, start, days, {"pool": p, "project": q, "pool_symbol": s}, 27, apy_pct=lambda n: walk(rng, n, 4, 0.05))
            for p, q, s in POOLS
        ),
        "raw/defillama_protocols": pl.concat(
            daily(rng, start, days, {"protocol": p}, 27, tvl_usd=usd, stable_pct=percent)
            for p in ("uniswap-v3", "aave-v3", "lido", "sky-lending")
        ).with_columns(stable_pct=pl.when(pl.col("protocol") != "lido").then("stable_pct")),
        "raw/defillama_stablecoins": daily(
            rng, start, days, {}, 27, circulating=usd, circulating_usd=lambda n: 1e9 * (1 + rng.normal(0, 1e-3, n))
        ),
        "raw/defillama_dex_volume": pl.concat(
            daily(rng, start, days, {"chain": c}, 27, volume_usd=usd)
            for c in ("Total", "Ethereum", "Solana", "Polygon", "Cardano")
        ),
        "raw/snapshot_governance": pl.concat(
            daily(rng, start, days, {"space": s}, 25, votes=few, proposals=few)
            for s in ("uniswapgovernance.eth", "aavedao.eth", "ens.eth")
        ),
        "raw/dexscreener_pools": snapshots,
    }


def _macro(rng: np.random.Generator, start: datetime, days: int) -> dict[str, pl.DataFrame]:
    one = lambda level: lambda n: walk(rng, n, level, 0.01)  # noqa: E731
    oil = pl.concat(daily(rng, start, days, {"grade": g}, 0, False, price_usd=one(80.0)) for g in ("WTI", "Brent"))
    thursday = pl.col("ts").dt.truncate("1w") + timedelta(days=10, hours=22)
    revised = (
        pl.when(pl.col("available_at") > pl.col("ts") + timedelta(hours=70)).then(timedelta(days=7)).otherwise(timedelta(0))
    )
    months = pl.datetime_range(start, start + timedelta(days=days), "1mo", time_unit="us", eager=True)
    pink = [
        pl.DataFrame({"ts": months, "value": walk(rng, months.len(), 100, 0.03), "series": name, "source": "random"})
        for name in ("Energy", "Non-energy", "Copper")
    ]
    return {
        "raw/ecb_fixings": daily(rng, start, days, {}, 16, False, dxy_ecb=one(103.0)),
        "raw/lbma_metals": daily(rng, start, days, {}, 18, False, gold_usd=one(2000.0), silver_usd=one(25.0)).with_columns(
            silver_usd=pl.when(pl.col("ts").dt.ordinal_day() % 9 > 0).then("silver_usd")
        ),
        "raw/eia_oil": oil.with_columns(available_at=thursday + revised),
        "raw/worldbank_commodities": pl.concat(pink).with_columns(
            pl.col("ts") + timedelta(days=6), available_at=pl.col("ts") + timedelta(days=7)
        ),
    }


def _hourly(rng: np.random.Generator, symbols: Sequence[str], start: datetime, days: int, make) -> pl.DataFrame:
    n = 24 * days
    ts = pl.datetime_range(start, start + timedelta(hours=n - 1), "1h", time_unit="us", eager=True)
    frames = [
        pl.DataFrame({"symbol": s, "ts": ts, "source": "random", **make(n)}).filter(pl.Series(rng.random(n) > 0.02))
        for s in symbols
    ]
    rows = pl.concat(frames).with_columns(available_at=pl.col("ts") + timedelta(hours=1))
    late = pl.Series(rng.random(rows.height) < 0.03)
    return rows.with_columns(
        available_at=pl.col("available_at") + pl.when(late).then(timedelta(hours=2)).otherwise(timedelta(0))
    )


def _trading(rng: np.random.Generator, symbols: Sequence[str], start: datetime, days: int) -> dict[str, pl.DataFrame]:
    ratio = lambda n: walk(rng, n, 1.0, 0.02)  # noqa: E731
    names = ("account_ratio", "top_account_ratio", "top_position_ratio", "taker_ratio")
    positions = _hourly(
        rng, symbols, start, days, lambda n: {"open_interest": walk(rng, n, 1e6, 0.01), **{name: ratio(n) for name in names}}
    ).with_columns(taker_ratio=pl.when(pl.col("ts").dt.hour() % 5 > 0).then("taker_ratio"))

    def premium(n: int) -> dict:
        middle = 5e-4 * np.sin(np.cumsum(rng.normal(0, 0.2, n)))
        reach = np.abs(rng.normal(0, 1e-4, (2, n)))
        return {"basis": middle, "basis_high": middle + reach[0], "basis_low": middle - reach[1]}

    sides = ("bid_100bps_usd", "ask_100bps_usd")
    book = _hourly(
        rng,
        symbols,
        start,
        days,
        lambda n: {"spread_bps": ratio(n), "imbalance": rng.uniform(-1, 1, n), **{s: walk(rng, n, 1e6, 0.05) for s in sides}},
    )
    return {
        "raw/binance_open_interest": positions,
        "raw/binance_basis": _hourly(rng, symbols, start, days, premium),
        "raw/binance_book": book.with_columns(pl.col("ts") + timedelta(minutes=9)).with_columns(available_at=pl.col("ts")),
        "raw/binance_depth": _depth(rng, symbols, start, days),
        "raw/binance_trades": trades(rng, symbols, start, days),
    }


def _depth(rng: np.random.Generator, symbols: Sequence[str], start: datetime, days: int) -> pl.DataFrame:
    bands = [
        _hourly(
            rng, symbols, start, days, lambda n, b=b: {"band_pct": float(b), "notional_usd": walk(rng, n, 1e6 * b * b, 0.1)}
        )
        for b in (-5, -2, -1, 1, 2, 5)
    ]
    rows = pl.concat(bands).with_columns(available_at=pl.col("ts").dt.truncate("1d") + timedelta(hours=34))
    revised = rows.filter(pl.Series(rng.random(rows.height) < 0.02)).with_columns(
        pl.col("notional_usd") * 1.5, available_at=pl.col("available_at") + timedelta(hours=5)
    )
    return pl.concat([rows, revised]).sort("symbol", "ts", "band_pct", "available_at")


def trades(rng: np.random.Generator, symbols: Sequence[str], start: datetime, days: int, share: float = 0.25) -> pl.DataFrame:
    """Minutes of trades; `share` of all minutes have any."""
    frames = []
    for symbol in symbols:
        at = np.flatnonzero(rng.random(1440 * days) < share)
        n = at.size
        volume, close = np.exp(rng.normal(2, 1, n)), 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, n)))
        vwap = close * np.exp(rng.normal(0, 1e-4, n))
        columns = {
            "symbol": [symbol] * n,
            "minute": at,
            "trades": rng.integers(1, 50, n),
            "volume": volume,
            "quote_volume_usd": volume * vwap,
            "taker_buy_volume": volume * rng.uniform(0, 1, n),
            "vwap": vwap,
            "close": close,
            "source": ["random"] * n,
        }
        frames.append(pl.DataFrame(columns))
    ts = (pl.lit(start) + pl.duration(minutes="minute")).cast(UTC_US)
    rows = pl.concat(frames).with_columns(ts=ts).drop("minute").with_columns(available_at=pl.col("ts") + timedelta(minutes=1))
    late = rows.filter(pl.Series(rng.random(rows.height) < 0.01))
    corrected = late.with_columns(pl.col("volume") * 2, available_at=pl.col("available_at") + timedelta(minutes=40))
    return pl.concat([rows, corrected])
