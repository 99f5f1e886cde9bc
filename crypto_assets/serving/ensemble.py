"""A bundle bound to the hour that closed last: the members' forecasts of that hour, and of rows that take the place of its row.

Nets run in their sessions on what the bars before left behind (`net_now`); the other members run as they are, on the hours they
look back, and so does a net that reads all coins together where a return is changed, which may redraw its graph.
A given row changes the coin's features and, where it says so, its return. Nothing else of the market changes, so an answer does
not depend on who else asks in the same batch: rows that change a return, which other coins' lags may read, are answered alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from functools import cached_property
from pathlib import Path

import numpy as np

from crypto_assets.dataset.panel import Panel
from crypto_assets.evaluation.champion import Bundle
from crypto_assets.evaluation.walkforward import forecast_window
from crypto_assets.market.time import HOUR, Window
from crypto_assets.models._base import Forecast
from crypto_assets.serving.net_now import NetNow
from crypto_assets.serving.panels import back, own
from crypto_assets.serving.sessions import Session, open_sessions

BACK_HOURS = 760
"""Hours of the panel that members other than nets are given: HAR looks 720 back, lags 336."""
AT_ONCE = 2
"""Nets that read the bars before the hour at the same time; most of it is done outside the interpreter's lock."""
RETURNS_ONLY = frozenset({"base_rate", "reversal", "coin_prior", "linear_lags", "last_rv", "ewma", "har"})
"""Members that read past returns and no feature: a row of other features leaves their answer as it is."""


@dataclass(frozen=True)
class Row:
    """What takes the place of a coin's last row: `x_F` in the order of the bundle's columns, `r` its return.

    `digest`: hash of what was sent.
    """

    symbol: str
    x_F: np.ndarray
    r: float
    digest: str = ""


@dataclass(frozen=True)
class Runtime:
    """A bundle with the sessions of its nets: what a hot swap loads, and what outlives the hours."""

    bundle: Bundle
    sessions: Mapping[str, Session]

    @classmethod
    def open(cls, bundle: Bundle, cache: Path) -> Runtime:
        """Load and warm up everything; a net is exported the first time."""
        nets = {n: c for n, c in bundle.members.items() if "net.readout.wide.weight" in c.tensors}
        return cls(bundle, open_sessions(nets, cache))

    def engines(self) -> dict[str, str]:
        """What each member runs in."""
        found = {name: "native" for name in self.bundle.members}
        return found | {n: s.engine + (f" ({s.reason})" if s.reason else "") for n, s in self.sessions.items()}


class Ensemble:
    """Answers about the last hour of `panel`, whose columns and coins are the bundle's. Safe to use from several threads."""

    def __init__(self, runtime: Runtime, panel: Panel) -> None:
        self.runtime, self.bundle = runtime, runtime.bundle
        self.at = panel.ts[-1].astype("datetime64[us]").item().replace(tzinfo=UTC)
        self.window = Window(self.at, self.at + HOUR)
        self._closed, self._panel = panel, own(back(panel, BACK_HOURS))
        names = list(runtime.sessions)
        with ThreadPoolExecutor(AT_ONCE, "nets") as pool:
            nets = pool.map(lambda n: NetNow.of(self.bundle.members[n], runtime.sessions[n], panel), names)
            self._nets = dict(zip(names, nets, strict=True))
        self._lock = threading.Lock()

    @cached_property
    def members(self) -> dict[str, Forecast]:
        """Every member's forecast of the hour as it closed, all coins."""
        nets = {name: net.closed() for name, net in self._nets.items()}
        return {name: nets.get(name) or self._whole(name) for name in self.bundle.members}

    def batches(self, rows: Sequence[Row]) -> list[list[int]]:
        """Which rows may be answered together: positions, each in one batch; a coin is in a batch once."""
        shared: list[list[int]] = []
        alone = []
        for i, row in enumerate(rows):
            if self._changes_return(row):
                alone.append([i])
                continue
            batch = next((b for b in shared if all(rows[j].symbol != row.symbol for j in b)), None)
            if batch is None:
                shared.append([i])
            else:
                batch.append(i)
        return [*shared, *alone]

    def asked(self, rows: Sequence[Row]) -> dict[str, Forecast]:
        """Every member's forecast of these rows' coins, in their order, with the rows in place: one batch."""
        at = [self.bundle.symbols.index(row.symbol) for row in rows]
        changed = any(self._changes_return(row) for row in rows)
        known = self.members
        with self._in_place(at, rows):
            return {name: self._asked(name, at, changed) or known[name].of_coins(at) for name in self.bundle.members}

    def _asked(self, name: str, coins: Sequence[int], changed: bool) -> Forecast | None:
        """A member's forecast with the rows in place, None where they leave it as it is."""
        net = self._nets.get(name)
        if net is not None and (not changed or not net.together):
            return net.asked(self._panel, np.asarray(coins), changed)
        return self._whole(name).of_coins(coins) if changed or name not in RETURNS_ONLY else None

    def _whole(self, name: str) -> Forecast:
        """A member's forecast by the function of the backtest, with the rows in place."""
        panel = self._panel
        if name in self._nets:
            panel, last = own(self._closed), self._panel
            panel.x_TNF[-1], panel.r_TN[-1], panel.listed_TN[-1] = last.x_TNF[-1], last.r_TN[-1], last.listed_TN[-1]
        return forecast_window(self.bundle.members[name], panel, self.window)

    def _changes_return(self, row: Row) -> bool:
        n = self.bundle.symbols.index(row.symbol)
        there = self._panel.r_TN[-1, n]
        return not (self._panel.listed_TN[-1, n] and (row.r == there or (np.isnan(row.r) and np.isnan(there))))

    @contextmanager
    def _in_place(self, at: list[int], rows: Sequence[Row]) -> Iterator[None]:
        """The last hour of the panel with these rows, put back afterwards."""
        p = self._panel
        with self._lock:
            before = p.x_TNF[-1, at].copy(), p.r_TN[-1, at].copy(), p.listed_TN[-1, at].copy()
            p.x_TNF[-1, at], p.r_TN[-1, at], p.listed_TN[-1, at] = [r.x_F for r in rows], [r.r for r in rows], True
            try:
                yield
            finally:
                p.x_TNF[-1, at], p.r_TN[-1, at], p.listed_TN[-1, at] = before
