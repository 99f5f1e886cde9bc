"""`ReplayMarket`: the history of a lake in place of a simulated market, for every endpoint of the server and any clock.

It reads what was imported (`imports/<table>`), and what was ingested (`raw/<table>`) where nothing was imported. Of a row with
several versions the newest is served, from the time its subject was published: providers' lags are the endpoints'. Coins and
days that are not there are not listed, and only providers of tables that are there are served (`providers`). What happens
inside a bar, books, and positions are made up around it, as in a simulated market.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import polars as pl

from crypto_assets.lake import Lake
from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.errors import SettingsError
from crypto_assets.market.time import DAY, HOUR
from crypto_assets.sandbox.candles import COLUMNS, TRADE_USD
from crypto_assets.sandbox.randomness import Randomness

TABLES = {"spot": "binance_candles", "perp": "binance_perp_candles"}
"""Venue -> table of its candles."""
PROVIDERS = {
    "binance_candles": ("binance_spot", "binance_archive"),
    "binance_perp_candles": ("binance_futures", "binance_archive"),
    "binance_funding": ("binance_futures",),
    "news": ("gdelt_bulk",),
    "coinmetrics_onchain": ("coinmetrics",),
    "defillama_tvl": ("defillama",),
    "treasury_10y": ("treasury",),
    "cboe_vix": ("cboe",),
    "fear_greed": ("alternative_me",),
}
"""Table -> providers whose interface shows it."""
STAMP = timedelta(minutes=30)
"""News are served in the file of the next half past."""
GONE = 7 * DAY
"""A coin without a bar for so long before the end of the history has been delisted."""


class ReplayMarket:
    """The market a lake remembers. Raises SettingsError for a folder without candles. Thread safe."""

    def __init__(self, root: Path | str, seed: int = 7) -> None:
        self.market = "replay"
        self.seed = seed
        self.randomness = Randomness(self.market, seed)
        self._lake = Lake(root)
        self._read: dict[str, pl.DataFrame] = {}
        self._news: pl.DataFrame | None = None
        self.providers = frozenset(p for table, names in PROVIDERS.items() if self._scan(table) is not None for p in names)
        """Keys of the providers that have something to show."""
        spans: list[tuple[str, datetime, datetime]] = [
            (symbol, *frame.select(first=pl.col("ts").min(), last=pl.col("ts").max()).row(0))
            for frames in self._candles.values()
            for symbol, frame in frames.items()
        ]
        if not spans:
            raise SettingsError(
                f"nothing to replay in {self._lake.root}: expected {' or '.join(TABLES.values())} under imports/ or raw/; "
                "import some with `crypto-assets import`, or name another lake"
            )
        self.symbols: tuple[str, ...] = tuple(sorted({symbol for symbol, _, _ in spans}))
        self.start = min(first for _, first, _ in spans)
        """Open of the first bar."""
        self.end = max(last for _, _, last in spans) + HOUR
        """Close of the last bar."""
        self._spans = {
            symbol: (min(a for s, a, _ in spans if s == symbol), max(b for s, _, b in spans if s == symbol) + HOUR)
            for symbol in self.symbols
        }

    def listing(self, symbol: str) -> tuple[datetime, datetime | None]:
        """Open of the first bar, and the close of the last one if it lies well before the end of the history."""
        first, last = self._spans[self._known(symbol)]
        return first, last if last < self.end - GONE else None

    def candles(self, symbol: str, venue: str, start: datetime, end: datetime) -> pl.DataFrame:
        """Hourly bars whose open lies in `[start, end)`, as `SimulatedMarket.candles`; what a bar lacks is filled in.

        No quote volume: volume at the mean of open and close. No number of trades: one a typical trade's worth. No taker
        volume: half of the volume.
        """
        if venue not in TABLES:
            raise SettingsError(f"venue = {venue!r}: expected one of {', '.join(TABLES)}")
        frame = self._candles[venue].get(self._known(symbol), _NO_CANDLES)
        return _between(frame, start, end)

    def funding(self, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
        """Settlements in `[start, end)`: ts, funding_rate, mark_price (null where unknown)."""
        rows = self._table("binance_funding", "symbol", "funding_rate", "mark_price")
        return _between(rows.filter(symbol=self._known(symbol)), start, end).drop("symbol")

    def headlines(self, start: datetime, end: datetime) -> pl.DataFrame:
        """News in `[start, end)`: ts, id, title, url, domain."""
        if self._news is None:
            stamped = (pl.col("ts") + STAMP - timedelta(microseconds=1)).dt.truncate("1h") + STAMP
            self._news = self._table("news", "id", "title", "url", "domain").with_columns(stamped).sort("ts", "id")
        return _between(self._news, start, end)

    def onchain(self, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
        """Daily on-chain metrics: ts, metric, value."""
        rows = self._table("coinmetrics_onchain", "symbol", "metric", "value")
        return _between(rows.filter(symbol=self._known(symbol)), start, end).select("ts", "metric", "value")

    def tvl(self, start: datetime, end: datetime) -> pl.DataFrame:
        """Total value locked: ts, chain, tvl_usd."""
        return _between(self._table("defillama_tvl", "chain", "tvl_usd"), start, end)

    def treasury_10y(self, start: datetime, end: datetime) -> pl.DataFrame:
        """10-year yield: ts, yield_pct."""
        return _between(self._table("treasury_10y", "yield_pct"), start, end)

    def vix(self, start: datetime, end: datetime) -> pl.DataFrame:
        """VIX: ts, open, high, low, close."""
        return _between(self._table("cboe_vix", "open", "high", "low", "close"), start, end)

    def fear_greed(self, start: datetime, end: datetime) -> pl.DataFrame:
        """Fear & Greed: ts, value_pct."""
        return _between(self._table("fear_greed", "value_pct"), start, end)

    @cached_property
    def _candles(self) -> dict[str, dict[str, pl.DataFrame]]:
        """Venue -> symbol -> bars."""
        found = {}
        for venue, name in TABLES.items():
            rows = self._table(name, "symbol", *COLUMNS).with_columns(**_FILLED)
            found[venue] = {
                str(symbol): frame.select("ts", *COLUMNS)
                for (symbol,), frame in rows.partition_by("symbol", as_dict=True).items()
            }
        return found

    def _table(self, name: str, *columns: str) -> pl.DataFrame:
        if name not in self._read:
            self._read[name] = self._load(name, *columns)
        return self._read[name]

    def _load(self, name: str, *columns: str) -> pl.DataFrame:
        """Columns ts and `columns` of a table, newest versions, in the order of ts; empty where the lake has none."""
        wanted = {"ts": UTC_US, **{column: _TYPES.get(column, pl.Float64()) for column in columns}}
        rows = self._scan(name)
        if rows is None:
            return pl.DataFrame(schema=wanted)
        key = ["ts", *(column for column in columns if column in _KEYS)]
        chosen = (
            rows.select(*(pl.col(c).cast(t) for c, t in wanted.items()), "available_at").sort(*key, "available_at").collect()
        )
        return chosen.unique(key, keep="last", maintain_order=True).drop("available_at")

    def _scan(self, name: str) -> pl.LazyFrame | None:
        """The rows of a table with all versions; None where the lake has none."""
        files = sorted((self._lake.root / "imports" / name).glob("*.parquet"))
        if files:
            return pl.concat([pl.scan_parquet(f) for f in files], how="vertical_relaxed")
        return self._lake.scan(f"raw/{name}") if self._lake.days(f"raw/{name}") else None

    def _known(self, symbol: str) -> str:
        if symbol not in self._spans:
            raise SettingsError(
                f"symbol {symbol!r} is not in the history of {self._lake.root}: it has {', '.join(self.symbols)}"
            )
        return symbol


_KEYS = ("symbol", "metric", "chain", "id")
_TYPES = {**dict.fromkeys((*_KEYS, "title", "url", "domain"), pl.String()), "trades": pl.Int64()}
_NO_CANDLES = pl.DataFrame(schema={"ts": UTC_US, **{c: _TYPES.get(c, pl.Float64()) for c in COLUMNS}})
_QUOTE = pl.col("quote_volume_usd").fill_null((pl.col("volume") * (pl.col("open") + pl.col("close")) / 2).round(2))
_FILLED = {
    "quote_volume_usd": _QUOTE,
    "trades": pl.col("trades").fill_null((_QUOTE / TRADE_USD).floor().cast(pl.Int64) + (pl.col("volume") > 0).cast(pl.Int64)),
    "taker_buy_volume": pl.col("taker_buy_volume").fill_null(pl.col("volume") / 2),
}


def _between(frame: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    """Rows with `start <= ts < end` of a frame in the order of ts."""
    for name, value in (("start", start), ("end", end)):
        if value.tzinfo is None or value.utcoffset() is None:
            raise SettingsError(f"{name} = {value!r} has no time zone: give an aware UTC datetime")
    ts = frame["ts"]
    first, last = ts.search_sorted(start, "left"), ts.search_sorted(end, "left")
    return frame.slice(first, max(last - first, 0))
