"""The command line as a contract: names and options stay, help is quick, and bad input ends with one message and status 2."""

from __future__ import annotations

import json
import os
import re
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from crypto_assets.cli import app, main
from crypto_assets.evaluation.ledger import Ledger
from crypto_assets.lake import Lake, world
from crypto_assets.market.time import DAY
from crypto_assets.orchestration.access import stamp
from crypto_assets.settings import Settings, today

HELP_CPU_S = 2.0
CONTRACT = {
    "demo": ("--days", "--market", "--seed", "--all-sources", "--lake", "--json"),
    "sandbox": ("--market", "--seed", "--port", "--fault", "--replay", "--speed", "--at"),
    "import": ("TABLE", "FILES", "--source", "--map", "--where", "--lake", "--json"),
    "build": ("--world", "--from", "--to", "--select", "--lake"),
    "evaluate": ("--from", "--to", "--train-from", "--preset", "--features", "--lake", "--json"),
    "train": ("--model", "--preset", "--fold", "--search", "--lake", "--json"),
    "audit": ("--features", "--cuts", "--lake", "--json"),
    "features list": ("--json",),
    "features docs": (),
    "ledger list": ("--lake", "--json"),
    "ledger show": ("TRIAL", "--lake", "--json"),
    "ledger holdout": ("--from", "--to", "--lake", "--json"),
    "sources docs": (),
    "serve": ("--host", "--port", "--rate", "--add-key", "--lake"),
    "trace": ("PREDICTION_ID", "--lake", "--json"),
    "model list": ("--lake", "--json"),
    "model show": ("WHICH", "--lake", "--json"),
    "model promote": ("VERSION", "--reason", "--lake", "--json"),
    "model rollback": ("--lake", "--json"),
    "doctor": ("--world", "--lake", "--json"),
    "backup": ("DESTINATIONS", "--keep", "--rehash", "--lake", "--json"),
    "restore": ("SOURCES", "--snapshot", "--lake", "--json"),
    "verify": ("SOURCES", "--snapshot", "--json"),
    "stream": ("--symbols", "--minutes", "--metrics-port", "--poll", "--world", "--lake", "--json"),
    "monitor": ("--judge", "--metrics-port", "--lake", "--json"),
    "paper": (
        *("--replay", "--name", "--strategy", "--model", "--capital", "--limits", "--strategy-file", "--symbols", "--minutes"),
        *("--until", "--speed", "--metrics-port", "--lake", "--json"),
    ),
    "parity": (
        "--from",
        "--to",
        "--model",
        "--strategy",
        "--symbols",
        "--speed",
        "--in-process",
        "--served",
        "--lake",
        "--json",
    ),
    "query": ("SQL",),
    "quarantine": (),
    "ui": ("--port", "--mlflow-port", "--api-port", "--lake"),
}
"""Names and options that people's scripts rely on (design, commands and their JSON)."""


