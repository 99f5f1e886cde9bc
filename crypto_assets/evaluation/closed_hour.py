"""What the hour that has just closed says: its features and forecasts, by the functions the assets call.

The lake ends with the last day that was ingested; the days since then lie in the hot store (bars) and in the `live` tables (the
polled ones). They are laid over the raw tables, and every derived table is made anew from the first open day on by its own
`Derivation`: the same inputs from the same beginning, so a row here is the row that the daily run will write, to the last bit
where the raw rows are the same (crypto_assets_tests/evaluation/test_closed_hour.py). Then the newest checkpoints forecast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from crypto_assets.dataset import labels
from crypto_assets.dataset.assemble import derivations
from crypto_assets.dataset.panel import Panel, from_tables
from crypto_assets.evaluation.fusing import FUSED, fuse_hour, fusion_at, members_among
from crypto_assets.evaluation.walkforward import COMBINATIONS, CONTEXT, combine, combined_version, forecast_window
from crypto_assets.features import FeatureFamily
from crypto_assets.features import families as all_families
from crypto_assets.lake import Field, Lake, Reader, derive
from crypto_assets.lake.hot import Hot, HotStore, open_hot
from crypto_assets.market.errors import SettingsError, StaleDataError
from crypto_assets.market.time import DAY, HOUR, Window, midnight
from crypto_assets.models._base import Forecast, forecast_table
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.registry import MODELS
from crypto_assets.settings import Settings
from crypto_assets.sources import Source, discover
from crypto_assets.sources.stream import polling
from crypto_assets.sources.stream.tables import LiveCandles1h, frame
from crypto_assets.sources.stream.writer import closed_hours

MOST_OPEN = 7 * DAY
"""More open days than this are not bridged: the daily runs have failed, and what they would have fetched is missing."""
Read = Callable[[datetime, datetime], pl.DataFrame]
"""Rows with `start <= ts < end`."""
VALUES = ("p_up", "mean", "log_var", "p_beats_median", "realised_var", "model_version")


class ForecastsLatest(forecast_table("latest")):  # type: ignore[misc]
    """Forecasts as they were made at the close of each hour, by the newest checkpoints of that moment."""

    name = "forecasts/latest"
    key = ("model", "symbol", "ts", "horizon")

    model: str = Field(meaning="model, or combination of models")


@dataclass(frozen=True)
class Closed:
    """An hour that closed at `at`: its rows of `features/matrix` and of `forecasts/latest`."""

    at: datetime
    features: pl.DataFrame
    forecasts: pl.DataFrame


class Overlay:
    """A reader that lays further rows over another: of the same key and version, the other's row counts."""

    def __init__(self, base: Reader, more: Mapping[str, tuple[list[str], Read]]) -> None:
        self.base, self.more = base, more

    def scan(self, table: str, start: datetime | None = None, end: datetime | None = None) -> pl.LazyFrame:
        """Rows of `table` with `start <= ts < end`."""
        rows = self.base.scan(table, start, end)
        if table not in self.more or start is None or end is None:
            return rows
        key, read = self.more[table]
        return pl.concat([rows, read(start, end).lazy()]).unique([*key, "available_at"], keep="first", maintain_order=True)


class Since:
    """A reader of derived tables: `newer` rows from `start` on, what the lake has before it."""

    def __init__(self, base: Reader, start: datetime) -> None:
        self.base, self.start, self.newer = base, start, dict[str, pl.DataFrame]()

    def scan(self, table: str, start: datetime | None = None, end: datetime | None = None) -> pl.LazyFrame:
        """Rows of `table` with `start <= ts < end`."""
        if table not in self.newer:
            return self.base.scan(table, start, end)
        before = self.base.scan(table, start, self.start if end is None else min(end, self.start))
        rows = self.newer[table].lazy()
        if start is not None:
            rows = rows.filter(pl.col("ts") >= start)
        if end is not None:
            rows = rows.filter(pl.col("ts") < end)
        return pl.concat([before, rows])


def raw_now(lake: Lake, hot: HotStore, sources: Mapping[str, Source]) -> Overlay:
    """The raw tables of the lake with what the stream has brought since."""

    def reading(source: Source) -> Read:
        if source.name in polling.STREAMED:
            return lambda start, end: source.table.shape(frame(hot, LiveCandles1h, [source.provider], start, end))
        return lambda start, end: polling.read(lake, source, start, end)

    return Overlay(lake, {s.table.name: (list(s.table.key), reading(s)) for s in sources.values()})


