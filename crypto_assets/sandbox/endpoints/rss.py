"""Four publishers' RSS feeds, `/{host}/...`: the newest 25 headlines of one outlet each, with `ETag` and 304."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import format_datetime
from xml.sax.saxutils import escape

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.time import DAY
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import get
from crypto_assets.sandbox.simulator import SimulatedMarket
from crypto_assets.sandbox.texts import OUTLETS

EMPTY = b'<?xml version="1.0" encoding="UTF-8"?><rss version="2.0"><channel><title>News</title></channel></rss>'
SHOWN = 25
SHOWN_AFTER = timedelta(minutes=2)
OLDEST = timedelta(hours=6)
"""What the table keeps of a feed."""
FEEDS = {
    "/www.coindesk.com/arc/outboundfeeds/rss/": "coindesk.com",
    "/cointelegraph.com/rss": "cointelegraph.com",
    "/decrypt.co/feed": "decrypt.co",
    "/www.theblock.co/rss.xml": "theblock.co",
}


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get(path, lambda request, domain=domain: _feed(world, request, domain)) for path, domain in FEEDS.items()]


def _feed(world: World, request: Request, domain: str) -> Response:
    items = "".join(_item(row) for row in _shown(world.market, world.now(), domain).iter_rows(named=True))
    body = EMPTY.decode().replace("</channel>", f"{items}</channel>").encode()
    tag = f'"{hashlib.sha1(body, usedforsecurity=False).hexdigest()}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    return Response(body, headers={"ETag": tag}, media_type="application/rss+xml")


def _item(row: dict) -> str:
    guid = f'<guid isPermaLink="false">{row["id"]}</guid>'
    when = f"<pubDate>{format_datetime(row['ts'])}</pubDate>"
    return f"<item><title>{escape(row['title'])}</title><link>{escape(row['url'])}</link>{guid}{when}</item>"


def _shown(market: SimulatedMarket, now: datetime, domain: str) -> pl.DataFrame:
    """The newest headlines of the publisher's outlet, newest first."""
    outlet = OUTLETS[list(FEEDS.values()).index(domain)]
    found = market.headlines(now - 2 * DAY, now - SHOWN_AFTER).filter(pl.col("domain") == outlet)
    return found.sort("ts", "id", descending=True).head(SHOWN)


def snapshot(market: SimulatedMarket, start: datetime, end: datetime, symbols: Sequence[str]) -> pl.DataFrame:
    """What one look at the start of the window finds; feeds are about all coins."""
    now = start
    frames = [_shown(market, now, domain).with_columns(domain=pl.lit(domain)) for domain in FEEDS.values()]
    recent = pl.concat(frames).filter(pl.col("ts") > now - OLDEST).rename({"ts": "published_at"})
    seen = pl.lit(now.replace(second=0, microsecond=0), dtype=UTC_US)
    return recent.with_columns(ts=seen, available_at=seen)


TABLES = {"rss_news": snapshot}
