"""A bundle bound to the hour that closed last: the members' forecasts of that hour, and of rows that take the place of its row.

Nets run in their sessions on the bars before, prepared once; the other members run as they are, on the hours they look back.
A given row changes the coin's features and, where it says so, its return. Nothing else of the market changes, so an answer does
not depend on who else asks in the same batch: rows that change a return, which other coins' lags may read, are answered alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from crypto_assets.dataset.panel import Panel
from crypto_assets.evaluation.champion import Bundle
from crypto_assets.evaluation.walkforward import forecast_window
from crypto_assets.market.time import HOUR, Window
from crypto_assets.models._base import Forecast
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.serving.sessions import Session, open_session, unpacked

BACK_HOURS = 760
"""Hours of the panel that members other than nets are given: HAR looks 720 back, lags 336."""
RETURNS_ONLY = frozenset({"base_rate", "reversal", "coin_prior", "linear_lags", "last_rv", "ewma", "har"})
"""Members that read past returns and no feature: a row of other features leaves their answer as it is."""


@dataclass(frozen=True)
class Row:
    """What takes the place of a coin's last row: `x_F` in the order of the bundle's columns, `r` its return."""

    symbol: str
    x_F: np.ndarray
    r: float


@dataclass(frozen=True)
class Runtime:
    """A bundle with the sessions of its nets: what a hot swap loads, and what outlives the hours."""

    bundle: Bundle
    sessions: Mapping[str, Session]
    reasons: Mapping[str, str]
    """Of nets that run without a session, why."""

    @classmethod
    def open(cls, bundle: Bundle, cache: Path) -> Runtime:
        """Load and warm up everything; a net is exported the first time."""
        sessions, reasons = {}, {}
        for name, checkpoint in bundle.members.items():
            if "net.readout.wide.weight" in checkpoint.tensors:
                reason = _whole(checkpoint)
                if reason:
                    reasons[name] = reason
                else:
                    sessions[name] = open_session(checkpoint, cache)
        return cls(bundle, sessions, reasons)

    def engines(self) -> dict[str, str]:
        """What each member runs in."""
        found = {name: "native" for name in self.bundle.members}
        found |= {name: f"torch, all coins: {reason}" for name, reason in self.reasons.items()}
        return found | {n: s.engine + (f" ({s.reason})" if s.reason else "") for n, s in self.sessions.items()}


class Ensemble:
    """Answers about the last hour of `panel`, whose columns and coins are the bundle's. Safe to use from several threads."""

    def __init__(self, runtime: Runtime, panel: Panel) -> None:
        self.runtime, self.bundle = runtime, runtime.bundle
        self.at = panel.ts[-1].astype("datetime64[us]").item().replace(tzinfo=UTC)
        self.window = Window(self.at, self.at + HOUR)
        self._panel = _own(_back(panel, BACK_HOURS))
        self._nets = {n: _NetContext.of(self.bundle.members[n], s, panel) for n, s in runtime.sessions.items()}
        self._lock = threading.Lock()

    @cached_property
    def members(self) -> dict[str, Forecast]:
        """Every member's forecast of the hour as it closed, all coins."""
        return self._members(range(len(self.bundle.symbols)), list(self.bundle.members))

    def batches(self, rows: Sequence[Row]) -> list[list[int]]:
        """Which rows may be answered together: positions, each in one batch; a coin is in a batch once."""
        shared: list[list[int]] = []
        alone = []
        for i, row in enumerate(rows):
            if self._changes_return(row) or self.runtime.reasons:
                alone.append([i])
                continue
            batch = next((b for b in shared if all(rows[j].symbol != row.symbol for j in b)), None)
            if batch is None:
                shared.append([i])
            else:
                batch.append(i)
        return [*shared, *alone]

    def asked(self, rows: Sequence[Row]) -> dict[str, Forecast]:
        """Every member's forecast with these rows in place, one batch; coins that are not among them say nothing."""
        at = [self.bundle.symbols.index(row.symbol) for row in rows]
        changed = any(self._changes_return(row) for row in rows)
        names = [n for n in self.bundle.members if changed or n not in RETURNS_ONLY]
        known = self.members
        with self._in_place(at, rows):
            found = self._members(at, names, features_only=not changed)
        return {name: _only(found.get(name) or known[name], at) for name in self.bundle.members}

    def _members(self, coins: Sequence[int], names: Sequence[str], features_only: bool = False) -> dict[str, Forecast]:
        found = {}
        for name in names:
            net = self._nets.get(name)
            if net is None:
                found[name] = forecast_window(self.bundle.members[name], self._panel, self.window)
            else:
                found[name] = net.forecast(self._panel, np.asarray(coins), features_only)
        return found

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


