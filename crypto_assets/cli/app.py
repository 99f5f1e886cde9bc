"""The command line: options, help texts, errors as one readable message."""

from __future__ import annotations

import os
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer

from crypto_assets.cli._options import FeaturesOption, JsonOption, LakeOption, check_writable, screen, write
from crypto_assets.cli.model import model_app
from crypto_assets.cli.paper_commands import paper, parity
from crypto_assets.cli.serve import serve
from crypto_assets.cli.trace import trace
from crypto_assets.market.errors import CryptoAssetsError, SettingsError
from crypto_assets.settings import MARKETS

app = typer.Typer(
    name="crypto-assets",
    help="Crypto market forecasts you can believe: lineage, point in time, calibrated, net of costs.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(model_app, name="model")
app.command()(paper)
app.command()(parity)
app.command()(serve)
app.command()(trace)


def main() -> None:
    """Entry point: a CryptoAssetsError is printed as its message, with exit status 2."""
    try:
        app()
    except CryptoAssetsError as error:
        screen.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)


@app.command()
def demo(
    days: Annotated[int, typer.Option(help="Days of history, ending yesterday.", min=30)] = 116,
    market: Annotated[str, typer.Option(help=f"Simulated market: {', '.join(MARKETS)}.")] = "standard",
    seed: Annotated[int, typer.Option(help="Seed of the simulated market.")] = 7,
    preset: Annotated[str | None, typer.Option(help="Size of the nets: debug, small or full.")] = None,
    all_sources: Annotated[
        bool, typer.Option("--all-sources", help="Also every further raw table, for the last 30 days, keyed ones too.")
    ] = False,
    lake: LakeOption = None,
    json_out: JsonOption = None,
) -> None:
    """Run the whole graph on the simulated market: no keys, no network, a few minutes."""
    from crypto_assets.cli.demo import run

    check_writable(json_out, "--json")
    write(json_out, run(days=days, market=market, seed=seed, preset=preset, lake=lake, all_sources=all_sources))


@app.command()
def sandbox(
    market: Annotated[str, typer.Option(help=f"Simulated market: {', '.join(MARKETS)}.")] = "standard",
    seed: Annotated[int, typer.Option(help="Seed of the simulated market.")] = 7,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8765,
    replay: Annotated[Path | None, typer.Option(help="Serve the imported or ingested history of this lake instead.")] = None,
    at: Annotated[
        str | None,
        typer.Option(
            help="Start the clock here, ISO UTC (default: now, or the first bar of --replay); it stands without --speed."
        ),
    ] = None,
    speed: Annotated[
        float | None, typer.Option(help="Seconds of the sandbox in a real second: 1 real time, 3600 an hour.")
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help='Misbehave: "PROVIDER:KIND[=VALUE] WHEN", may be given more than once. Kinds: 429, 500, latency, disconnect, '
            "truncated, empty, html, wrong_type, duplicated, out_of_order, schema_drift, clock_skew. When: always, every N, "
            'first N, after N, chance P, every 30s, first 30s, after 30s. For example "binance:disconnect every 30s".'
        ),
    ] = None,
) -> None:
    """Serve every provider's interface on loopback, by HTTP and WebSocket, until Ctrl-C.

    The data is a simulated market or, with --replay, the history of a lake. GET /health shows the time there; POST /clock with
    {"now": ISO}, {"advance_s": S} or {"speed": X} sets it.
    """
    from crypto_assets.sandbox.server import serve

    if market not in MARKETS:
        raise SettingsError(f"no market {market!r}: there are {', '.join(MARKETS)}")
    what = f"market {market}, seed {seed}" if replay is None else f"history of {replay}"

    def ready(url: str) -> None:
        screen.print(f"sandbox: {what}, {url} (Ctrl-C stops it)", highlight=False)

    serve(market, seed, port, tuple(fault or ()), at=moment(at, "--at"), speed=speed, replay=replay, ready=ready)


@app.command("import")
def import_(
    table: Annotated[str, typer.Argument(help="Raw table, for example binance_perp_candles.")],
    files: Annotated[list[Path], typer.Argument(help="Parquet or CSV files.")],
    source: Annotated[str | None, typer.Option(help="Value for the `source` column.")] = None,
    map_: Annotated[str | None, typer.Option("--map", help="theirs=ours,... for columns with other names.")] = None,
    where: Annotated[str | None, typer.Option(help="SQL condition on the file's columns; other rows are ignored.")] = None,
    lake: LakeOption = None,
    json_out: JsonOption = None,
) -> None:
    """Bring your own history: check it, map it, stage it. Then `build --world archive` or `evaluate`."""
    from crypto_assets.cli.history import run_import

    check_writable(json_out, "--json")
    write(json_out, run_import(table, files, source=source, mapping=pairs(map_), where=where, lake=lake))


