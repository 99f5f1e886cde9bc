"""Holders, exchanges and valuation of Bitcoin and Ether from Glassnode, which sells them.

`GET /v1/metrics/{category}/{metric}?a=&i=24h&s=&u=` of api.glassnode.com with `X-Api-Key`; needs `glassnode_key`. The light
plan has 50 calls a day, so only the two coins with these metrics are asked for, one call each; the standard one 600 a minute.
Full history. `t` is the second that begins the day, `v` a number or null; the running day is served too and left out here. Day
D is taken as known at D+1 12:00 UTC; recent days change until they are final. Terms of the plan: no redistribution.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._onchain import complete, long
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(
    Provider("glassnode", "https://api.glassnode.com", rate=300, per=60, secret="glassnode_key", secret_header="X-Api-Key")
)
METRICS = {
    "indicators/sopr": ("BTC", "ETH"),
    "indicators/nvt": ("BTC", "ETH"),
    "market/mvrv": ("BTC", "ETH"),
    "market/marketcap_realized_usd": ("BTC", "ETH"),
    "distribution/balance_exchanges": ("BTC", "ETH"),
    "distribution/balance_1pct_holders": ("BTC", "ETH"),
    "transactions/transfers_volume_to_exchanges_sum": ("BTC", "ETH"),
    "transactions/transfers_volume_from_exchanges_sum": ("BTC", "ETH"),
    "addresses/min_1k_count": ("BTC", "ETH"),
    "supply/lth_sum": ("BTC",),
    "supply/sth_sum": ("BTC",),
    "supply/liquid_sum": ("BTC",),
    "supply/illiquid_sum": ("BTC",),
    "supply/profit_relative": ("BTC",),
}
"""Metric -> the coins it is asked for."""
LAG = timedelta(hours=36)


class RawGlassnodeMetrics(RawTable):
    """One row per coin, metric and day."""

    name = "raw/glassnode_metrics"
    key = ("symbol", "metric", "ts", "source")

    symbol: str = Field(meaning="our symbol")
    metric: str = Field(isin=tuple(METRICS), meaning="the provider's path, for example supply/lth_sum")
    value: float = Field(meaning="ratio, fraction, count, USD (market/marketcap_realized_usd), native coins")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per coin, metric and day in `window`. Raises a SourceError for anything but the documented answer."""
    wanted = [(metric, coin) for metric, coins in METRICS.items() for coin in coins if coin in http.universe.symbols]
    if not wanted:
        return RawGlassnodeMetrics.empty()
    rows = SOURCE.rows(pl.concat([_series(metric, coin, window, http) for metric, coin in wanted]), window, http.now())
    return complete(rows, window, LAG, http.now(), PROVIDER.key)


def _series(metric: str, symbol: str, window: Window, http: Http) -> pl.DataFrame:
    path = f"/v1/metrics/{metric}"
    params = {"a": symbol, "i": "24h", "s": int(window.start.timestamp()), "u": int(window.end.timestamp())}
    rows = payload.entries(http.get_json(PROVIDER.key, path, params), PROVIDER.key, path)
    series = long(
        metric,
        payload.field(rows, "t", payload.seconds, PROVIDER.key, path),
        payload.field(rows, "v", payload.number_or_none, PROVIDER.key, path),
    )
    return series.with_columns(symbol=pl.lit(symbol))


SOURCE = Source(
    table=RawGlassnodeMetrics,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + LAG,
    pool=PROVIDER.key,
    keys=("glassnode_key",),
    freshness=timedelta(days=3),
    terms="Glassnode API terms: paid plan, no redistribution",
    substitute=(
        "paid only; MVRV, realised cap and exchange flows: coinmetrics_onchain; SOPR and holders' supply: bgeometrics_onchain; "
        "NVT: blockchain_com_charts; liquid supply: nobody without a key"
    ),
)
