"""A small lake made from the panel of the time travel: matrix, labels, the champion's forecasts, up to a day; and a webhook."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import polars as pl

from crypto_assets.dataset.labels import Targets
from crypto_assets.dataset.panel import Panel
from crypto_assets.evaluation.champion import Bundle
from crypto_assets.evaluation.walkforward import predict_window
from crypto_assets.lake import Lake
from crypto_assets.lake.store import write_parquet
from crypto_assets.market.time import DAY, Window
from crypto_assets.monitoring.loop import known


def write(lake: Lake, panel: Panel, champion: Bundle, start: datetime, now: datetime) -> None:
    """What a lake holds at the midnight `now`, of the days from `start` on; earlier days stay as they are."""
    seen = known(panel, now)
    symbols, T, N = list(seen.symbols), len(seen.ts), len(seen.symbols)
    base = pl.DataFrame({"symbol": np.tile(symbols, T), "ts": np.repeat(seen.ts, N)})
    base = base.with_columns(pl.col("ts").dt.replace_time_zone("UTC"))
    flat = {c: seen.x_TNF[:, :, k].ravel() for k, c in enumerate(seen.columns)}
    matrix = base.with_columns(
        available_at="ts", return_1h=pl.Series(seen.r_TN.ravel()), **{k: pl.Series(v) for k, v in flat.items()}
    )
    truth = {k: pl.Series(v.ravel()).fill_nan(None) for k, v in seen.labels.items()}
    labels = Targets.shape(base.with_columns(available_at=pl.col("ts") + DAY, **truth))
    window = Window(max(start, champion_start(champion)), now)
    fused = predict_window(champion.members[champion.name], seen, window)
    for table, rows in (("features/matrix", matrix), ("labels/targets", labels), ("fusion/fused", fused)):
        for (day,), part in rows.filter(pl.col("ts") >= start, pl.col("ts") < now).group_by(pl.col("ts").dt.date()):
            write_parquet(lake.path(table, day), part)


def champion_start(champion: Bundle) -> datetime:
    from crypto_assets.monitoring.challenger import shadow_start

    return shadow_start(champion)


@contextmanager
def webhook(status: int = 200) -> Iterator[tuple[str, list[dict]]]:
    """(apprise address of a real server on loopback, the messages it was sent)."""
    got: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"json://127.0.0.1:{server.server_port}/alerts", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