@app.command()
def build(
    world: Annotated[str | None, typer.Option(help="sandbox, archive or live (default: the lake's own).")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="First day, YYYY-MM-DD.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Last day, YYYY-MM-DD.")] = None,
    select: Annotated[str | None, typer.Option(help="One job only: ingest, ingest_more, train, forecast or backtest.")] = None,
    symbols: Annotated[str | None, typer.Option(help="Coins, separated by commas.")] = None,
    lake: LakeOption = None,
) -> None:
    """Materialise the graph for a range of days in this process."""
    from crypto_assets.cli.build import run

    run(world=world, first=day(from_, "--from"), last=day(to, "--to"), select=select, symbols=symbols, lake=lake)


@app.command()
def evaluate(
    from_: Annotated[str, typer.Option("--from", help="First test day, YYYY-MM-DD.")],
    to: Annotated[str, typer.Option("--to", help="Last test day, YYYY-MM-DD.")],
    train_from: Annotated[str | None, typer.Option("--train-from", help="Earliest day used (default: all there is).")] = None,
    preset: Annotated[str | None, typer.Option(help="Size of the nets: debug, small or full.")] = None,
    features: FeaturesOption = None,
    models: Annotated[str | None, typer.Option(help="Only these models, separated by commas.")] = None,
    symbols: Annotated[
        str | None, typer.Option(help="Coins, separated by commas (default: those with candles to the end).")
    ] = None,
    lake: LakeOption = None,
    json_out: JsonOption = None,
    report: Annotated[Path | None, typer.Option(help="Also write the HTML report to this file.")] = None,
) -> None:
    """Walk-forward evaluation of every model and baseline over the lake."""
    from crypto_assets.cli.evaluate import run

    check_writable(json_out, "--json")
    check_writable(report, "--report")
    result = run(
        first=day(from_, "--from"),
        last=day(to, "--to"),
        train_from=day(train_from, "--train-from"),
        preset=preset,
        features=features or [],
        only=models.split(",") if models else None,
        symbols=symbols,
        lake=lake,
        report=report,
    )
    write(json_out, result)


@app.command()
def train(
    model: Annotated[list[str] | None, typer.Option(help="A net; may be given more than once (default: every net).")] = None,
    preset: Annotated[str | None, typer.Option(help="Size of the nets: debug, small or full.")] = None,
    fold: Annotated[
        list[str] | None, typer.Option(help="A walk-forward fold by its first test day, or all (default: the newest).")
    ] = None,
    search: Annotated[
        int, typer.Option(help="First search hyper-parameters until there are so many trials; goes on where it stopped.", min=0)
    ] = 0,
    lake: LakeOption = None,
    json_out: JsonOption = None,
) -> None:
    """Train nets on folds of the lake; one that was killed goes on. Several GPUs: torchrun -m crypto_assets.cli train."""
    from crypto_assets.cli.train import run

    check_writable(json_out, "--json")
    result = run(models=model, preset=preset, fold=fold, search=search, lake=lake)
    if result is not None:
        write(json_out, result)


@app.command()
def doctor(
    world: Annotated[str | None, typer.Option(help="sandbox, archive or live (default: the lake's own).")] = None,
    lake: LakeOption = None,
    json_out: JsonOption = None,
) -> None:
    """Look at every source (key, reachable, last partition, terms), the device and the services."""
    from crypto_assets.cli.doctor import run

    check_writable(json_out, "--json")
    write(json_out, run(world=world, lake=lake))


@app.command()
def backup(
    destinations: Annotated[list[str], typer.Argument(help="Folders or s3://bucket/prefix; each gets a whole copy.")],
    keep: Annotated[int | None, typer.Option(help="Keep only so many snapshots (default: all).")] = None,
    rehash: Annotated[bool, typer.Option("--rehash", help="Read every file again, also the untouched ones.")] = False,
    lake: LakeOption = None,
    json_out: JsonOption = None,
) -> None:
    """Copy the lake, incrementally and checksummed. S3 address and keys: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, ..."""
    from crypto_assets.cli.redundancy import run_backup

    check_writable(json_out, "--json")
    write(json_out, run_backup(destinations, keep=keep, rehash=rehash, lake=lake))


