"""`paper` and `parity`: options and help texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crypto_assets.cli._options import JsonOption, LakeOption, check_writable, write


def paper(
    replay: Annotated[
        str | None, typer.Option(help="Live through history: a month 2024-11, a day, or 2024-11-05..2024-11-09.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the account (default: main, or replay-<days>).")] = None,
    strategy: Annotated[str, typer.Option(help="How forecasts become positions.")] = "relative_24h",
    model: Annotated[str, typer.Option(help="Whose forecasts.")] = "lightgbm",
    capital: Annotated[float, typer.Option(help="USD at the start.")] = 10_000.0,
    limits: Annotated[str, typer.Option(help="none (no leverage only) or prudent.")] = "none",
    strategy_file: Annotated[
        list[Path] | None, typer.Option(help="A Python file with a STRATEGY of your own; may be given more than once.")
    ] = None,
    symbols: Annotated[str | None, typer.Option(help="Coins, separated by commas (default: the lake's).")] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after so many minutes.", min=0.0)] = None,
    until: Annotated[str | None, typer.Option(help="Stop after the hour that closes then, ISO UTC.")] = None,
    speed: Annotated[float, typer.Option(help="Of a replay: seconds of the past in a real second.", min=1.0)] = 3600.0,
    metrics_port: Annotated[
        int | None, typer.Option(help="Prometheus metrics on this port of 127.0.0.1; 0: a free one.")
    ] = None,
    lake: LakeOption = None,
    json_out: JsonOption = None,
) -> None:
    """Trade on paper what the stream brings, hour by hour; goes on where it was stopped or killed. No money is traded."""
    from crypto_assets.cli.app import moment
    from crypto_assets.cli.paper import run

    check_writable(json_out, "--json")
    result = run(
        name=name or ("main" if replay is None else f"replay-{replay}"),
        model=model,
        strategy=strategy,
        capital=capital,
        limits=limits,
        lake=lake,
        symbols=symbols,
        minutes=minutes,
        until=moment(until, "--until"),
        replay=replay,
        speed=speed,
        metrics_port=metrics_port,
        files=tuple(str(path.resolve()) for path in strategy_file or ()),
    )
    write(json_out, result)


def parity(
    from_: Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD.")],
    to: Annotated[str, typer.Option("--to", help="Last day, YYYY-MM-DD.")],
    model: Annotated[str, typer.Option(help="Whose forecasts.")] = "lightgbm",
    strategy: Annotated[str, typer.Option(help="How forecasts become positions.")] = "relative_24h",
    symbols: Annotated[str | None, typer.Option(help="Coins, separated by commas (default: the lake's).")] = None,
    speed: Annotated[float, typer.Option(help="Seconds of the past in a real second.", min=1.0)] = 3600.0,
    in_process: Annotated[bool, typer.Option("--in-process", help="Without the wire: quicker, and proves less.")] = False,
    served: Annotated[
        bool, typer.Option("--served", help="Trade what the HTTP interface says, its server on loopback.")
    ] = False,
    lake: LakeOption = None,
    json_out: JsonOption = None,
) -> None:
    """Live through days again, by stream, features, forecasts and paper, and compare with the batch. Exit 1: they differ."""
    from crypto_assets.cli.app import day
    from crypto_assets.cli.paper import parity as run

    check_writable(json_out, "--json")
    first, last = day(from_, "--from"), day(to, "--to")
    assert first is not None
    assert last is not None
    result = run(
        first=first,
        last=last,
        model=model,
        strategy=strategy,
        lake=lake,
        symbols=symbols,
        speed=speed,
        in_process=in_process,
        served=served,
    )
    write(json_out, result)
    if result["differences"]:
        raise typer.Exit(1)
