"""`ui`: Dagster's web server and daemon, MLflow's UI, the API page and, for a sandbox lake, the sandbox; Ctrl-C stops them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from crypto_assets.cli.build import served
from crypto_assets.market.errors import SettingsError
from crypto_assets.settings import Settings, load

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
screen = Console(stderr=True)


def run(*, port: int, mlflow_port: int, api_port: int, lake: Path | None) -> None:
    """Start everything, print the links, wait for Ctrl-C or for one of them to end."""
    from crypto_assets.orchestration.access import adopt

    settings = adopt(load(lake=lake))
    for name, wanted in (("--port", port), ("--mlflow-port", mlflow_port), ("--api-port", api_port)):
        _require_free(name, wanted)
    signal.signal(signal.SIGTERM, _interrupt)
    with served(settings) as ready, ExitStack() as stack:
        processes = {
            "Dagster": stack.enter_context(_process(dagster_command(port), environment(ready))),
            "MLflow": stack.enter_context(_process(mlflow_command(ready, mlflow_port), environment(ready))),
            "API": stack.enter_context(_process(api_command(api_port), environment(ready))),
        }
        _wait_until_up({"Dagster": port, "MLflow": mlflow_port, "API": api_port}, processes)
        screen.print(f"Dagster    http://127.0.0.1:{port}", highlight=False)
        screen.print(f"MLflow     http://127.0.0.1:{mlflow_port}", highlight=False)
        screen.print(f"forecasts  http://127.0.0.1:{api_port}  (waits for `crypto-assets stream`)", highlight=False)
        if ready.world == "sandbox":
            screen.print(f"sandbox    {ready.sandbox_url} (market {ready.market}, seed {ready.seed})", highlight=False)
        screen.print("Ctrl-C stops all of them")
        try:
            while all(p.poll() is None for p in processes.values()):
                time.sleep(0.5)
        except KeyboardInterrupt:
            screen.print("stopping")
            return
        ended = [name for name, p in processes.items() if p.poll() is not None]
        raise SettingsError(f"{', '.join(ended)} ended by itself: its last lines are above")


def environment(settings: Settings) -> dict[str, str]:
    """What the servers need to know of these settings."""
    from crypto_assets.lake import Lake
    from crypto_assets.orchestration.run import home_of

    lake = Lake(settings.lake)
    lake.ensure_writable()
    return os.environ | {
        "DAGSTER_HOME": str(home_of(lake)),
        "CRYPTO_ASSETS_LAKE": str(lake.root),
        "CRYPTO_ASSETS_SANDBOX_URL": settings.sandbox_url,
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Ten worker processes for jobs that nobody here submits.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "DO_NOT_TRACK": "1",
    }


def dagster_command(port: int) -> list[str]:
    """Web server and daemon together."""
    return [str(BIN / "dagster"), "dev", "-w", str(ROOT / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(port)]


def api_command(port: int) -> list[str]:
    """The HTTP interface with its page; without a champion or a stream it says what it waits for."""
    return [sys.executable, "-m", "crypto_assets.cli", "serve", "--port", str(port)]


def mlflow_command(settings: Settings, port: int) -> list[str]:
    """The tracking UI over the lake's store."""
    location = (Path(settings.lake).expanduser().resolve() / ".mlflow").as_posix()
    Path(location).mkdir(parents=True, exist_ok=True)
    command = [str(BIN / "mlflow"), "server", "--backend-store-uri", settings.tracking_uri, "--host", "127.0.0.1"]
    return [*command, "--port", str(port), "--workers", "1", "--default-artifact-root", f"file://{location}/artifacts"]


@contextmanager
def _process(command: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=None, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _wait_until_up(ports: dict[str, int], processes: dict[str, subprocess.Popen[bytes]]) -> None:
    with screen.status("starting Dagster, MLflow and the API"):
        deadline = time.monotonic() + 180
        for name, port in ports.items():
            while not _answers(port):
                if processes[name].poll() is not None:
                    raise SettingsError(f"{name} did not start: its last lines are above")
                if time.monotonic() > deadline:
                    raise SettingsError(f"{name} does not answer on port {port} after 3 minutes")
                time.sleep(0.3)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _require_free(option: str, port: int) -> None:
    if _answers(port):
        raise SettingsError(f"{option} {port}: something answers there already; stop it or choose another port")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