@app.command()
def restore(
    sources: Annotated[list[str], typer.Argument(help="Copies; a damaged file is taken from the next one.")],
    snapshot: Annotated[str | None, typer.Option(help="Which snapshot (default: the newest).")] = None,
    lake: LakeOption = None,
    json_out: JsonOption = None,
) -> None:
    """Restore a lake into an empty folder; every content is checked."""
    from crypto_assets.cli.redundancy import run_restore

    check_writable(json_out, "--json")
    write(json_out, run_restore(sources, name=snapshot, lake=lake))


@app.command()
def verify(
    sources: Annotated[list[str], typer.Argument(help="Copies to read and check.")],
    snapshot: Annotated[str | None, typer.Option(help="Which snapshot (default: the newest).")] = None,
    json_out: JsonOption = None,
) -> None:
    """Read copies of a lake back and check every content; exit 2 when something is damaged."""
    from crypto_assets.cli.redundancy import run_verify

    check_writable(json_out, "--json")
    write(json_out, {"copies": run_verify(sources, name=snapshot)})


@app.command()
def audit(
    features: FeaturesOption = None,
    cuts: Annotated[
        int | None, typer.Option(help="Moments to cut at (default: 12 for the package, what fits in 20 s for a file).", min=1)
    ] = None,
    lake: LakeOption = None,
    json_out: JsonOption = None,
) -> None:
    """The leak firewall: does anything known at a moment depend on what came later? Exit status 1 when it does."""
    # With one thread a join without a stated order keeps it: what is reported is then a leak and not chance.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from crypto_assets.cli.audit import fails, run

    check_writable(json_out, "--json")
    result = run(features=features or [], cuts=cuts, lake=lake)
    write(json_out, result)
    fails(result)
    if result["leaks"]:
        raise typer.Exit(1)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help='For example "SELECT symbol, count(*) FROM curated.candles GROUP BY 1".')],
    lake: LakeOption = None,
) -> None:
    """Ask the lake in SQL, read-only."""
    import polars as pl

    from crypto_assets.cli.history import lake_at
    from crypto_assets.lake import catalog

    rows = catalog.query(lake_at(lake), sql)
    with pl.Config(tbl_rows=100, tbl_cols=-1, fmt_str_lengths=80, tbl_width_chars=200):
        typer.echo(str(rows))


@app.command()
def quarantine(
    table: Annotated[str | None, typer.Argument(help="One table, for example raw/binance_candles.")] = None,
    lake: LakeOption = None,
) -> None:
    """List the rows that were set aside, with the reason."""
    import polars as pl

    from crypto_assets.cli.history import lake_at
    from crypto_assets.lake import quarantine as kept

    rows = kept.read(lake_at(lake), table)
    with pl.Config(tbl_rows=100, tbl_cols=-1, fmt_str_lengths=120, tbl_width_chars=240):
        typer.echo(str(rows))


@app.command()
def stream(
    symbols: Annotated[str | None, typer.Option(help="Coins, separated by commas (default: the lake's).")] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after so many minutes (default: at Ctrl-C).", min=0.01)] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Prometheus metrics on this port of 127.0.0.1; 0: a free one.")
    ] = None,
    poll: Annotated[str, typer.Option(help="Slow tables to ask at their own pace: core, all or none.")] = "core",
    world: Annotated[str | None, typer.Option(help="sandbox or live (default: the lake's own).")] = None,
    lake: LakeOption = None,
    json_out: JsonOption = None,
) -> None:
    """WebSocket bars, trades and books into the hot store, gaps repaired by REST, until Ctrl-C."""
    from crypto_assets.cli.stream import run

    check_writable(json_out, "--json")
    result = run(world=world, symbols=symbols, minutes=minutes, metrics_port=metrics_port, poll=poll, lake=lake)
    write(json_out, result)


