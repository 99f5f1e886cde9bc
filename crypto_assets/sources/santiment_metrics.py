"""Activity, crowd and whale metrics of Santiment.

`POST /graphql` of api.santiment.net with `Authorization: Apikey`; needs `santiment_key`. A free key has 100 queries a minute,
500 an hour, 1000 a month, and each metric of a request counts as one: all coins are asked for together, all metrics in one
request. Daily active addresses and development activity are open; the other metrics end 30 days ago on a free key and begin a
year ago. Refusals come with HTTP 200 in `errors`. Open metrics of day D are taken as known at D+1 03:00 UTC, restricted ones 31
days after D, with a paid key too. Metrics are recomputed at times. Development activity was withdrawn by the provider in August
2026: a metric the provider does not have is left out with a warning. Terms of the plan.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import AuthFailedError, BadPayloadError, PlanRestrictedError, RateLimitedError, SourceError
from crypto_assets.market.time import DAY, Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._onchain import complete
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(
    Provider(
        "santiment",
        "https://api.santiment.net",
        rate=20,
        per=60,
        secret="santiment_key",
        secret_header="Authorization",
        secret_format="Apikey {}",
    )
)
PATH = "/graphql"
OPEN = ("daily_active_addresses", "dev_activity")
RESTRICTED = (
    "social_volume_total",
    "sentiment_weighted_total",
    "whale_transaction_count_100k_usd_to_inf",
    "network_growth",
    "exchange_inflow",
    "exchange_outflow",
)
ALWAYS = {"BTC", "ETH"}
"""Coins with values for every day; an answer without any for them is none."""
MOST_DAYS = 360
"""Longer ranges are asked for in parts: what a query may cost is limited."""
LAG, RESTRICTED_LAG = timedelta(hours=27), 31 * DAY
OUTSIDE = "outside the allowed interval"
LEFT_OUT = (OUTSIDE, "not supported or is mistyped", "not accessible", "not included in")
"""What is said of a metric that this key cannot see, or not for these days; the others come all the same."""
log = logging.getLogger(__name__)


class RawSantimentMetrics(RawTable):
    """One row per coin, metric and day."""

    name = "raw/santiment_metrics"
    key = ("symbol", "metric", "ts", "source")

    symbol: str = Field(meaning="our symbol")
    metric: str = Field(meaning="the provider's name, for example social_volume_total")
    value: float = Field(meaning="counts, score, native coins")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per coin, metric and day in `window`; what the key cannot see is absent.

    Raises a SourceError: PlanRestrictedError when the key sees none of the metrics.
    """
    parts = [rows for part in window.chunks(MOST_DAYS) for rows in _metrics(part, http)]
    rows = SOURCE.rows(pl.concat(parts), window, http.now()) if parts else RawSantimentMetrics.empty()
    return complete(rows, window, LAG, http.now(), PROVIDER.key) if ALWAYS & set(http.universe.symbols) else rows


def _metrics(window: Window, http: Http) -> Iterator[pl.DataFrame]:
    metrics = (*OPEN, *(RESTRICTED if window.start + RESTRICTED_LAG <= http.now() else ()))
    slugs = {coin.name_at(PROVIDER.key): coin.symbol for coin in http.universe}
    answer = http.post_json(PROVIDER.key, PATH, {"query": query(metrics, list(slugs), window)})
    if not isinstance(answer, dict):
        raise BadPayloadError(PROVIDER.key, f"{PATH}: expected an object, found {http.quoted(str(answer))}")
    absent = _absent(answer.get("errors"), metrics, http)
    for metric in metrics:
        if metric not in absent:
            yield from _series(answer.get("data"), metric, slugs)


def query(metrics: tuple[str, ...], slugs: list[str], window: Window) -> str:
    """The GraphQL text that asks for every metric of every coin, under the metric's name."""
    last = window.end - timedelta(seconds=1)
    span = f'from: "{window.start:%Y-%m-%dT%H:%M:%SZ}", to: "{last:%Y-%m-%dT%H:%M:%SZ}", interval: "1d"'
    body = f"timeseriesDataPerSlugJson(selector: {{slugs: {json.dumps(slugs)}}}, {span})"
    return f"{{ {' '.join(f'{m}: getMetric(metric: {json.dumps(m)}) {{ {body} }}' for m in metrics)} }}"


def _absent(errors: Any, metrics: tuple[str, ...], http: Http) -> set[str]:
    """Metrics that the errors leave out. Raises the SourceError for any other error, and when nothing is left."""
    absent: set[str] = set()
    for error in errors or ():
        said = str(error.get("message") if isinstance(error, dict) else error)
        path = error.get("path") if isinstance(error, dict) else None
        if not path or path[0] not in metrics or not any(words in said for words in LEFT_OUT):
            raise _refusal(said, http)
        absent.add(path[0])
        if OUTSIDE not in said:
            log.warning("%s: %s left out: %s", PROVIDER.key, path[0], http.quoted(said))
    if absent == set(metrics):
        raise PlanRestrictedError(PROVIDER.key, f"{PATH}: none of {list(metrics)} is open to this key for these days")
    return absent


def _refusal(said: str, http: Http) -> SourceError:
    """The error that a message of the provider means."""
    lower, text = said.lower(), f"{PATH}: answered {http.quoted(said)}"
    if "rate limit" in lower:
        return RateLimitedError(PROVIDER.key, f"{text}: ask less often")
    if "apikey" in lower or "api key" in lower or "unauthorized" in lower:
        return AuthFailedError(PROVIDER.key, f"{text}: set a valid CRYPTO_ASSETS_SANTIMENT_KEY")
    if any(words in said for words in LEFT_OUT):
        return PlanRestrictedError(PROVIDER.key, f"{text}: this data needs another plan")
    return BadPayloadError(PROVIDER.key, f"{text}: expected data")


def _series(data: Any, metric: str, slugs: Mapping[str, str]) -> Iterator[pl.DataFrame]:
    """One frame per day: symbol, ts, metric, value of the coins that have one."""
    where = f"{PATH} {metric}"
    found = data.get(metric) if isinstance(data, dict) else None
    series = found.get("timeseriesDataPerSlugJson") if isinstance(found, dict) else None
    rows = payload.entries(json.loads(series) if isinstance(series, str) else series, PROVIDER.key, where)
    days = payload.field(rows, "datetime", payload.iso, PROVIDER.key, where)
    for ts, row in zip(days, rows, strict=True):
        points = payload.entries(row, PROVIDER.key, where, "data")
        names = payload.field(points, "slug", payload.text, PROVIDER.key, where)
        unknown = sorted(set(names) - set(slugs))
        if unknown:
            raise BadPayloadError(PROVIDER.key, f"{where}: field 'slug' must be one of {list(slugs)}, found {unknown}")
        values = payload.field(points, "value", payload.number_or_none, PROVIDER.key, where)
        symbols = pl.DataFrame({"symbol": [slugs[n] for n in names], "value": values}, schema_overrides={"value": pl.Float64})
        yield symbols.drop_nulls().with_columns(ts=pl.lit(ts), metric=pl.lit(metric))


SOURCE = Source(
    table=RawSantimentMetrics,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + pl.when(pl.col("metric").is_in(OPEN)).then(LAG).otherwise(RESTRICTED_LAG),
    pool=PROVIDER.key,
    keys=("santiment_key",),
    freshness=timedelta(days=3),
    terms="Santiment API terms; a free key ends 30 days ago for most metrics",
    substitute=(
        "a free key is 30 days late; active addresses: coinmetrics_onchain, social volume and sentiment: news and "
        "the tables of Reddit, development: the tables of GitHub"
    ),
)