@dataclass(frozen=True)
class _NetContext:
    """The bars before the last as the net reads them."""

    session: Session
    inputs: Any
    calibration: Any
    coin_N: np.ndarray
    x_NLF: np.ndarray
    listed_NL: np.ndarray
    prepared: Any

    @classmethod
    def of(cls, checkpoint: Checkpoint, session: Session, panel: Panel) -> _NetContext:
        inputs, net, calibration = unpacked(checkpoint)
        length = net.context + 1
        prepared = inputs.apply(_back(panel, length + _looks_back(inputs)))
        x_NLF, listed_NL = _ended(prepared.x_NTF, length), _ended(panel.listed_TN.T[:, -length:], length)
        coin_N = np.arange(len(checkpoint.symbols), dtype=np.int64) + 1
        return cls(session, inputs, calibration, coin_N, x_NLF, listed_NL, prepared)

    def forecast(self, panel: Panel, coins: np.ndarray, features_only: bool) -> Forecast:
        """The forecast of some coins at the panel's last hour, NaN for the others."""
        import torch

        from crypto_assets.models.training.heads import Heads
        from crypto_assets.models.training.net import decode

        last = _of_coins(_back(panel, 1), coins)
        x_BLF, listed_BL = self.x_NLF[coins], self.listed_NL[coins]
        log_rv_B = self.prepared.log_rv_TN[-1, coins]
        if features_only:
            x_BF, kept = last.x_TNF[0], len(self.inputs.kept)
            x_BLF[:, -1, :kept] = self.inputs.scaler.apply(x_BF[:, self.inputs.kept])
            x_BLF[:, -1, kept : kept + len(self.inputs.flagged)] = np.isnan(x_BF[:, self.inputs.flagged])
        else:
            prepared = self.inputs.apply(_of_coins(_back(panel, 1 + _looks_back(self.inputs)), coins))
            x_BLF[:, -1], listed_BL[:, -1] = prepared.x_NTF[:, -1], last.listed_TN[-1]
            log_rv_B = prepared.log_rv_TN[-1]
        heads = Heads(*(torch.from_numpy(h)[:, None] for h in self.session.run(x_BLF, self.coin_N[coins], listed_BL)))
        now = replace(self.prepared, x_NTF=x_BLF[:, -1:], log_rv_TN=log_rv_B[None])
        return _spread(decode(heads, self.calibration, now, last.listed_TN, Forecast.empty(last)), panel, coins)


def _whole(checkpoint: Checkpoint) -> str:
    """Why a net must be asked about the whole panel, or nothing."""
    _, net, _ = unpacked(checkpoint)
    if net.together:
        return "it reads all coins together"
    return "its memory begins at fixed hours of the calendar" if getattr(net, "grid", 0) else ""


def _looks_back(inputs: Any) -> int:
    """Bars before one that its preparation reads."""
    from crypto_assets.models.training.inputs import SPANS

    return max(SPANS) + inputs.lags + 1


def _back(panel: Panel, hours: int) -> Panel:
    s = slice(max(0, len(panel.ts) - hours), None)
    labels = {k: v[s] for k, v in panel.labels.items()}
    return replace(panel, ts=panel.ts[s], x_TNF=panel.x_TNF[s], r_TN=panel.r_TN[s], listed_TN=panel.listed_TN[s], labels=labels)


def _own(panel: Panel) -> Panel:
    return replace(panel, x_TNF=panel.x_TNF.copy(), r_TN=panel.r_TN.copy(), listed_TN=panel.listed_TN.copy())


def _of_coins(panel: Panel, coins: np.ndarray) -> Panel:
    return replace(
        panel,
        symbols=tuple(panel.symbols[n] for n in coins),
        x_TNF=panel.x_TNF[:, coins],
        r_TN=panel.r_TN[:, coins],
        listed_TN=panel.listed_TN[:, coins],
        labels={k: v[:, coins] for k, v in panel.labels.items()},
    )


def _ended(x_NT: np.ndarray, length: int) -> np.ndarray:
    """The last `length` of the time axis, zeros in front where there are fewer."""
    cut = x_NT[:, -length:]
    out = np.zeros((cut.shape[0], length, *cut.shape[2:]), dtype=cut.dtype)
    out[:, length - cut.shape[1] :] = cut
    return out


def _spread(few: Forecast, panel: Panel, coins: np.ndarray) -> Forecast:
    """A forecast of some coins as one of all."""
    out = Forecast.empty(_back(panel, 1))
    for name in ("p_up_HTN", "mean_HTN", "log_var_HTN", "p_beats_median_TN", "realised_var_TN"):
        getattr(out, name)[..., coins] = getattr(few, name)
    return out


def _only(forecast: Forecast, coins: Sequence[int]) -> Forecast:
    """The forecast of some coins, NaN for the others."""
    rest = np.ones(len(forecast.symbols), dtype=bool)
    rest[list(coins)] = False

    def without(x: np.ndarray) -> np.ndarray:
        return np.where(rest, np.nan, x)

    return Forecast(
        forecast.ts,
        forecast.symbols,
        without(forecast.p_up_HTN),
        without(forecast.mean_HTN),
        without(forecast.log_var_HTN),
        without(forecast.p_beats_median_TN),
        without(forecast.realised_var_TN),
    )