@app.command()
def monitor(
    judge: Annotated[bool, typer.Option("--judge", help="Run the job `monitor` first.")] = False,
    metrics_port: Annotated[
        int | None, typer.Option(help="Then serve Prometheus metrics on this port of 127.0.0.1; 0: a free one.")
    ] = None,
    lake: LakeOption = None,
    json_out: JsonOption = None,
) -> None:
    """Drift, live accuracy, freshness, the challenger and open alerts, as the job `monitor` left them."""
    from crypto_assets.cli.monitor import run

    check_writable(json_out, "--json")
    run(lake=lake, judge=judge, metrics_port=metrics_port, keep=lambda told: write(json_out, told))


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port of the Dagster UI.", min=1, max=65535)] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow UI.", min=1, max=65535)] = 5000,
    api_port: Annotated[int, typer.Option(help="Port of the forecasts' API and page.", min=1, max=65535)] = 8000,
    lake: LakeOption = None,
) -> None:
    """Dagster UI and daemon, MLflow UI, the forecasts' page, and the sandbox for a sandbox lake; Ctrl-C stops all of them."""
    from crypto_assets.cli.ui import run

    run(port=port, mlflow_port=mlflow_port, api_port=api_port, lake=lake)


features_app = typer.Typer(help="The feature catalogue.", no_args_is_help=True)
app.add_typer(features_app, name="features")


@features_app.command("list")
def features_list(features: FeaturesOption = None, json_out: JsonOption = None) -> None:
    """Every feature column with its meaning, unit and lookback."""
    from crypto_assets.cli.catalogue import listing

    check_writable(json_out, "--json")
    rows = listing(features or [])
    for row in rows:
        typer.echo(f"{row['name']:44} {row['meaning']} {'[' + row['unit'] + ']' if row['unit'] else ''}")
    write(json_out, rows)


@features_app.command("docs")
def features_docs() -> None:
    """Write docs/features.md from the families."""
    from crypto_assets.cli.catalogue import write_page

    typer.echo(str(write_page()))


sources_app = typer.Typer(help="The sources; `doctor` says how they stand.", no_args_is_help=True)
app.add_typer(sources_app, name="sources")


@sources_app.callback()
def sources_group() -> None:
    """The sources; `doctor` says how they stand."""


@sources_app.command("docs")
def sources_docs() -> None:
    """Write docs/sources.md from the sources."""
    from crypto_assets.cli.catalogue import write_sources_page

    typer.echo(str(write_sources_page()))


ledger_app = typer.Typer(help="Every fit that was ever evaluated, and the locked hold-out.", no_args_is_help=True)
app.add_typer(ledger_app, name="ledger")


@ledger_app.command("list")
def ledger_list(lake: LakeOption = None, json_out: JsonOption = None) -> None:
    """Every trial of the lake with its main results."""
    from crypto_assets.cli.ledger import listing

    check_writable(json_out, "--json")
    write(json_out, listing(lake))


@ledger_app.command("show")
def ledger_show(
    trial: Annotated[str, typer.Argument(help="The hash, or its beginning.")],
    lake: LakeOption = None,
    json_out: JsonOption = None,
) -> None:
    """One trial: its configuration, folds, features and results."""
    from crypto_assets.cli.ledger import show

    check_writable(json_out, "--json")
    write(json_out, show(trial, lake))


@ledger_app.command("holdout")
def ledger_holdout(
    from_: Annotated[str | None, typer.Option("--from", help="First day, YYYY-MM-DD: declares the hold-out.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Last day, YYYY-MM-DD.")] = None,
    lake: LakeOption = None,
    json_out: JsonOption = None,
) -> None:
    """Show the locked hold-out and how often it was read, or declare it, once, before it is read."""
    from crypto_assets.cli.ledger import holdout

    check_writable(json_out, "--json")
    write(json_out, holdout(lake, day(from_, "--from"), day(to, "--to")))


def day(text: str | None, option: str) -> date | None:
    """A date option. Raises SettingsError naming the option and the form."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise SettingsError(f"{option} {text!r} is not a date: write it as YYYY-MM-DD") from error


def moment(text: str | None, option: str) -> datetime | None:
    """A time option; without a zone it is UTC. Raises SettingsError naming the option and the form."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingsError(f"{option} {text!r} is not a time: write it as YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def pairs(text: str | None) -> dict[str, str]:
    """`theirs=ours,...` as a dict. Raises SettingsError for anything else."""
    found = {}
    for part in (text or "").split(","):
        if not part:
            continue
        theirs, sign, ours = part.partition("=")
        if not (sign and theirs and ours):
            raise SettingsError(f"--map {part!r}: write theirs=ours, several separated by commas")
        found[theirs.strip()] = ours.strip()
    return found
