"""A paper account that asks the served interface: what it trades is what came over HTTP.

`Driven` is the service on a past lake with the bundle of a fold, whatever the registry says; it looks for a closed hour when it
is told to, so that an hour is forecast with everything that was published by its close. The server is a thread of this process,
on loopback. Answers carry six significant digits; that is all that is lost on the way.
"""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

import polars as pl

from crypto_assets.evaluation import champion
from crypto_assets.evaluation.champion import Bundle
from crypto_assets.evaluation.closed_hour import ForecastsLatest
from crypto_assets.evaluation.paper import Trader
from crypto_assets.lake import Lake
from crypto_assets.market.errors import SettingsError, StaleDataError
from crypto_assets.serving.ensemble import Runtime
from crypto_assets.serving.service import Service
from crypto_assets.settings import Settings

READY_S = 60.0
PREDICTIONS = "/predictions"


class Driven(Service):
    """Serves `bundle` about the hour of the last `follow`."""

    def __init__(self, settings: Settings, bundle: Bundle, clock: Callable[[], datetime], **more: Any) -> None:
        super().__init__(settings, clock=clock, **more)
        self._bundle = bundle

    async def start(self) -> None:
        """Nothing runs by itself."""

    def _champion(self) -> tuple[int, Runtime]:
        return 0, Runtime.open(self._bundle, self.lake.root / "cache" / "onnx")


class ServedTrader(Trader):
    """A Trader whose forecasts are asked for at `url`, where `service` answers."""

    def __init__(self, service: Driven, url: str, bundle: Bundle, *told: Any, **more: Any) -> None:
        import httpx

        super().__init__(*told, **more)
        self._service, self._bundle = service, bundle
        self._client = httpx.Client(base_url=url, timeout=60, trust_env=False)

    def rows_at(self, at: datetime) -> pl.DataFrame:
        """What the interface says about the hour `at`. Raises StaleDataError where it says nothing, or of another hour."""
        self._service.follow()
        answer = self._client.get(PREDICTIONS)
        said = answer.json()
        if answer.status_code != 200:
            raise StaleDataError(f"the interface does not answer: {said.get('message', answer.status_code)}")
        if datetime.fromisoformat(said["at"]) != at:
            raise StaleDataError(f"the interface answers about {said['at']}: asked about {at}")
        return rows_of(said["predictions"], self.plan.model, max(c.trained_until for c in self._bundle.members.values()))

    def close(self) -> None:
        """End the threads."""
        self._client.close()
        super().close()


def rows_of(predictions: list[dict[str, Any]], model: str, trained_until: datetime) -> pl.DataFrame:
    """Answers as rows of `forecasts/latest`; what a bundle does not state but implies is null, as in its table."""
    rows = [
        {
            "model": model,
            "symbol": said["symbol"],
            "ts": datetime.fromisoformat(said["timestamp"]),
            "available_at": datetime.fromisoformat(said["data_available_at"]),
            "horizon": said["timeframe"],
            "p_up": said["p_up"],
            "mean": None if said["is_implied"] else said["expected_return"],
            "log_var": None if said["is_implied"] else 2 * math.log(said["volatility"]),
            "p_beats_median": said["p_beats_median"],
            "realised_var": said["realised_var"],
            "model_version": said["model_version"],
            "trained_until": trained_until,
        }
        for said in predictions
    ]
    if not rows:
        return ForecastsLatest.empty()
    return ForecastsLatest.shape(pl.DataFrame(rows, infer_schema_length=None)).sort(list(ForecastsLatest.key))


def bundle_for(lake: Lake, model: str, first: date, last: date) -> Bundle:
    """The bundle of the fold that both days lie in. Raises SettingsError where a fold begins between them."""
    starts = sorted(p.name.removeprefix("fold=") for p in (lake.root / "models").glob("*/fold=*"))
    between = [start for start in starts if first.isoformat() < start <= last.isoformat()]
    if between:
        raise SettingsError(f"a fold begins on {between[0]}, and one bundle is served: name days before it, or from it on")
    return champion.of_fold(lake, first.isoformat(), model)


@contextmanager
def serving(service: Driven) -> Iterator[str]:
    """The interface on a free port of this machine; yields its address."""
    import uvicorn

    from crypto_assets.serving.app import create_app
    from crypto_assets.serving.security import Limiter

    with socket.create_server(("127.0.0.1", 0)) as listening:
        app = create_app(service, limiter=Limiter(1e6, 1e6))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="served", daemon=True)
        thread.start()
        late = time.monotonic() + READY_S
        while not server.started:
            if not thread.is_alive() or time.monotonic() > late:
                raise StaleDataError(f"the served interface did not start in {READY_S:g} s: see the lines above")
            time.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)
