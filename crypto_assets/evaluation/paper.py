"""Paper trading over the hours of a hot store: what closed is read, forecast, traded and written down, one hour after the
other.

`Trader.follow` brings an account up to the newest closed hour, be that one hour or the days since the process was stopped;
bars, features and forecasts come from the functions that serve them (`closed_hour`, `open_days`). An hour is forecast from
what was known at its close, so an hour that is made up for later is the hour as it would have been; how much later is written
beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from crypto_assets.curation import discover as curated
from crypto_assets.evaluation.closed_hour import first_open_day, forecasts_at, members_of, mirror, raw_now
from crypto_assets.evaluation.open_days import OpenDays
from crypto_assets.features import FeatureFamily
from crypto_assets.lake import Lake, derive
from crypto_assets.lake.hot import HotStore
from crypto_assets.market.errors import CheckpointError, StaleDataError
from crypto_assets.market.time import HOUR, Window
from crypto_assets.sources import Source, discover
from crypto_assets.sources.stream.writer import closed_hours
from crypto_assets.trading import paper
from crypto_assets.trading.limits import is_killed
from crypto_assets.trading.paper import EVERYTHING, Complaint, Hour, Plan, Told
from crypto_assets.trading.paper_ledger import PaperLedger

CANDLES = "curated/candles"
BACKWARDS = "the clock went backwards"


class Trader:
    """One account. `now` gives the time of the world where it is known. Raises SettingsError for an unknown model.

    `keeps`: also write the forecasts to `forecasts/latest`.
    """

    def __init__(
        self,
        lake: Lake,
        hot: HotStore,
        ledger: PaperLedger,
        plan: Plan,
        *,
        families: Sequence[FeatureFamily] | None = None,
        now: Callable[[], datetime] | None = None,
        keeps: bool = False,
    ) -> None:
        self.lake, self.hot, self.ledger, self.plan, self._now, self._keeps = lake, hot, ledger, plan, now, keeps
        members_of(plan.model)  # an unknown one is refused before anything is opened
        self._sources: dict[str, Source] = dict(discover())
        self._raw = raw_now(lake, hot, self._sources)
        self._days = OpenDays(lake, hot, plan.symbols, families=families, sources=self._sources)
        ledger.open(plan, paper.opened(plan, self._warmup())[0])
        found = ledger.resume(plan)
        self._memory, self._standing = found or paper.opened(plan, ledger.warmup())

    @property
    def at(self) -> datetime:
        """The hour the account stands at."""
        return self._standing.at

    def newest(self) -> datetime | None:
        """The newest hour that has closed in the hot store."""
        found = closed_hours(self.hot)
        return found[-1] if found else None

    def follow(self, until: datetime | None = None) -> Iterator[Hour]:
        """Every hour that has closed since the account's, up to `until`, each written down before it is returned.

        Raises StaleDataError when the lake is too old to forecast from: the account stands still until it is built.
        """
        newest = self.newest()
        if newest is not None and newest < self.at:
            self.ledger.complain(Complaint(EVERYTHING, f"{BACKWARDS}: the newest closed hour is {newest:%Y-%m-%d %H:%M}"))
        while newest is not None and self.at < min(newest, until or newest):
            yield self.step()

    def step(self) -> Hour:
        """Trade the next hour."""
        told = self.told(self.at + HOUR)
        memory, hour = paper.advance(self.plan, self._memory, self._standing, told)
        delay = None if self._now is None else (self._now() - told.at).total_seconds()
        self.ledger.write(self.plan, hour, delay)
        self._memory, self._standing = memory, hour.standing
        return hour

    def told(self, at: datetime) -> Told:
        """What the hour that closed at `at` brings."""
        first_open_day(self.lake, at)
        said: tuple[str, ...] = ()
        forecasts = pl.DataFrame(schema=paper.FORECASTS)
        try:
            forecasts = self._forecasts(at)
        except (StaleDataError, CheckpointError) as error:
            said = (f"no forecast: {str(error).split(':')[0]}",)
        near = timedelta(minutes=30)
        funding = self._raw.scan("raw/binance_funding", at - HOUR - near, at - HOUR + near).collect()
        bars = self._bars(Window(at - HOUR, at))
        return Told(at, bars, funding, forecasts, is_killed(self.lake.root), said)

    def rows_at(self, at: datetime) -> pl.DataFrame:
        """Rows of `forecasts/latest` of the account's model for the hour that closed at `at`."""
        return forecasts_at(self.lake, self._days.panel(at), at, self.plan.model)

    def close(self) -> None:
        """End the threads."""
        self._days.close()

    def _forecasts(self, at: datetime) -> pl.DataFrame:
        rows = self.rows_at(at)
        if rows.is_empty():
            raise CheckpointError(f"no checkpoint of {self.plan.model} for {at}: train it")
        if self._keeps:
            mirror(self.lake, rows)
        rule = self.plan.rule
        mine = rows.filter(pl.col("horizon") == rule.horizon)
        return mine.select("symbol", "ts", value=rule.column, model_version="model_version")

    def _bars(self, window: Window) -> pl.DataFrame:
        return derive(curated()["candles"], self._raw, window)

    def _warmup(self) -> pl.DataFrame:
        """Bars before the first hour, whole days from the lake, the rest as it lies in the hot store."""
        window = Window(self.plan.begins - paper.WARMUP, self.plan.begins - HOUR)
        built = self.lake.scan(CANDLES, window.start, window.end).collect()
        end = window.start
        with suppress(StaleDataError):
            end = min(max(first_open_day(self.lake, window.end), window.start), window.end)
        rows = [built.filter(pl.col("ts") < end)]
        if end < window.end:
            rows += [self._bars(day) for day in Window(end, window.end).chunks(1)]
        return pl.concat(rows)


def line(hour: Hour, plan: Plan) -> str:
    """What an hour did, on one line."""
    v = hour.values
    sent = hour.sent.filter(pl.col("quantity") != 0)
    parts = [
        f"{hour.standing.at:%Y-%m-%d %H:%M}",
        f"equity {v['equity_usd']:,.2f}",
        f"{v['equity_usd'] / plan.capital_usd - 1:+.2%}",
        f"gross {v['gross_exposure']:.0%} net {v['net_exposure']:+.0%}",
        f"fills {hour.trades.height}",
        f"orders {sent.height}",
    ]
    if sent.height:
        parts.append(
            " ".join(f"{r['symbol']}{r['quantity']:+.4g}" for r in sent.head(4).to_dicts())
            + (" ..." if sent.height > 4 else "")
        )
    told = paper.kinds(hour.complaints)
    return "  ".join(parts + ([f"({', '.join(f'{what} {n}' for what, n in told.items())})"] if told else []))


def summary(ledger: PaperLedger, plan: Plan) -> dict[str, Any]:
    """An account as plain JSON."""
    newest = ledger.newest() or {}
    return {
        "name": plan.name,
        "model": plan.model,
        "strategy": plan.strategy,
        "symbols": list(plan.symbols),
        "capital_usd": plan.capital_usd,
        "begins": plan.begins,
        "at": newest.get("ts"),
        "equity_usd": newest.get("equity_usd", plan.capital_usd),
        **ledger.counts(),
        "limits": ledger.reasons(),
        "ledger": str(ledger.path),
    }
