"""mempool.space: hash rate (H/s, stamped with the midnight that ends the day), difficulty adjustments newest first, fees."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.time import DAY, HOUR
from crypto_assets.sandbox import series
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints import _onchain as chain
from crypto_assets.sandbox.endpoints._wire import get, json_text
from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b'{"hashrates":[],"difficulty":[]}'
COMPUTED_AFTER = timedelta(hours=24, minutes=20)
INTERVALS = {"3d": 3, "1w": 7, "1m": 30, "3m": 90, "6m": 180, "1y": 365, "2y": 730, "3y": 1095}
RATE: chain.Metrics = {"hash_rate": lambda d: np.rint(1e12 * d["HashRate"])}
FEES = {"fastestFee": 1.0, "halfHourFee": 0.8, "hourFee": 0.6, "economyFee": 0.3, "minimumFee": 0.15}
"""Name -> share of the fastest."""


def mining(market: SimulatedMarket, start: datetime, end: datetime, _symbols: tuple[str, ...]) -> pl.DataFrame:
    """`raw/mempool_mining`."""
    rates = chain.table(market, "BTC", RATE, start, end, 27 * HOUR)
    changes = chain.adjustments(market, end).filter(pl.col("ts") >= start)
    parts = [
        changes.select("ts", value=column, metric=pl.lit(metric), available_at=pl.col("ts") + 2 * HOUR)
        for metric, column in (("difficulty", "difficulty"), ("difficulty_ratio", "ratio"))
    ]
    return pl.concat([rates, *(p.select(rates.columns) for p in parts)])


def fees(market: SimulatedMarket, start: datetime, end: datetime, _symbols: tuple[str, ...]) -> pl.DataFrame:
    """`raw/mempool_fees` as a snapshot each minute would show it."""
    ts = pl.datetime_range(start, end, "1m", closed="left", eager=True).cast(UTC_US).alias("ts")
    names = ("fastest_fee", "half_hour_fee", "hour_fee", "economy_fee", "minimum_fee")
    found = [list(_fees(market, at).values()) for at in ts]
    values = pl.DataFrame(found, schema=dict.fromkeys(names, pl.Float64), orient="row")
    return pl.concat([pl.DataFrame({"ts": ts, "available_at": ts}), values], how="horizontal")


TABLES = {"mempool_mining": mining, "mempool_fees": fees}


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [
        get("/v1/mining/hashrate/{interval}", lambda request: _hash_rate(world, request)),
        get("/v1/mining/difficulty-adjustments/{interval}", lambda request: _adjustments(world, request)),
        get("/v1/fees/recommended", lambda _: json_text(json.dumps(_fees(world.market, world.now())))),
    ]


def _since(world: World, request: Request) -> datetime:
    """An interval that is not known means everything."""
    days = INTERVALS.get(request.path_params["interval"])
    return world.now() - days * DAY if days else chain.FIRST


def _hash_rate(world: World, request: Request) -> Response:
    since, now = _since(world, request), world.now()
    frame = chain.table(world.market, "BTC", RATE, chain.FIRST, now - COMPUTED_AFTER, timedelta(0))
    ends = [(ts + DAY, rate) for ts, rate in frame.select("ts", "value").iter_rows() if ts + DAY >= since]
    rates = [f'{{"timestamp":{int(ts.timestamp())},"avgHashrate":{_number(rate)}}}' for ts, rate in ends]
    changes = chain.adjustments(world.market, now).filter(pl.col("ts") >= since)
    last = changes.row(-1, named=True) if changes.height else {"difficulty": 0.0}
    steps = [
        {"time": int(r["ts"].timestamp()), "height": r["height"], "difficulty": r["difficulty"], "adjustment": r["ratio"]}
        for r in changes.iter_rows(named=True)
    ]
    return json_text(
        f'{{"hashrates":[{",".join(rates)}],"difficulty":{json.dumps(steps)},'
        f'"currentHashrate":{_number(ends[-1][1] if ends else 0.0)},"currentDifficulty":{json.dumps(last["difficulty"])}}}'
    )


def _adjustments(world: World, request: Request) -> Response:
    frame = chain.adjustments(world.market, world.now()).filter(pl.col("ts") >= _since(world, request))
    rows = [[int(ts.timestamp()), height, difficulty, ratio] for ts, height, difficulty, ratio in frame.iter_rows()]
    return json_text(json.dumps(rows[::-1]))


def _number(value: float) -> str:
    """As JavaScript prints it: all digits below 1e21, an exponent from there on."""
    return f"{value:.0f}" if value < 1e21 else repr(value)


def _fees(market: SimulatedMarket, at: datetime) -> dict[str, int]:
    """Whole sat/vB; they change by the day and with the hour."""
    day = at.date()
    level = series.level(market.randomness, "mempool/fees", day, day, 3.0)[0, 0]
    fastest = 12.0 * float(np.exp(0.6 * level)) * (1.2 if 13 <= at.hour < 20 else 1.0)
    return {name: max(1, round(share * fastest)) for name, share in FEES.items()}
