"""Daily numbers of the Ethereum chain from Etherscan, which sells them.

`GET /v2/api?chainid=1&module=stats&action=...` of api.etherscan.io, version 2 (version 1 ended on 2025-08-15). Needs
`etherscan_key` of a plan with the PRO endpoints: a free key is refused all daily series. 3 calls a second on the free plan, 2
are kept. Everything comes with HTTP 200: errors are `status` "0" with the reason in `result`. Back to 2015. Values are text,
gas prices in wei. Day D is taken as known at D+1 12:00 UTC. Not revised. Terms of the plan, attribution.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import AuthFailedError, BadPayloadError, PlanRestrictedError, RateLimitedError, SourceError
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._onchain import complete, long
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(
    Provider("etherscan", "https://api.etherscan.io", rate=2, per=1, secret="etherscan_key", secret_param="apikey")
)
PATH = "/v2/api"
VALUES = {
    "dailytx": "transactionCount",
    "dailynewaddress": "newAddressCount",
    "dailygasused": "gasUsed",
    "dailyavggasprice": "avgGasPrice_Wei",
    "dailynetutilization": "networkUtilization",
    "dailyavgblocktime": "blockTime_sec",
    "dailytxnfee": "transactionFee_Eth",
}
"""Action -> the field that carries its value."""
REASONS: tuple[tuple[str, type[SourceError], str], ...] = (
    ("rate limit", RateLimitedError, "ask less often"),
    ("invalid api key", AuthFailedError, "set a valid CRYPTO_ASSETS_ETHERSCAN_KEY"),
    ("missing api key", AuthFailedError, "set CRYPTO_ASSETS_ETHERSCAN_KEY"),
    ("api pro endpoint", PlanRestrictedError, "blockscout_stats has the same numbers without a key"),
    ("upgrade", PlanRestrictedError, "blockscout_stats has the same numbers without a key"),
)
"""Words of a refusal, what they mean, what to do."""
LAG = timedelta(hours=36)


class RawEtherscanStats(RawTable):
    """One row per statistic and day, of Ethereum."""

    name = "raw/etherscan_stats"
    key = ("metric", "ts", "source")

    metric: str = Field(isin=tuple(VALUES), meaning="the provider's action, for example dailytx")
    value: float = Field(ge=0, meaning="counts, gas, wei (dailyavggasprice), fraction (utilisation), seconds, ETH (fees)")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per statistic and day in `window`. Raises a SourceError for anything but the documented answer."""
    frames = [_statistic(action, window, http) for action in VALUES]
    return complete(SOURCE.rows(pl.concat(frames), window, http.now()), window, LAG, http.now(), PROVIDER.key)


def _statistic(action: str, window: Window, http: Http) -> pl.DataFrame:
    where = f"{PATH} {action}"
    span = {"startdate": f"{window.days[0]}", "enddate": f"{window.days[-1]}", "sort": "asc"}
    answer = http.get_json(PROVIDER.key, PATH, {"chainid": 1, "module": "stats", "action": action, **span})
    rows = _result(answer, where, http)
    return long(
        action,
        payload.field(rows, "unixTimeStamp", payload.seconds, PROVIDER.key, where),
        payload.field(rows, VALUES[action], payload.number_or_none, PROVIDER.key, where),
    )


def _result(answer: Any, where: str, http: Http) -> list[Any]:
    """The rows of an answer. Raises the SourceError that its refusal means."""
    if not isinstance(answer, dict) or "status" not in answer or "result" not in answer:
        raise BadPayloadError(PROVIDER.key, f"{where}: expected status, message, result; found {http.quoted(str(answer))}")
    if answer["status"] == "1" or answer["result"] == []:
        return payload.entries(answer, PROVIDER.key, where, "result")
    said = f"{answer.get('message')} {answer['result']}"
    for words, kind, todo in REASONS:
        if words in said.lower():
            raise kind(PROVIDER.key, f"{where}: status 0, answered {http.quoted(said)}: {todo}")
    raise BadPayloadError(PROVIDER.key, f"{where}: expected status 1, found {http.quoted(said)}")


SOURCE = Source(
    table=RawEtherscanStats,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + LAG,
    pool=PROVIDER.key,
    keys=("etherscan_key",),
    freshness=timedelta(days=3),
    terms="Etherscan API terms, attribution; daily series need a paid plan",
    substitute="daily series are sold (PRO endpoints); blockscout_stats and coinmetrics_onchain carry them without a key",
)
