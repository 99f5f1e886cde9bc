"""Coin Metrics community: `/v4/timeseries/asset-metrics`; quoted numbers, nanoseconds, linked pages.

Day D appears at 02:30 UTC of D+1. Like the provider, `paging_from` is `end` unless said otherwise.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.coins import COINS
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import decimal, get, json_text

EMPTY = b'{"data":[]}'
LAG = timedelta(hours=26, minutes=30)
MOST_ROWS = 10_000
DEFAULT_ROWS = 100
FORBIDDEN = ("CapRealUSD", "CapMVRVFF", "NVTAdj", "RevUSD", "FeeTotUSD", "SplyAct1yr", "SplyFF", "SOPR")
"""Metrics of the paid plans."""


class RefusedError(Exception):
    """An answer in the provider's error format."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.response = json_text(json.dumps({"error": {"type": kind, "message": message}}), status)


def routes(world: World) -> list[Route]:
    """The routes of this provider."""

    def answer(request: Request) -> Response:
        try:
            return _asset_metrics(world, request)
        except RefusedError as refused:
            return refused.response

    return [get("/v4/timeseries/asset-metrics", answer)]


def _asset_metrics(world: World, request: Request) -> Response:
    query = dict(request.query_params)
    assets = _assets(world, query)
    metrics = _metrics(query)
    start, end = _day(query, "start_time", datetime(2009, 1, 1, tzinfo=UTC)), _day(query, "end_time", world.now())
    known = min(end + timedelta(microseconds=1), world.now() - LAG + timedelta(microseconds=1))
    rows = [row for asset in sorted(assets) for row in _rows(world, asset, assets[asset], metrics, start, known)]
    size = _page_size(query)
    done = _rows_before(query)
    if query.get("paging_from", "end") == "start":
        page: dict = {"data": rows[done : done + size]}
    else:
        page = {"data": rows[max(len(rows) - done - size, 0) : len(rows) - done]}
    if done + size < len(rows):
        token = base64.urlsafe_b64encode(f"0.{done + size}".encode()).decode()
        following = urlencode({**query, "next_page_token": token})
        page |= {
            "next_page_token": token,
            "next_page_url": f"{str(request.url).split('?')[0]}?{following}",
        }
    return json_text(json.dumps(page))


def _rows(world: World, asset: str, symbol: str, metrics: list[str], start: datetime, end: datetime) -> list[dict[str, str]]:
    by_day: dict[datetime, dict[str, str]] = {}
    frame = world.market.onchain(symbol, start, end) if start < end else None
    for ts, metric, value in frame.select("ts", "metric", "value").iter_rows() if frame is not None else ():
        if metric in metrics:
            row = by_day.setdefault(ts, {"asset": asset, "time": f"{ts:%Y-%m-%dT%H:%M:%S}.000000000Z"})
            row[metric] = decimal(value).removesuffix(".0")
    return [by_day[ts] for ts in sorted(by_day)]


def _assets(world: World, query: dict[str, str]) -> dict[str, str]:
    """Asset as the provider calls it -> our symbol."""
    known = {COINS[symbol].name_at("coinmetrics"): symbol for symbol in world.market.symbols}
    asked = [name for name in query.get("assets", "").split(",") if name]
    if not asked:
        raise RefusedError(400, "bad_parameter", "Bad parameter 'assets'. Missing required value.")
    unknown = [name for name in asked if name not in known]
    if unknown and query.get("ignore_unsupported_errors") != "true":
        raise RefusedError(400, "bad_parameter", f"Bad parameter 'assets'. Value '{unknown[0]}' is not supported.")
    return {name: known[name] for name in asked if name in known}


def _metrics(query: dict[str, str]) -> list[str]:
    if query.get("frequency", "1d") != "1d":
        raise RefusedError(400, "bad_parameter", "Bad parameter 'frequency'. The sandbox has 1d only.")
    asked = [name for name in query.get("metrics", "").split(",") if name]
    if not asked:
        raise RefusedError(400, "bad_parameter", "Bad parameter 'metrics'. Missing required value.")
    forbidden = [name for name in asked if name in FORBIDDEN]
    if forbidden and query.get("ignore_forbidden_errors") != "true":
        raise RefusedError(403, "forbidden", f"Requested metric '{forbidden[0]}' is not available with supplied credentials.")
    return [name for name in asked if name not in FORBIDDEN]


def _day(query: dict[str, str], name: str, default: datetime) -> datetime:
    try:
        found = datetime.fromisoformat(query[name].replace("Z", "+00:00")) if name in query else default
    except ValueError:
        raise RefusedError(400, "bad_parameter", f"Bad parameter '{name}'. Value '{query[name]}' is no time.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _page_size(query: dict[str, str]) -> int:
    text = query.get("page_size", str(DEFAULT_ROWS))
    if not text.isdecimal() or not 1 <= int(text) <= MOST_ROWS:
        raise RefusedError(400, "bad_parameter", f"Bad parameter 'page_size'. Value '{text}' is not from 1 to {MOST_ROWS}.")
    return int(text)


def _rows_before(query: dict[str, str]) -> int:
    try:
        return int(
            base64.b64decode(query.get("next_page_token", ""), altchars=b"-_", validate=True).decode().removeprefix("0.") or 0
        )
    except ValueError:
        raise RefusedError(400, "bad_parameter", "Bad parameter 'next_page_token'.") from None