class Ended(NamedTuple):
    status: int
    out: str
    error: str

    @property
    def message(self) -> str:
        """What was said, on one line."""
        return " ".join(self.error.split())


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", "")  # so that it is put back, whatever a command makes of it
    for name in [n for n in os.environ if n.startswith("CRYPTO_ASSETS_") or n == "DAGSTER_HOME"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def _nothing_runs(monkeypatch):
    """Bad input is refused before anything is computed."""

    def began(*arguments: object, **options: object) -> None:
        raise AssertionError("the input was accepted")

    monkeypatch.setattr("crypto_assets.orchestration.run.run_job", began)
    monkeypatch.setattr("crypto_assets.evaluation.walkforward.run", began)
    monkeypatch.setattr("uvicorn.Server.run", began)


@pytest.fixture
def ended(monkeypatch, capsys) -> Callable[..., Ended]:
    """Run a command line in this process; anything but an orderly end is an error of the test."""

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["crypto-assets", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as status:
            main()
        shown = capsys.readouterr()
        return Ended(status.value.code or 0, shown.out, shown.err)

    return run


def commands(command: Any = None, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command by its full name."""
    command = command or typer.main.get_command(app)
    if not hasattr(command, "commands"):
        yield name, command
        return
    for part, below in command.commands.items():
        yield from commands(below, f"{name} {part}".strip())


ALL = dict(commands())


def test_every_command_of_the_contract_is_there_with_its_options():
    assert set(CONTRACT) <= set(ALL)
    for name, wanted in CONTRACT.items():
        found = {text for p in ALL[name].params for text in (*p.opts, (p.metavar or p.name).strip("_").upper())}
        assert set(wanted) <= found, name


@pytest.mark.parametrize("name", ALL)
def test_help_is_quick_and_names_every_option(name):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "crypto_assets.cli", *name.split(), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < HELP_CPU_S
    for parameter in ALL[name].params:
        if parameter.param_type_name == "option":
            assert parameter.opts[0] in done.stdout
            assert parameter.help, f"{name} {parameter.opts[0]} says nothing about itself"
    assert len(ALL[name].help or "") > 15


def test_the_installed_command_shows_a_message_and_no_traceback(tmp_path):
    command = [Path(sys.executable).with_name("crypto-assets"), "build", "--symbols", "NOPE", "--lake", tmp_path / "lake"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown symbol 'NOPE'")
    assert "Traceback" not in done.stderr


HEADER = "ts,symbol,open,high,low,close,volume"
GOOD = "2024-01-01T00:00:00Z,BTCUSDT,1,3,1,2,10"
FILES = {
    "good.csv": (HEADER, GOOD),
    "missing.csv": ("ts,symbol,open,high,low,volume", "2024-01-01T00:00:00Z,BTC,1,3,1,9"),
    "naive.csv": (HEADER, "2024-01-01 00:00:00,BTC,1,3,1,2,9"),
    "negative.csv": (HEADER, "2024-01-01T00:00:00Z,BTC,1,3,1,-2,9"),
    "upside_down.csv": (HEADER, "2024-01-01T00:00:00Z,BTC,1,1,3,2,9"),
    "words.csv": (HEADER, "2024-01-01T00:00:00Z,BTC,one,3,1,2,9"),
    "stranger.csv": (HEADER, "2024-01-01T00:00:00Z,WHATUSDT,1,3,1,2,9"),
    "headline.csv": (HEADER,),
    "page.parquet": ("<html>not found</html>",),
    "candles.xlsx": ("x",),
    "broken.py": ("FAMILY = 1 +",),
    "other.py": ("FAMILY = 'technical'",),
}
TOMORROW, LAST = (today() + DAY).isoformat(), (today() - DAY).isoformat()
BAD = [
    # unknown names
    ("build --symbols NOPE", r"unknown symbol 'NOPE': known are BTC"),
    ("build --symbols btc", r"unknown symbol 'btc'.*did you mean BTC"),
    ("build --symbols MATIC", r"MATIC has been POL since 2024-09-10: write POL"),
    ("build --symbols BTC,BTC", r"listed twice"),
    ("evaluate --from 2024-01-01 --to 2024-02-01 --symbols NOPE", r"unknown symbol 'NOPE'"),
    ("build --world mars", r"world = 'mars'.*'sandbox', 'archive' or 'live'"),
    ("build --select deploy", r"--select 'deploy': choose one of ingest, train, forecast, backtest"),
    ("demo --market mars", r"market = 'mars'.*'standard'.*'null'"),
    ("demo --preset huge", r"preset = 'huge'.*'debug', 'small' or 'full'"),
    ("demo --seed -1", r"seed = -1.*greater than or equal to 0"),
    ("sandbox --market mars", r"no market 'mars': there are standard"),
    ("sandbox --seed -1", r"seed = -1: expected a whole number"),
    ("sandbox --fault nonsense", r"--fault 'nonsense'.*for example"),
    ("sandbox --port 99999", r"port 99999.*choose another"),
    ("ui --port 99999", r"--port.*65535"),
    ("paper --strategy all_in", r"no strategy 'all_in': choose one of direction_1h"),
    ("paper --model xgboost", r"no model 'xgboost': choose one of base_rate"),
    ("paper --capital -5", r"capital must be a finite amount above 0, was -5"),
    ("paper --limits wild", r"--limits 'wild': choose one of none, prudent"),
    ("paper --replay november", r"--replay 'november': write a month 2024-11"),
    ("paper --replay 2024-11-05..2024-11-01", r"2024-11-05 is after 2024-11-01: swap"),
    ("paper --replay 2024-11 --minutes 5", r"--minutes and --until end a live account: a replay ends with its days"),
    ("paper --until tomorrow", r"--until 'tomorrow' is not a time"),
    ("parity --from 2024-02-02 --to 2024-02-01", r"2024-02-02 is after 2024-02-01: swap"),
    ("parity --from 2024-02-01 --to 2024-02-30", r"--to '2024-02-30' is not a date"),
    ("evaluate --from 2024-01-01 --to 2024-02-01 --models xgboost", r"unknown model 'xgboost': known are base_rate"),
    ("evaluate --from 2024-01-01 --to 2024-02-01 --preset huge", r"preset = 'huge'"),
    ("import binance_candle {dir}/good.csv", r"no raw table 'binance_candle'.*did you mean binance_candles"),
    ("quarantine raw/nope", r"nothing is known of a table 'raw/nope'"),
    ("deploy", r"No such command 'deploy'"),
    ("build --nope", r"No such option: --nope"),
    # dates
    ("build --from 2024-02-01 --to 2024-01-01", r"--from 2024-02-01 is after --to 2024-01-01: swap"),
    ("evaluate --from 2024-02-01 --to 2024-01-01", r"--from 2024-02-01 is after --to 2024-01-01: swap|no candles"),
    (f"build --from {TOMORROW}", rf"{TOMORROW} is in the future"),
    (f"build --from {LAST} --to {TOMORROW}", rf"--to {TOMORROW}.*not closed yet.*{LAST}"),
    ("build --from 2010-01-01", r"2010-01-01 is before any market here was listed: the first day is 2017-08-17"),
    ("build --from 2020-01-01 --to 2020-01-02", r"2020-01-01.*begins on 2023-01-01"),
    ("demo --days 10000", r"is before any market here was listed|begins on 2023-01-01"),
    ("demo --days 2000", r"begins on 2023-01-01"),
    ("demo --days 40", r"--days 40: the first walk-forward fold begins 60 days after the first day; take at least 61"),
    ("demo --days 10", r"--days.*greater than or equal to"),
    ("build --from 1.1.2024", r"--from '1.1.2024' is not a date: write it as YYYY-MM-DD"),
    ("build --to 2024-02-30", r"--to '2024-02-30' is not a date"),
    ("evaluate --from 2024-01-01", r"Missing option '--to'"),
    # folders and files
    ("build --lake {dir}/good.csv/lake", r"good.csv/lake cannot be written.*--lake or CRYPTO_ASSETS_LAKE"),
    ("demo --lake {dir}/good.csv/lake", r"good.csv/lake cannot be written|cannot write .*good.csv/lake"),
    ("ui --lake {dir}/good.csv/lake", r"good.csv/lake cannot be written"),
    ("import binance_candles {dir}/good.csv --lake {dir}/good.csv/lake", r"cannot be written"),
    ("features list --json {dir}/good.csv/out.json", r"--json .*good.csv/out.json"),
    ("demo --json {dir}/good.csv/out.json", r"--json .*good.csv/out.json"),
    ("build --world archive", r"there are no candles: import some"),
    ("evaluate --from 2024-01-01 --to 2024-02-01", r"there are no candles: import some"),
    ("query SELECT", r"catalog.duckdb does not exist: materialise"),
    ("features list --features absent.py", r"no feature file absent.py"),
    ("features list --features {dir}/broken.py", r"broken.py cannot be run \(SyntaxError"),
    ("features list --features {dir}/other.py", r"must be a FeatureFamily, is str"),
    # imports
    ("import binance_candles absent.csv", r"no file absent.csv"),
    ("import binance_candles {dir}/candles.xlsx", r".xlsx cannot be read: give .parquet, .csv or .csv.gz"),
    ("import binance_candles {dir}/page.parquet", r"page.parquet cannot be read"),
    ("import binance_candles {dir}/missing.csv", r"needs \['close'\].*--map theirs=ours"),
    ("import binance_candles {dir}/naive.csv", r"has no time zone; write UTC times"),
    ("import binance_candles {dir}/negative.csv", r"no row .* close gt 0"),
    ("import binance_candles {dir}/upside_down.csv", r"no row .* high >= low"),
    ("import binance_candles {dir}/words.csv", r"no row .* open = one is not"),
    ("import binance_candles {dir}/stranger.csv", r"no row .* no coin is called WHATUSDT"),
    ("import binance_candles {dir}/headline.csv", r"the files hold no rows"),
    ("import binance_candles {dir}/good.csv --map close", r"--map 'close': write theirs=ours"),
    ("import binance_candles {dir}/good.csv --map x=close", r"the file has no column 'x'"),
    ("import binance_candles {dir}/good.csv --map close=nope", r"has no column 'nope'"),
    ("import binance_candles {dir}/good.csv --where nope=1", r"good.csv cannot be read.*nope"),
]


@pytest.mark.usefixtures("_nothing_runs")
@pytest.mark.parametrize(("line", "said"), BAD, ids=[line for line, _ in BAD])
def test_bad_input_ends_with_one_message_that_says_what_to_do(ended, tmp_path, line, said):
    for name, lines in FILES.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    arguments = line.format(dir=tmp_path).split()
    takes_lake = arguments[0] in {"build", "demo", "evaluate", "import", "query", "quarantine", "ui"}
    if takes_lake and "--lake" not in arguments:
        arguments += ["--lake", str(tmp_path / "lake")]
    result = ended(*arguments)
    assert result.status == 2
    assert re.search(said, result.message), result.message
    assert "Traceback" not in result.error
    assert 'File "' not in result.error
    assert len(result.message) < 700
    assert not (tmp_path / "lake" / "raw").exists()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SYMBOLS", "BTC,NOPE", r"unknown symbol 'NOPE'"),
        ("WORLD", "mars", r"CRYPTO_ASSETS_WORLD = 'mars'"),
        ("START", "yesterday", r"CRYPTO_ASSETS_START = 'yesterday'"),
        ("SEED", "-1", r"CRYPTO_ASSETS_SEED = '-1'"),
        ("WARMUP_DAYS", "3", r"CRYPTO_ASSETS_WARMUP_DAYS = '3'.*greater than or equal to 14"),
    ],
)
@pytest.mark.usefixtures("_nothing_runs")
def test_a_bad_variable_is_named_with_its_value(ended, monkeypatch, tmp_path, variable, value, said):
    monkeypatch.setenv(f"CRYPTO_ASSETS_{variable}", value)
    result = ended("build", "--lake", str(tmp_path / "lake"))
    assert result.status == 2
    assert re.search(said, result.message), result.message


@pytest.mark.usefixtures("_nothing_runs")
def test_a_lake_of_another_world_is_refused_naming_both(ended, tmp_path):
    world.claim(Lake(tmp_path), stamp(Settings(lake=tmp_path, start=date(2024, 1, 1))))
    for arguments in (("demo", "--market", "null"), ("demo", "--seed", "8"), ("build", "--world", "live")):
        result = ended(*arguments, "--lake", str(tmp_path))
        assert result.status == 2
        assert re.search(r"belongs to the world \(world=sandbox, market=standard.*asked was", result.message)
    early = ended("build", "--from", "2023-12-01", "--to", "2024-01-05", "--lake", str(tmp_path))
    assert re.search(r"--from 2023-12-01: this lake begins on 2024-01-01", early.message)


@pytest.mark.usefixtures("_nothing_runs")
def test_a_damaged_stamp_is_named(ended, tmp_path):
    (tmp_path / "world.json").write_text("{")
    result = ended("build", "--lake", str(tmp_path))
    assert result.status == 2
    assert re.search(r"world.json is not a world stamp.*restore it from a backup", result.message)


@pytest.mark.usefixtures("_nothing_runs")
def test_ui_names_a_port_that_is_taken(ended, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = ended("ui", "--port", str(port), "--lake", str(tmp_path / "lake"))
    assert result.status == 2
    assert f"--port {port}: something answers there already" in result.message


def test_dates_outside_the_imported_history_are_refused_with_its_ends(ended, tmp_path):
    lines = [f"2024-01-{d:02}T{h:02}:00:00Z,BTC,1,3,1,2,10" for d in (1, 2, 3) for h in range(24)]
    (tmp_path / "in.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    lake = ("--lake", str(tmp_path / "lake"))
    done = ended("import", "binance_perp_candles", str(tmp_path / "in.csv"), *lake, "--json", str(tmp_path / "out.json"))
    assert done.status == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert {"table", "rows", "accepted", "quarantined", "from", "to", "symbols"} <= set(found)
    assert (found["rows"], found["accepted"], found["symbols"]) == (72, 72, ["BTC"])
    for line, said in (
        ("build --world archive --from 2023-12-01", r"--from 2023-12-01: the imported candles begin on 2024-01-01"),
        ("build --world archive --to 2024-02-01", r"--to 2024-02-01: the imported candles end on 2024-01-03"),
        ("evaluate --from 2023-12-01 --to 2024-01-02", r"--from 2023-12-01: the lake's candles begin on 2024-01-01"),
        ("evaluate --from 2024-01-02 --to 2024-02-01", r"--to 2024-02-01: the lake's candles end on 2024-01-03"),
        ("evaluate --from 2024-01-02 --to 2024-01-03 --train-from 2023-01-01", r"--train-from 2023-01-01"),
        ("evaluate --from 2024-01-02 --to 2024-01-03", r"1 days of history before the first test day 2024-01-02"),
    ):
        result = ended(*line.split(), *lake)
        assert result.status == 2
        assert re.search(said, result.message), result.message
        assert not (tmp_path / "lake" / "raw").exists()


def test_features_list_writes_the_catalogue(ended, tmp_path):
    out = tmp_path / "new" / "features.json"
    result = ended("features", "list", "--json", str(out))
    assert result.status == 0
    rows = json.loads(out.read_text())
    assert all(set(row) == {"name", "family", "meaning", "unit", "lookback_hours", "source"} for row in rows)
    assert len({row["name"] for row in rows}) == len(rows) > 50
    assert all(row["name"] in result.out for row in rows)


def test_a_check_that_blocks_is_reported_with_its_reason_and_no_stack(ended, tmp_path):
    lines = [f"2024-01-{d:02}T{h:02}:00:00Z,BTC,1,3,1,2,10" for d in (1, 3) for h in range(24)]
    (tmp_path / "in.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    lake = ("--lake", str(tmp_path / "lake"))
    assert ended("import", "binance_perp_candles", str(tmp_path / "in.csv"), *lake).status == 0
    result = ended("build", "--world", "archive", "--symbols", "BTC", "--select", "ingest", *lake)
    assert result.status == 2
    assert re.search(r"raw/binance_perp_candles.*33.3% of the bars are missing, at most \d+% may be", result.message)
    assert 'File "' not in result.error


def test_the_ledger_lists_trials_shows_one_and_locks_the_holdout_once(ended, tmp_path):
    lake = tmp_path / "lake"
    assert "no lake at" in ended("ledger", "list", "--lake", str(lake)).message
    lake.mkdir()
    trial = {"model": "a", "config": {"width": 1}, "features": ["x"], "symbols": ["BTC"]}
    fold = {"test": ["2024-05-01T00:00:00+00:00", "2024-06-01T00:00:00+00:00"]}
    name = Ledger(lake).record(trial | {"folds": [fold]}, {"backtest": {"sharpe_net": 1.25}})
    out = tmp_path / "ledger.json"
    listed = ended("ledger", "list", "--lake", str(lake), "--json", str(out))
    assert all(part in listed.out for part in (name[:8], "2024-05-01", "2024-05-31", "1.25", "1 trials"))
    assert json.loads(out.read_text())["trials"][0]["sharpe_net"] == 1.25
    shown = ended("ledger", "show", name[:6], "--lake", str(lake), "--json", str(out))
    assert (shown.status, json.loads(out.read_text())["config"]) == (0, {"width": 1})
    assert "0 trials in" in ended("ledger", "show", "zz", "--lake", str(lake)).message
    assert "no hold-out declared" in ended("ledger", "holdout", "--lake", str(lake)).out
    assert "go together" in ended("ledger", "holdout", "--from", "2024-07-01", "--lake", str(lake)).message
    declared = ended("ledger", "holdout", "--from", "2024-07-01", "--to", "2024-07-31", "--lake", str(lake))
    assert "locked hold-out 2024-07-01 -> 2024-07-31, read 0 times" in declared.out
    other = ended("ledger", "holdout", "--from", "2024-08-01", "--to", "2024-08-31", "--lake", str(lake))
    assert (other.status, "cannot be changed" in other.message) == (2, True)
