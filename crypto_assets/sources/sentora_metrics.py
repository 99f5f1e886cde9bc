"""Concentration, profitability and holding time of a coin's holders from IntoTheBlock, which became Sentora.

Gone: since the merger of 2025 there is no public interface to sign up for, and no documentation of the present one. This
adapter **assumes the last interface that public clients used**: `GET /{symbol}/overview` of api.intotheblock.com with
`x-api-key`, an object with `concentration`, `inOutOfTheMoney` {in, between, out} and `byTimeHeldComposition` {hodler, cruiser,
trader}, without history. Nothing about it could be confirmed; who has a key of Sentora should compare before trusting it. The
provider may fail: its asset then stays empty with the reason. One call a second is kept. Terms of a contract with Sentora.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import BadPayloadError
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import History, Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(
    Provider("sentora", "https://api.intotheblock.com", rate=1, per=1, secret="sentora_key", secret_header="x-api-key")
)
GROUPS = {
    "inOutOfTheMoney": ("in", "between", "out"),
    "byTimeHeldComposition": ("hodler", "cruiser", "trader"),
}
"""Object -> its numbers. Coins without it have null or nothing there."""


class RawSentoraMetrics(RawTable):
    """One row per coin and metric of a snapshot."""

    name = "raw/sentora_metrics"
    key = ("symbol", "metric", "ts", "source")

    symbol: str = Field(meaning="our symbol")
    metric: str = Field(meaning="the provider's name, for example inOutOfTheMoney/in")
    value: float = Field(ge=0, meaning="concentration: fraction held by large addresses; the others: addresses")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One snapshot, if `window` holds the present minute. Raises a SourceError for anything but the assumed answer."""
    rows = [row for coin in http.universe for row in _overview(coin.symbol, http)]
    now = http.now()
    frame = pl.DataFrame(rows, schema={"symbol": pl.String, "metric": pl.String, "value": pl.Float64}, orient="row")
    return SOURCE.rows(frame.with_columns(ts=pl.lit(now.replace(second=0, microsecond=0))), window, now)


def _overview(symbol: str, http: Http) -> Iterator[tuple[str, str, float]]:
    path = f"/{symbol}/overview"
    answer: Any = http.get_json(PROVIDER.key, path)
    if not isinstance(answer, dict):
        raise BadPayloadError(PROVIDER.key, f"{path}: expected an object, found {http.quoted(str(answer))}")
    yield symbol, "concentration", payload.field([answer], "concentration", payload.number, PROVIDER.key, path)[0]
    for group, names in GROUPS.items():
        if answer.get(group) is not None:
            for name in names:
                value = payload.field([answer[group]], name, payload.number, PROVIDER.key, path, f"{group}/{name}")[0]
                yield symbol, f"{group}/{name}", value


SOURCE = Source(
    table=RawSentoraMetrics,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts"),
    pool=PROVIDER.key,
    keys=("sentora_key",),
    history=History("none"),
    freshness=timedelta(days=2),
    terms="contract with Sentora",
    may_fail=True,
    substitute=(
        "IntoTheBlock's public interface is gone, the adapter's format is an assumption; profitability: NUPL of "
        "bgeometrics_onchain and MVRV of coinmetrics_onchain; large transactions: santiment_metrics with a key"
    ),
)