def first_open_day(lake: Lake, at: datetime) -> datetime:
    """Midnight of the first day the lake has not, or of the day of `at` where it has that.

    Raises StaleDataError when more than `MOST_OPEN` is missing.
    """
    built = lake.days("curated/candles")
    first = midnight(min(built[-1] + DAY, at.date())) if built else midnight(at.date())
    if not built or at - first > MOST_OPEN:
        last = f"ends on {built[-1]}" if built else "has no candles"
        raise StaleDataError(
            f"the lake {last}, the hour to forecast closed at {at}: at most {MOST_OPEN.days} open days are bridged; "
            f"run `crypto-assets build` up to yesterday"
        )
    return first


def matrix_since(
    lake: Lake, hot: HotStore, at: datetime, families: Sequence[FeatureFamily], sources: Mapping[str, Source] | None = None
) -> pl.DataFrame:
    """Rows of `features/matrix` from the first day the lake has not, up to the decision time `at`.

    Where the lake has that day, from its midnight on. Raises StaleDataError when more than `MOST_OPEN` is missing.
    """
    first = first_open_day(lake, at)
    reader = Since(raw_now(lake, hot, discover() if sources is None else sources), first)
    for step in derivations(list(families)):
        if step.name != labels.DERIVATION.name:
            days = [derive(step, reader, day) for day in Window(first, at + HOUR).chunks(1)]
            reader.newer[step.name] = pl.concat(days)
    return reader.newer["features/matrix"]


def features_now(
    lake: Lake,
    hot: HotStore,
    settings: Settings,
    at: datetime | None = None,
    families: Sequence[FeatureFamily] | None = None,
) -> pl.DataFrame:
    """Rows of `features/matrix` of the newest closed hour (or of `at`), one a coin that has a bar.

    Raises StaleDataError when no hour has closed in the hot store, or the lake is too old.
    """
    return _of_hour(lake, hot, settings, at, families)[1]


def close_hour(lake: Lake, hot: HotStore, settings: Settings, at: datetime | None = None) -> Closed:
    """Features and forecasts of the newest closed hour (or of `at`), put into the hot store too. Again gives the same.

    Kinds `features` (column -> value) and `forecasts` (model -> horizon -> values); without a checkpoint there is no forecast.
    """
    rows, mine = _of_hour(lake, hot, settings, at, None)
    when = mine["ts"][0]
    first: datetime = rows.select(pl.col("ts").min()).item()
    context = lake.scan("features/matrix", when - CONTEXT, first).collect()
    panel = from_tables(pl.concat([context, rows]), labels.DERIVATION.table.empty(), tuple(settings.symbols))
    forecasts = forecasts_at(lake, panel, when)
    hot.put([*_feature_rows(mine), *_forecast_rows(forecasts)])
    return Closed(when, mine, forecasts)


def close_newest(lake: Lake, settings: Settings) -> Closed:
    """`close_hour` of the newest closed hour in the settings' hot store, mirrored in `forecasts/latest`."""
    hot = open_hot(settings)
    try:
        closed = close_hour(lake, hot, settings)
    finally:
        hot.close()
    mirror(lake, closed.forecasts)
    return closed


def forecasts_at(lake: Lake, panel: Panel, at: datetime, only: str | None = None) -> pl.DataFrame:
    """Rows of `forecasts/latest` for the panel's hour `at`, of every model that has a checkpoint for it and their combinations.

    `only` one of them, then nothing is computed that it does not need. Raises SettingsError for one that is not known.
    """
    window = Window(at, at + HOUR)
    listed = panel.listed_TN[panel.slice(window)]
    members: dict[str, tuple[Forecast, Checkpoint]] = {}
    for name in tuple(MODELS) if only is None else members_of(only):
        if (checkpoint := newest_checkpoint(lake, name, at)) is not None:
            members[name] = forecast_window(checkpoint, panel, window), checkpoint
    parts = [
        forecast.table(name, fit.version, fit.trained_until, listed).with_columns(model=pl.lit(name))
        for name, (forecast, fit) in members.items()
        if only in (None, name)
    ]
    pools = {name: made_of for name, made_of in COMBINATIONS.items() if name != FUSED and only in (None, name)}
    for name, (combined, used) in combine({name: f for name, (f, _) in members.items()}, pools).items():
        version = combined_version(name, [members[m][1].version for m in used])
        until = max(members[m][1].trained_until for m in used)
        parts.append(combined.table(name, version, until, listed).with_columns(model=pl.lit(name)))
    if only in (None, FUSED) and (chosen := {name: members[name] for name in members_among(list(members))}):
        columns = [c for c in ForecastsLatest.schema() if c != "model"]
        parts.append(_fused(lake, panel, at, chosen).select(columns).with_columns(model=pl.lit(FUSED)))
    if not parts:
        return ForecastsLatest.empty()
    return ForecastsLatest.shape(pl.concat(parts)).sort(list(ForecastsLatest.key))


