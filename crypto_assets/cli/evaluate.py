"""`evaluate`: walk-forward over years of history by the functions the assets call, without an event a day."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from crypto_assets.dataset.assemble import Assembled, assemble, raw_reader, span
from crypto_assets.dataset.folds import walk_forward
from crypto_assets.dataset.panel import Panel, from_tables
from crypto_assets.features import families
from crypto_assets.lake import Lake, Reader, world
from crypto_assets.market.coins import COINS
from crypto_assets.market.errors import SettingsError
from crypto_assets.market.time import Window
from crypto_assets.settings import Settings, load

screen = Console(stderr=True)


def run(
    *,
    first: date | None,
    last: date | None,
    train_from: date | None,
    preset: str | None,
    features: Sequence[Path],
    only: Sequence[str] | None,
    symbols: str | None,
    lake: Path | None,
    report: Path | None,
) -> dict[str, Any]:
    """Evaluate every model on the test days `first` to `last`, print the tables, return the JSON of the contract."""
    from crypto_assets.evaluation.assess import assess
    from crypto_assets.evaluation.tables import show
    from crypto_assets.models.registry import MODELS
    from crypto_assets.models.registry import load as known
    from crypto_assets.trading.strategies import strategies

    started = time.perf_counter()
    settings = load(lake=lake, preset=preset, symbols=symbols)
    store = Lake(settings.lake)
    stamped = world.read(store)
    kind = "archive" if stamped is None else stamped.world
    names = list(only or MODELS)
    for name in names:
        known(name)
    reader = raw_reader(store, kind, list(COINS))
    window = _window(span(reader), first, last, train_from)
    chosen = tuple(settings.symbols) if symbols else complete_symbols(reader, window, last)
    assembled = _assemble(reader, window, chosen, features, store)
    panel = from_tables(assembled.matrix, assembled.labels, chosen)
    folds = walk_forward(window.start.date(), first, last, "2w" if kind == "sandbox" else "month")  # type: ignore[arg-type]
    screen.print(
        f"{len(chosen)} coins ({' '.join(chosen)}), {len(panel.columns)} features, {len(panel.ts):,} hours, "
        f"{len(folds)} folds from {folds[0].name}",
        highlight=False,
        soft_wrap=True,
    )
    forecasts = _walk(panel, folds, names, settings, assembled.candles)
    outcome = assess(
        forecasts,
        panel,
        assembled.candles,
        assembled.funding,
        study=forecasts.study(panel, folds, kind),
        lake=store.root,
        oracle=_oracle(store),
        seconds=time.perf_counter() - started,
        strategies=strategies(settings.strategy_files),
    )
    show(outcome.result, screen if screen.is_terminal else Console(stderr=True, width=150))
    if report is not None:
        outcome.report(report, assembled.labels, forecasts.weights)
        if report.resolve().parent == (store.root / "reports").resolve():
            from crypto_assets.evaluation.report_index import write_index

            write_index(report.parent)
        screen.print(f"report {report.resolve().as_uri()}", highlight=False, soft_wrap=True)
    return outcome.result


def complete_symbols(reader: Reader, window: Window, last: date | None) -> tuple[str, ...]:
    """Coins with candles throughout: from the first hour any coin has (in the window) to the last test day."""
    import polars as pl

    table = "raw/binance_perp_candles"
    rows = reader.scan(table, window.start, window.end)
    if rows.head(1).collect().is_empty():
        rows = reader.scan("raw/binance_candles", window.start, window.end)
    spans = rows.group_by("symbol").agg(first=pl.col("ts").min(), last=pl.col("ts").max(), hours=pl.len()).collect()
    if spans.is_empty():
        raise SettingsError(f"no candles between {window.start} and {window.end}: import history for those days")
    most = max(spans["hours"].to_list())
    full = spans.filter((pl.col("last").dt.date() >= pl.lit(last)) & (pl.col("hours") >= 0.8 * most))
    return tuple(s for s in COINS if s in set(full["symbol"]))


def _window(found: tuple[date, date], first: date | None, last: date | None, train_from: date | None) -> Window:
    if first is None or last is None or last < first:
        raise SettingsError(f"--from {first} is after --to {last}: swap the two dates")
    if first < found[0]:
        raise SettingsError(f"--from {first}: the lake's candles begin on {found[0]}; test later, or import more history")
    if last > found[1]:
        raise SettingsError(f"--to {last}: the lake's candles end on {found[1]}; end there or earlier")
    if train_from is not None and train_from < found[0]:
        raise SettingsError(f"--train-from {train_from}: the lake's candles begin on {found[0]}; start there or later")
    start = train_from or found[0]
    # Two more days, where there are any, so that the labels of the last test day are known.
    return Window.of_days(start, min(last + timedelta(days=2), found[1]))


def _assemble(reader: Reader, window: Window, symbols: tuple[str, ...], features: Sequence[Path], store: Lake) -> Assembled:
    import polars as pl

    from crypto_assets.lake import Frames
    from crypto_assets.sources import discover

    frames = {}
    for source in discover().values():
        rows = reader.scan(source.table.name)
        # On-chain metrics of any coin may inform every coin; everything else is of the chosen coins.
        if "symbol" in source.table.dtypes and source.name != "coinmetrics_onchain":
            rows = rows.filter(pl.col("symbol").is_in(list(symbols)))
        frames[source.table.name] = rows.collect()
    with screen.status("assembling the features") as status:
        return assemble(
            Frames(frames),
            window,
            list(families(features).values()),
            lambda name, share: status.update(f"{name} ({share:.0%})"),
            store.root / "cache",
        )


def _walk(panel: Panel, folds: Sequence[Any], names: Sequence[str], settings: Settings, candles: Any) -> Any:
    from crypto_assets.evaluation.walkforward import run as walk

    columns = (
        TextColumn("{task.description:16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[what]}"),
    )
    with Progress(*columns, console=screen) as bar:
        task = bar.add_task("fit and forecast", total=len(folds) * len(names), what="")

        def progress(model: str, fold: str, seconds: float) -> None:
            bar.update(task, advance=1, what=f"{fold} {model} {seconds:.1f} s")
            if not screen.is_terminal:
                screen.print(f"{fold} {model} {seconds:.1f} s", highlight=False)

        return walk(panel, folds, names, preset=settings.preset, seed=settings.seed, progress=progress, candles=candles)


def _oracle(store: Lake) -> Any:
    import polars as pl

    path = store.root / "oracle" / "p_star.parquet"
    return pl.read_parquet(path) if path.exists() else None
