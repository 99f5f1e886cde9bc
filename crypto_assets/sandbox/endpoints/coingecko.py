"""CoinGecko v3: `/coins/{id}/market_chart/range`, `/global`, `/coins/categories`, `/ping`; numbers, milliseconds, ascending.

A midnight's point appears 35 minutes later; a range that reaches the present ends with a point of this moment. Days beyond 365
are refused like the provider does, with 401 and code 10012. Price, capitalisation and supply are those of the on-chain table.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.coins import COINS
from crypto_assets.market.time import DAY, HOUR
from crypto_assets.sandbox import series
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import get, json_text, to_ms
from crypto_assets.sandbox.planting import COINS as PLANTED
from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b'{"prices":[],"market_caps":[],"total_volumes":[]}'
PUBLISHED = timedelta(minutes=35)
KNOWN = DAY + timedelta(minutes=45)
REACH = 365 * DAY
TURNOVER = 0.05
"""Of the capitalisation in a day, at the median."""
REST = 0.25
"""Share of coins that are not simulated in the whole market."""
MEMBERS = {
    "layer-1": ("BTC", "ETH", "ADA", "SOL", "DOT", "EOS"),
    "smart-contract-platform": ("ETH", "ADA", "SOL", "DOT", "EOS"),
    "layer-2": ("POL", "ARB"),
    "decentralized-finance-defi": ("LINK", "UNI"),
    "decentralized-exchange": ("UNI",),
    "oracle": ("LINK",),
}


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [
        get("/ping", lambda _: json_text('{"gecko_says":"(V3) To the Moon!"}')),
        get("/coins/{coin}/market_chart/range", lambda request: _range(world, request)),
        get("/global", lambda _: _global(world)),
        get("/coins/categories", lambda _: _categories(world)),
    ]


def _range(world: World, request: Request) -> Response:
    query, now = request.query_params, world.now()
    ids = {COINS[symbol].name_at("coingecko"): symbol for symbol in world.market.symbols}
    symbol = ids.get(request.path_params["coin"])
    if symbol is None:
        return json_text('{"error":"coin not found"}', 404)
    if query.get("vs_currency") != "usd" or query.get("interval") != "daily":
        return json_text('{"error":"the sandbox has vs_currency=usd and interval=daily only"}', 400)
    try:
        start, end = (datetime.fromtimestamp(int(query[name]), UTC) for name in ("from", "to"))
    except (KeyError, ValueError):
        return json_text('{"error":"Invalid from or to"}', 400)
    if start < now - REACH:
        return _beyond(now)
    last = min(end, now - PUBLISHED)
    frame = market_rows(world.market, symbol, start - DAY, last - DAY + timedelta(microseconds=1)) if start <= last else None
    stamped = list(frame.with_columns(pl.col("ts") + DAY).iter_rows()) if frame is not None else []
    if end >= now - HOUR and stamped:
        stamped.append((now, *stamped[-1][1:]))
    names = ("prices", "market_caps", "total_volumes")
    body = {name: [[to_ms(row[0]), row[n]] for row in stamped] for n, name in enumerate(names, 1)}
    return json_text(json.dumps(body))


def _beyond(now: datetime) -> Response:
    message = (
        "Your request exceeds the allowed time range. Public API users are limited to querying historical data within 365 days"
    )
    status = {"timestamp": now.isoformat(timespec="milliseconds"), "error_code": 10012, "error_message": message}
    return json_text(json.dumps({"error": {"status": status}}), 401)


def market_rows(market: SimulatedMarket, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
    """ts, price_usd, market_cap_usd, volume_24h_usd of days in `[start, end)`."""
    long = market.onchain(symbol, start, end)
    if long.is_empty():
        return pl.DataFrame(schema={"ts": long.schema["ts"], **dict.fromkeys(("price", "cap", "volume"), pl.Float64)})
    wide = long.filter(pl.col("metric").is_in(["CapMrktCurUSD", "SplyCur"])).pivot("metric", index="ts", values="value")
    days = wide["ts"].dt.date()
    noise = series.noise(market.randomness, f"coingecko volume {symbol}", days[0], days[-1])[:, 0]
    cap = wide["CapMrktCurUSD"].to_numpy()
    volume = np.round(TURNOVER * cap * np.exp(0.4 * noise), 2)
    price = (wide["CapMrktCurUSD"] / wide["SplyCur"]).round_sig_figs(12)
    return pl.DataFrame({"ts": wide["ts"], "price": price, "cap": cap, "volume": volume})


def _caps(market: SimulatedMarket, now: datetime) -> dict[str, tuple[float, float, float]]:
    """Capitalisation now and 24 hours ago, and turnover of the last 24 hours, of every coin that trades."""
    found = {}
    for coin in PLANTED:
        recent = market.candles(coin.symbol, "perp", now - 50 * HOUR, now - HOUR + timedelta(microseconds=1))
        if recent.height < 2:
            continue
        before = recent.filter(pl.col("ts") <= recent["ts"][-1] - DAY)["close"]
        day = recent.filter(pl.col("ts") > recent["ts"][-1] - DAY)
        close = recent["close"][-1]
        then = before[-1] if before.len() else close
        found[coin.symbol] = (coin.supply * close, coin.supply * then, 3 * float(day["quote_volume_usd"].sum()))
    return found


def global_row(market: SimulatedMarket, now: datetime) -> dict[str, float]:
    """The columns of `raw/coingecko_global` at `now`."""
    caps = _caps(market, now)
    total = sum(cap for cap, _, _ in caps.values()) / (1 - REST)
    return {
        "total_market_cap_usd": total,
        "volume_24h_usd": sum(volume for _, _, volume in caps.values()) / (1 - REST),
        "btc_dominance_pct": 100 * caps["BTC"][0] / total,
        "eth_dominance_pct": 100 * caps["ETH"][0] / total,
    }


def category_rows(market: SimulatedMarket, now: datetime) -> list[dict[str, object]]:
    """The columns of `raw/coingecko_categories` at `now`."""
    caps = _caps(market, now)
    rows: list[dict[str, object]] = []
    for category, members in MEMBERS.items():
        cap, then, volume = (sum(caps[s][k] for s in members if s in caps) for k in range(3))
        change = 100 * (cap / then - 1)
        rows.append({"category": category, "market_cap_usd": cap, "volume_24h_usd": volume, "change_24h_pct": change})
    return rows


def _global(world: World) -> Response:
    now = world.now()
    row = global_row(world.market, now)
    data = {
        "active_cryptocurrencies": len(PLANTED),
        "markets": 1,
        "total_market_cap": {"usd": row["total_market_cap_usd"]},
        "total_volume": {"usd": row["volume_24h_usd"]},
        "market_cap_percentage": {"btc": row["btc_dominance_pct"], "eth": row["eth_dominance_pct"]},
        "updated_at": int(now.timestamp()),
    }
    return json_text(json.dumps({"data": data}))


def _categories(world: World) -> Response:
    now = world.now()
    rows: list[dict[str, object]] = [
        {
            "id": row["category"],
            "name": str(row["category"]).replace("-", " ").title(),
            "market_cap": row["market_cap_usd"],
            "market_cap_change_24h": row["change_24h_pct"],
            "content": "",
            "top_3_coins_id": [],
            "volume_24h": row["volume_24h_usd"],
            "updated_at": now.isoformat(timespec="milliseconds"),
        }
        for row in category_rows(world.market, now)
    ]
    rows.append({"id": "empty-category", "name": "", "market_cap": None, "market_cap_change_24h": None, "volume_24h": None})
    return json_text(json.dumps(rows))


def _market_table(market: SimulatedMarket, start: datetime, end: datetime, names: tuple[str, ...]) -> pl.DataFrame:
    columns = {"price": "price_usd", "cap": "market_cap_usd", "volume": "volume_24h_usd"}
    frames = [market_rows(market, s, start, end).with_columns(symbol=pl.lit(s)) for s in names]
    supply = pl.col("market_cap_usd") / pl.col("price_usd")
    return pl.concat(frames).rename(columns).with_columns(circulating_supply=supply, available_at=pl.col("ts") + KNOWN)


def _moment(start: datetime, end: datetime) -> datetime:
    """A capture is made in the middle of the window it is asked for."""
    return (start + (end - start) / 2).replace(second=0, microsecond=0)


def _global_table(market: SimulatedMarket, start: datetime, end: datetime, _: tuple[str, ...]) -> pl.DataFrame:
    now = _moment(start, end)
    return pl.DataFrame([{"ts": now, "available_at": now, **global_row(market, now)}])


def _category_table(market: SimulatedMarket, start: datetime, end: datetime, _: tuple[str, ...]) -> pl.DataFrame:
    now = _moment(start, end)
    return pl.DataFrame([{"ts": now, "available_at": now, **row} for row in category_rows(market, now)])


TABLES = {"coingecko_market": _market_table, "coingecko_global": _global_table, "coingecko_categories": _category_table}
