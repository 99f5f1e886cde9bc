"""Currencies against the dollar, and the dollar index computed from them, by the reference rates of the ECB.

`GET /v1/{from}..{to}?base=USD` of api.frankfurter.dev, keyless, which republishes the rates with the dollar as base; where it
fails, `GET /service/data/EXR/D.USD+JPY+....EUR.SP00.A` of data-api.ecb.europa.eu, the same rates against the euro as CSV. Both
since 1999, working days of the euro payment system only. A request is for at most a year: Frankfurter thins longer ones out.
Fixed at 14:15, published about 16:00 Frankfurt time; taken as known at 16:00 UTC of the same day. Never revised. ECB, free
with attribution.

`dxy_ecb` is the formula of the ICE dollar index over these rates, 50.14348112 x EURUSD^-0.576 x USDJPY^0.136 x GBPUSD^-0.119 x
USDCAD^0.091 x USDSEK^0.042 x USDCHF^0.036 (ICE, "U.S. Dollar Index contracts FAQ"). The fixing is hours before the ICE close,
and the two roads round differently by less than 0.01 %, so it is near the index, not the index.
"""

from __future__ import annotations

import logging
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import BadPayloadError, NotPublishedYetError, SourceError
from crypto_assets.market.time import Window, midnight
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("frankfurter", "https://api.frankfurter.dev", 1, 1))
ECB = provide(Provider("ecb", "https://data-api.ecb.europa.eu", 1, 1))
PATH = "/v1/{first}..{last}"
ECB_PATH = "/service/data/EXR/D.USD+JPY+GBP+CAD+SEK+CHF.EUR.SP00.A"
WEIGHTS = {"eur": 0.576, "jpy": 0.136, "gbp": 0.119, "cad": 0.091, "sek": 0.042, "chf": 0.036}
"""Exponents of the dollar index for units of each currency per dollar: those of EURUSD and GBPUSD with the sign turned."""
FACTOR = 50.14348112
BEFORE = timedelta(days=7)
"""Asked for in front of the window: no market is closed that long, so an empty answer is an error."""
MOST_DAYS = 360
DIGITS = 5
_log = logging.getLogger(__name__)


class RawEcbFixings(RawTable):
    """One row per working day of the ECB."""

    name = "raw/ecb_fixings"
    key = ("ts", "source")

    eur: float = Field(gt=0, unit="EUR per USD", meaning="euro")
    jpy: float = Field(gt=0, unit="JPY per USD", meaning="yen")
    gbp: float = Field(gt=0, unit="GBP per USD", meaning="pound sterling")
    cad: float = Field(gt=0, unit="CAD per USD", meaning="Canadian dollar")
    sek: float = Field(gt=0, unit="SEK per USD", meaning="Swedish krona")
    chf: float = Field(gt=0, unit="CHF per USD", meaning="Swiss franc")
    dxy_ecb: float = Field(gt=0, unit="index", meaning="dollar index computed from these rates")
    via: str = Field(isin=("frankfurter", "ecb"), meaning="who answered")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per working day in `window`. Raises the SourceError of Frankfurter where both roads fail."""
    now = http.now()
    if window.start >= now:
        return RawEcbFixings.empty()
    asked = Window(window.start - BEFORE, min(window.end, midnight(now.date()) + timedelta(days=1)))
    try:
        rates = pl.concat([_frankfurter(http, part) for part in asked.chunks(MOST_DAYS)])
    except SourceError as error:
        try:
            rates = pl.concat([_ecb(http, part) for part in asked.chunks(MOST_DAYS)])
        except SourceError:
            raise error from None
        _log.warning("%s; the ECB was asked instead", error)
    each = rates.unique("ts", maintain_order=True)  # a part that begins on a weekend begins with the Friday before
    return SOURCE.rows(each.with_columns(dxy_ecb=dollar_index()), window, now)


def dollar_index() -> pl.Expr:
    """The index from columns eur, jpy, gbp, cad, sek, chf in units per dollar."""
    index = pl.lit(FACTOR)
    for name, weight in WEIGHTS.items():
        index = index * pl.col(name) ** weight
    return index


def _frankfurter(http: Http, part: Window) -> pl.DataFrame:
    path = PATH.format(first=part.days[0], last=part.days[-1])
    symbols = ",".join(name.upper() for name in WEIGHTS)
    answer = http.get_json(PROVIDER.key, path, {"base": "USD", "symbols": symbols})
    rates = answer.get("rates") if isinstance(answer, dict) else None
    if not isinstance(rates, dict):
        raise BadPayloadError(PROVIDER.key, f"{path}: expected an object with the field 'rates', found {str(answer)[:80]!r}")
    if not rates:
        raise NotPublishedYetError(PROVIDER.key, f"{path}: expected the rates of a week and more, found none: ask again later")
    rows = list(rates.values())
    legs = {name: payload.field(rows, name.upper(), payload.number, PROVIDER.key, path) for name in WEIGHTS}
    frame = payload.frame_of({"ts": payload.field([[day] for day in rates], 0, _day, PROVIDER.key, path, "date"), **legs})
    return frame.cast(dict.fromkeys(legs, pl.Float64)).with_columns(via=pl.lit(PROVIDER.key))


def _ecb(http: Http, part: Window) -> pl.DataFrame:
    params = {"format": "csvdata", "startPeriod": f"{part.days[0]}", "endPeriod": f"{part.days[-1]}"}
    columns = ["CURRENCY", "TIME_PERIOD", "OBS_VALUE"]
    long = payload.table_of_csv(http.get_text(ECB.key, ECB_PATH, params), columns, ECB.key, ECB_PATH)
    dated = payload.days(payload.floats(long, ["OBS_VALUE"], ECB.key, ECB_PATH), "TIME_PERIOD", ECB.key, ECB_PATH)
    wide = dated.drop_nulls("OBS_VALUE").pivot("CURRENCY", index="ts", values="OBS_VALUE")
    missing = [name for name in ("USD", *(n.upper() for n in WEIGHTS if n != "eur")) if name not in wide.columns]
    if missing:
        raise BadPayloadError(ECB.key, f"{ECB_PATH}: expected the currencies {missing}, found {wide.columns[1:]}")
    per_dollar = {name: (pl.col(name.upper()) / pl.col("USD")).round(DIGITS) for name in WEIGHTS if name != "eur"}
    rates = wide.select("ts", (1 / pl.col("USD")).round(DIGITS).alias("eur"), **per_dollar)
    return rates.drop_nulls().with_columns(via=pl.lit(ECB.key))


def _day(value: Any) -> Any:
    """A date YYYY-MM-DD."""
    return midnight(date.fromisoformat(payload.text(value)))


SOURCE = Source(
    table=RawEcbFixings,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + timedelta(hours=16),
    pool="frankfurter",
    freshness=timedelta(days=6),
    terms="ECB reference rates, free with attribution; informational, not for transactions",
)
