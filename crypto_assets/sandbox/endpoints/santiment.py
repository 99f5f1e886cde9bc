"""Santiment: `POST /graphql` with aliased `getMetric { timeseriesDataPerSlugJson }`; the plan is the free one.

Restricted metrics are cut to the year that ended 30 days ago, and refused where nothing is left. The running day is there, with
what has been counted so far.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.coins import COINS
from crypto_assets.market.time import DAY
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints import _onchain as chain
from crypto_assets.sandbox.endpoints._wire import json_text
from crypto_assets.sandbox.planting import SYMBOLS
from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b'{"data":{}}'
LAG, RESTRICTED_LAG = timedelta(hours=27), 31 * DAY
OPEN: chain.Metrics = {
    "daily_active_addresses": lambda d: d["AdrActCnt"],
    "dev_activity": lambda d: np.rint(d.around("development", 60, 0.4, 20.0)),
}
RESTRICTED: chain.Metrics = {
    "social_volume_total": lambda d: np.rint(d.around("social volume", 0.002, 0.6, 4.0) * d["AdrActCnt"]),
    "sentiment_weighted_total": lambda d: np.round(d.level("sentiment", 4.0)[:, 0], 6),
    "whale_transaction_count_100k_usd_to_inf": lambda d: np.rint(d.around("whales", 0.01, 0.3, 7.0) * d["TxCnt"]),
    "network_growth": lambda d: np.rint(d.around("growth", 0.3, 0.1, 10.0) * d["AdrActCnt"]),
    "exchange_inflow": lambda d: _flow(d, "FlowInExNtv"),
    "exchange_outflow": lambda d: _flow(d, "FlowOutExNtv"),
}
METRICS = {**OPEN, **RESTRICTED}
QUERY = re.compile(
    r'(\w+)\s*:\s*getMetric\(\s*metric:\s*"(\w+)"\s*\)\s*\{\s*timeseriesDataPerSlugJson\(\s*selector:\s*\{\s*slugs:\s*'
    r'(\[[^\]]*\])\s*\}\s*,\s*from:\s*"([^"]+)"\s*,\s*to:\s*"([^"]+)"\s*,\s*interval:\s*"1d"\s*\)\s*\}'
)


def _flow(days: chain.Days, name: str) -> np.ndarray:
    """The simulator's flow, or a thousandth of the supply where it has none."""
    return days[name] if name in days.simulated else np.round(days["SplyCur"] * days.around(name, 0.001, 0.2, 5.0), 4)


def _coin(market: SimulatedMarket, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
    return chain.long(chain.Days.upto(market, symbol, end), METRICS, start).with_columns(symbol=pl.lit(symbol))


def rows(market: SimulatedMarket, start: datetime, end: datetime, symbols: tuple[str, ...]) -> pl.DataFrame:
    """`raw/santiment_metrics`."""
    frame = pl.concat([_coin(market, symbol, start, end) for symbol in symbols])
    lag = pl.when(pl.col("metric").is_in(list(OPEN))).then(LAG).otherwise(RESTRICTED_LAG)
    return frame.with_columns(available_at=pl.col("ts") + lag)


TABLES = {"santiment_metrics": rows}


def routes(world: World) -> list[Route]:
    """The routes of this provider."""

    async def graphql(request: Request) -> Response:
        return _answer(world, request, await request.body())

    return [Route("/graphql", graphql, methods=["POST"])]


def _answer(world: World, request: Request, body: bytes) -> Response:
    if not request.headers.get("authorization", "").removeprefix("Apikey ").strip():
        return json_text('{"errors":{"details":"Unauthorized"}}', 401)
    try:
        text = json.loads(body)["query"]
    except (ValueError, KeyError, TypeError):
        return json_text('{"errors":[{"message":"No query document supplied"}]}', 400)
    asked = QUERY.findall(text)
    if not asked:
        return json_text('{"errors":[{"message":"syntax error","locations":[{"line":1,"column":1}]}]}')
    data, errors = {}, []
    for alias, metric, slugs, first, last in asked:
        found, refusal = _series(world, metric, json.loads(slugs), _moment(first), _moment(last))
        data[alias] = {"timeseriesDataPerSlugJson": found} if refusal is None else None
        if refusal:
            errors.append({"message": refusal, "path": [alias, "timeseriesDataPerSlugJson"], "locations": []})
    return json_text(json.dumps({"data": data, **({"errors": errors} if errors else {})}))


def _series(
    world: World, metric: str, slugs: list[str], first: datetime, last: datetime
) -> tuple[list[dict] | None, str | None]:
    """The days of a metric, or why it is refused."""
    now = world.now()
    if metric not in METRICS:
        return None, f"The metric '{metric}' is not supported or is mistyped."
    known = {COINS[s].name_at("santiment"): s for s in SYMBOLS}
    unknown = [slug for slug in slugs if slug not in known]
    if unknown:
        return None, f"The slug {unknown[0]!r} is not an existing slug."
    if metric in RESTRICTED:
        oldest, newest = now - 395 * DAY, now - 30 * DAY
        if last < oldest or first > newest:
            return None, (
                f"Both `from` and `to` parameters are outside the allowed interval you can query {metric} with your current "
                f"subscription SANAPI FREE. Upgrade to a higher tier in order to access more data.\n\n"
                f"Allowed time restrictions:\n  - `from` - {oldest}\n  - `to`   - {newest}\n"
            )
        first, last = max(first, oldest), min(last, newest)
    by_day: dict[datetime, list[dict]] = {}
    for slug in sorted(slugs):
        days = chain.Days.upto(world.market, known[slug], min(last, now) + timedelta(microseconds=1))
        for ts, value in chain.long(days, {metric: METRICS[metric]}, first).select("ts", "value").iter_rows():
            running = ts + DAY > now
            by_day.setdefault(ts, []).append({"slug": slug, "value": round(0.4 * value) if running else value})
    return [{"datetime": f"{ts:%Y-%m-%dT%H:%M:%SZ}", "data": by_day[ts]} for ts in sorted(by_day)], None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
