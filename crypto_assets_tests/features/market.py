"""A random market in table form: walks with holes, a late listing, a delisting; slow tables with gaps, revisions, late rows."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl

UTC_US = pl.Datetime("us", "UTC")
METRICS = (
    "AdrActCnt",
    "TxCnt",
    "HashRate",
    "CapMVRVCur",
    "CapMrktCurUSD",
    "FlowInExNtv",
    "FlowOutExNtv",
    "SplyExNtv",
    "SplyCur",
    "IssTotUSD",
    "FeeTotNtv",
)
CHAINS = ("Total", "Ethereum", "Solana", "Polygon", "Cardano")


def random_market(symbols: tuple[str, ...], first: date, days: int, seed: int = 0, before: int = 0) -> dict[str, pl.DataFrame]:
    """Every table the families read, over `days` days; those of daily rows begin `before` days earlier."""
    from crypto_assets_tests.features.further import further

    rng = np.random.default_rng(seed)
    start = datetime(first.year, first.month, first.day, tzinfo=UTC)
    early, more = start - timedelta(days=before), days + before
    return {
        "curated/candles": candles(rng, symbols, start, days),
        "curated/text_scores": texts(rng, symbols, start, days),
        "raw/binance_funding": funding(rng, symbols, start, days),
        "raw/fear_greed": daily(rng, start, days, {}, 1.0, value_pct=lambda n: rng.integers(5, 95, n).astype(float)),
        "raw/coinmetrics_onchain": onchain(rng, symbols[: max(2, len(symbols) // 2)], early, more),
        "raw/defillama_tvl": pl.concat(
            daily(rng, start, days, {"chain": c}, 27.0, tvl_usd=lambda n: walk(rng, n, 1e9, 0.02)) for c in CHAINS
        ),
        "raw/treasury_10y": daily(rng, start, days, {}, 23.5, weekends=False, yield_pct=lambda n: walk(rng, n, 4.0, 0.01)),
        "raw/cboe_vix": daily(rng, start, days, {}, 30.0, weekends=False, close=lambda n: walk(rng, n, 18.0, 0.05)),
        **further(rng, symbols, early, more),
    }


def walk(rng: np.random.Generator, n: int, level: float, step: float) -> np.ndarray:
    return level * np.exp(np.cumsum(rng.normal(0, step, n)))


def candles(rng: np.random.Generator, symbols: tuple[str, ...], start: datetime, days: int) -> pl.DataFrame:
    n = 24 * days
    market = rng.standard_t(4, n) * 0.004
    frames = []
    for i, symbol in enumerate(symbols):
        r = 0.7 * market + rng.standard_t(4, n) * 0.005
        close = 10.0 ** (i % 5) * np.exp(np.cumsum(r))
        opened = np.concatenate([close[:1], close[:-1]]) * np.exp(rng.normal(0, 1e-4, n))
        reach = np.abs(rng.normal(0, 0.003, (2, n)))
        volume = np.exp(rng.normal(5, 1, n))
        frame = pl.DataFrame(
            {
                "symbol": [symbol] * n,
                "ts": hours(start, n),
                "open": opened,
                "high": np.maximum(opened, close) * (1 + reach[0]),
                "low": np.minimum(opened, close) * (1 - reach[1]),
                "close": close,
                "volume": volume,
                "quote_volume_usd": volume * close,
                "trades": rng.integers(10, 1000, n),
                "taker_buy_volume": volume * rng.uniform(0.3, 0.7, n),
                "is_disputed": [False] * n,
                "spot_close": close * np.exp(rng.normal(0, 5e-4, n)),
                "source": ["random"] * n,
            }
        )
        keep = rng.random(n) > 0.003
        keep[n // 3 + 7 * i : n // 3 + 7 * i + i % 4] = False
        if i == len(symbols) - 1 and i > 2:
            keep[: n // 4] = False
        if i == len(symbols) - 2 and i > 2:
            keep[(9 * n) // 10 :] = False
        frames.append(frame.filter(pl.Series(keep)))
    rows = pl.concat(frames).with_columns(
        pl.col("ts").cast(UTC_US), available_at=pl.col("ts").cast(UTC_US) + pl.duration(hours=1)
    )
    return rows.sort("symbol", "ts")


def hours(start: datetime, n: int) -> pl.Series:
    return pl.datetime_range(start, start + timedelta(hours=n - 1), "1h", time_unit="us", eager=True)


def texts(rng: np.random.Generator, symbols: tuple[str, ...], start: datetime, days: int) -> pl.DataFrame:
    n = 40 * days
    ts = start + timedelta(minutes=30) + np.sort(rng.integers(0, 24 * days, n)) * timedelta(hours=1)
    rows = pl.DataFrame(
        {
            "id": [f"t{i}" for i in range(n)],
            "symbol": rng.choice([*symbols, "ALL"], n),
            "ts": pl.Series(list(ts), dtype=UTC_US),
            "score": np.round(rng.uniform(-1, 1, n), 3),
            **read(np.random.default_rng(n), n),
        }
    ).with_columns(available_at=pl.col("ts") + pl.duration(minutes=30))
    second = rows.filter(pl.Series(rng.random(n) < 0.1)).with_columns(symbol=pl.lit("ALL2"))
    late = rows.filter(pl.Series(rng.random(n) < 0.05)).with_columns(
        score=-pl.col("score"), available_at=pl.col("available_at") + pl.duration(hours=5)
    )
    return pl.concat([rows, second, late]).sort("id", "symbol", "ts", "available_at")


def read(rng: np.random.Generator, n: int) -> dict[str, object]:
    """The further columns of `curated/text_scores`, a few of them unknown as in rows that are older than the columns."""
    old = rng.random(n) < 0.02
    shares = {c: pl.Series(rng.uniform(0, 0.3, n)) for c in ("fear", "joy", "anger", "sadness", "surprise", "urgency")}
    known = {"entity_score": pl.Series(rng.uniform(-1, 1, n)), **shares}
    return {
        "channel": rng.choice(["gdelt", "reddit"], n),
        **{c: values.set(pl.Series(old), None) for c, values in known.items()},
        "influence": pl.Series(rng.exponential(2, n)).set(pl.Series(rng.random(n) < 0.5), None),
        "scorer": ["random"] * n,
    }


def funding(rng: np.random.Generator, symbols: tuple[str, ...], start: datetime, days: int) -> pl.DataFrame:
    n = 3 * days
    ts = pl.datetime_range(start, start + timedelta(hours=8 * (n - 1)), "8h", time_unit="us", eager=True)
    frames = [
        pl.DataFrame({"symbol": [s] * n, "ts": ts, "funding_rate": 1e-4 + rng.normal(0, 1e-4, n)}).filter(
            pl.Series(rng.random(n) > 0.02)
        )
        for s in symbols
    ]
    return pl.concat(frames).with_columns(
        available_at=pl.col("ts"), mark_price=pl.lit(None, dtype=pl.Float64), source=pl.lit("random")
    )


def onchain(rng: np.random.Generator, symbols: tuple[str, ...], start: datetime, days: int) -> pl.DataFrame:
    return pl.concat(
        daily(rng, start, days, {"symbol": s, "metric": m}, 27.0, value=lambda n: walk(rng, n, 1e5, 0.05))
        for s in symbols
        for m in METRICS
    )


def daily(rng: np.random.Generator, start: datetime, days: int, keys: dict, lag_hours: float, weekends: bool = True, **values):
    """Daily rows with holes, each published `lag_hours` after its day began, some late, some revised days later."""
    ts = pl.datetime_range(start, start + timedelta(days=days - 1), "1d", time_unit="us", eager=True)
    rows = pl.DataFrame({"ts": ts, **{c: make(days) for c, make in values.items()}}).with_columns(
        available_at=pl.col("ts") + pl.duration(minutes=int(lag_hours * 60)),
        source=pl.lit("random"),
        **{k: pl.lit(v) for k, v in keys.items()},
    )
    rows = rows.filter(pl.Series(rng.random(days) > 0.03) & (pl.col("ts").dt.weekday() < 6 if not weekends else pl.lit(True)))
    late = pl.Series(rng.random(rows.height) < 0.05)
    rows = rows.with_columns(
        available_at=pl.when(late).then(pl.col("available_at") + pl.duration(hours=60)).otherwise("available_at")
    )
    revised = rows.filter(pl.Series(rng.random(rows.height) < 0.1)).with_columns(
        *[pl.col(c) * 1.01 for c in values], available_at=pl.col("available_at") + pl.duration(hours=77)
    )
    return pl.concat([rows, revised]).sort("available_at", "ts")
