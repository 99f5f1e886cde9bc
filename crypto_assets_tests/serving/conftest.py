"""A small lake with a champion and a hot store that has closed an hour, and a service on it: what the tests of this room share.

Two families and four coins, one net of a few hundred weights: everything real, seconds to make.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest

from crypto_assets.dataset.assemble import derivations
from crypto_assets.dataset.panel import Panel, from_tables
from crypto_assets.evaluation.champion import Bundle
from crypto_assets.evaluation.model_registry import ModelRegistry
from crypto_assets.evaluation.walkforward import COMBINATIONS, fit_fold
from crypto_assets.features import families
from crypto_assets.lake import TABLES, Frames, Lake, derive
from crypto_assets.lake.hot import Hot, HotStore, open_hot
from crypto_assets.market.time import DAY, HOUR, Window, midnight
from crypto_assets.serving.app import create_app
from crypto_assets.serving.security import Keys, Limiter
from crypto_assets.serving.service import Service
from crypto_assets.settings import Settings
from crypto_assets.sources import discover
from crypto_assets.sources.stream.tables import kind
from crypto_assets.sources.stream.writer import mark
from crypto_assets_tests.evaluation import market as planted
from crypto_assets_tests.sources.loopback import market

SYMBOLS = ("BTC", "ETH", "SOL", "ADA")
TODAY = date(2024, 3, 13)
MIDNIGHT = midnight(TODAY)
AT = MIDNIGHT + 10 * HOUR
NOW = AT + timedelta(minutes=7)
HISTORY = 40 * DAY
FEW = [f for f in families().values() if f.name in ("derivatives", "macro")]
VENUES = {"binance_candles": "binance_spot", "binance_perp_candles": "binance_futures"}
BARS = ["open", "high", "low", "close", "volume", "quote_volume_usd", "trades", "taker_buy_volume"]
MEMBERS = ("logistic", "har_x", "lightgbm")


@dataclass(frozen=True)
class World:
    """The lake, its settings, and the raw rows of the hours that are still to close."""

    settings: Settings
    raw: dict[str, pl.DataFrame]
    panel: Panel

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)

    def hot(self) -> HotStore:
        return open_hot(self.settings)

    def close_hour(self, hot: HotStore, at: datetime) -> None:
        """What the stream does when the hour ends: its bars, then its mark."""
        for name, provider in VENUES.items():
            rows = self.raw[f"raw/{name}"].filter(pl.col("available_at") <= at, pl.col("ts") >= MIDNIGHT)
            hot.put([Hot(kind(provider, "candles_1h"), r["symbol"], r["ts"], {c: r[c] for c in BARS}) for r in rows.to_dicts()])
        mark(hot, list(VENUES.values()), at)

    def service(self, at: datetime = NOW) -> Service:
        return Service(self.settings, clock=lambda: at, families=FEW)


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    """Built once: forty days of raw rows and their tables, a champion, ten closed hours."""
    settings = Settings(lake=tmp_path_factory.mktemp("serving"), symbols=SYMBOLS, start=TODAY - HISTORY)
    lake = Lake(settings.lake)
    tables = market().tables(MIDNIGHT - HISTORY, MIDNIGHT + DAY, SYMBOLS)
    names = {f"raw/{n}" for n, s in discover().items() if s.is_core and n != "news"}
    raw = {name: TABLES[name].shape(tables[name]) for name in sorted(names)}
    for name, rows in raw.items():
        lake.write(TABLES[name], rows.filter(pl.col("ts") < MIDNIGHT), Window(MIDNIGHT - HISTORY, MIDNIGHT))
    frames = Frames(base=lake)
    for step in derivations(FEW):
        if step.name in ("curated/candles", "labels/targets") or step.name.startswith("features/"):
            frames.frames[step.name] = derive(step, frames, Window(MIDNIGHT - HISTORY, MIDNIGHT))
            lake.write(step.table, frames.frames[step.name], Window(MIDNIGHT - HISTORY, MIDNIGHT))
    panel = from_tables(frames.frames["features/matrix"], frames.frames["labels/targets"], SYMBOLS)
    made = World(settings, raw, panel)
    ModelRegistry(settings).register(bundle(panel))
    hot = made.hot()
    made.close_hour(hot, AT)
    hot.close()
    return made


@pytest.fixture
def own(world, tmp_path) -> World:
    """A copy of the world that a test may change: tables are links, the hot store and the registry its own."""
    root = world.lake.root
    for part in ("raw", "curated", "features", "labels", "cache"):
        if (root / part).exists():
            (tmp_path / part).symlink_to(root / part)
    (tmp_path / ".mlflow").mkdir()
    settings = world.settings.model_copy(update={"lake": tmp_path, "mlflow_uri": f"sqlite:///{tmp_path}/.mlflow/mlflow.db"})
    shutil.copy(root / ".mlflow" / "mlflow.db", tmp_path / ".mlflow")
    made = replace(world, settings=settings)
    hot = made.hot()
    made.close_hour(hot, AT)
    hot.close()
    return made


def bundle(panel: Panel, seed: int = 0, members: tuple[str, ...] = MEMBERS) -> Bundle:
    """Members fitted on the planted market with noise in the place of these features."""
    small, _ = planted.make(edge=0.3)
    small = small.cut(Window(midnight(date(2024, 1, 1)), midnight(date(2024, 3, 1))))
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(*small.listed_TN.shape, len(panel.columns))).astype(np.float32)
    wide = replace(small, x_TNF=x + small.x_TNF, columns=panel.columns, symbols=SYMBOLS)
    fold = planted.folds()[0]
    fitted = {name: fit_fold(wide, fold, name, preset="debug", seed=seed) for name in members}
    early = {n: replace(c, trained_until=MIDNIGHT - DAY) for n, c in fitted.items()}
    return Bundle("fused", early, COMBINATIONS["fused"], {"fold": fold.name, "revision": f"seed {seed}", "world": "sandbox"})


@contextmanager
def served(service: Service, keys: Keys | None = None, limiter: Limiter | None = None) -> Iterator[str]:
    """The service behind a real server on a free port, in a thread; yields its address once it is ready or waits."""
    import uvicorn

    limiter = limiter or Limiter(100_000, 100_000)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        app = create_app(service, keys, limiter)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, timeout_keep_alive=75))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True)
        thread.start()
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{url}/health", timeout=5).json()["problem"] != "starting":
                    break
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join(30)


@pytest.fixture(scope="session")
def url(world) -> Iterator[str]:
    """A server that nobody swaps or closes hours for."""
    with served(world.service()) as address:
        yield address


@pytest.fixture(scope="session")
def served_lake(world) -> Path:
    return world.lake.root