def members_of(model: str) -> tuple[str, ...]:
    """The models that must forecast so that `model` can. Raises SettingsError for one that is not known."""
    if model in MODELS:
        return (model,)
    if model in COMBINATIONS:
        made_of = COMBINATIONS[model]
        return tuple(name for name in MODELS if name in {*made_of.direction, *made_of.variance})
    raise SettingsError(f"no model {model!r}: choose one of {', '.join([*MODELS, *COMBINATIONS])}")


def _fused(lake: Lake, panel: Panel, at: datetime, members: Mapping[str, tuple[Forecast, Checkpoint]]) -> pl.DataFrame:
    """Rows of `fusion/fused` for the hour: the fold's fusion, in the state that earlier forecasts have left it in."""
    versions = {name: fit.version for name, (_, fit) in members.items()}
    fusion = fusion_at(lake, panel.symbols, at, versions)
    until = max(fit.trained_until for _, fit in members.values())
    now = {name: forecast for name, (forecast, _) in members.items()}
    return fuse_hour(fusion, lake, panel, now, versions, until, at)


def newest_checkpoint(lake: Lake, name: str, at: datetime) -> Checkpoint | None:
    """A model's checkpoint of the fold that `at` lies in, or of the last one before it; None where there is none.

    Of the next fold, which is trained up to a day before its start, nothing is taken before it has begun: a past hour gets the
    forecast that the fold's own table has for it.
    """
    for folder in sorted((lake.root / "models" / name).glob("fold=*"), reverse=True):
        if folder.name.removeprefix("fold=") > at.date().isoformat():
            continue
        checkpoint = Checkpoint.load(folder)
        if checkpoint.trained_until <= at:
            return checkpoint
    return None


def mirror(lake: Lake, forecasts: pl.DataFrame) -> pl.DataFrame:
    """Add an hour's forecasts to its day of `forecasts/latest`; returns the day. The hour's earlier rows are replaced."""
    if forecasts.is_empty():
        return forecasts
    at = forecasts["ts"][0]
    day = Window(midnight(at.date()), midnight(at.date()) + DAY)
    kept = lake.scan(ForecastsLatest.name, day.start, day.end).filter(pl.col("ts") != at).collect()
    rows = pl.concat([kept, forecasts])
    lake.write(ForecastsLatest, rows, day)
    return rows


def _of_hour(
    lake: Lake, hot: HotStore, settings: Settings, at: datetime | None, families: Sequence[FeatureFamily] | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows of the matrix since the lake's last day, those of the hour)."""
    if at is None:
        closed = closed_hours(hot)
        if not closed:
            raise StaleDataError("no hour has closed in the hot store: run `crypto-assets stream` for this lake")
        at = closed[-1]
    rows = matrix_since(lake, hot, at, list(all_families().values()) if families is None else families)
    mine = rows.filter(pl.col("ts") == at, pl.col("symbol").is_in(list(settings.symbols)))
    if mine.is_empty():
        raise StaleDataError(f"no bar closed at {at} in the hot store: run `crypto-assets stream`, and see its gaps")
    return rows, mine


def _feature_rows(mine: pl.DataFrame) -> list[Hot]:
    meta = ("symbol", "ts", "available_at")
    return [
        Hot("features", row["symbol"], row["ts"], {k: v for k, v in row.items() if k not in meta}) for row in mine.to_dicts()
    ]


def _forecast_rows(forecasts: pl.DataFrame) -> list[Hot]:
    found: dict[tuple[str, datetime], dict[str, Any]] = {}
    for row in forecasts.to_dicts():
        horizons = found.setdefault((row["symbol"], row["ts"]), {}).setdefault(row["model"], {})
        horizons[row["horizon"]] = {name: row[name] for name in VALUES}
    return [Hot("forecasts", symbol, ts, models) for (symbol, ts), models in found.items()]
