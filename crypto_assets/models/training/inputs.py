"""From a panel to what a net reads: scaled features, missing flags, the coin's own returns and volatility, the clock.

Shapes: T decision times, N coins, F inputs. Everything fitted here comes from the training slice and travels in the
checkpoint. A row of the result uses returns of the last `168 + lags` bars and the features of its own bar, no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crypto_assets.dataset.panel import Panel
from crypto_assets.market.errors import SchemaError
from crypto_assets.models._base import Scaler
from crypto_assets.models._realised import trailing_mean_square

SPANS = (6, 24, 168)
"""Hours behind the three volatility terms (after the heterogeneous autoregression of Corsi, J. Fin. Econometrics 2009)."""
FLOOR = 1e-10
"""Added to a mean squared hourly return before its logarithm: (0.1 bp) squared."""
RETURN_CLIP = 6.0
CLOCK = 6
LOG_DAY = float(np.log(24.0))


@dataclass(frozen=True)
class Prepared:
    """`x_NTF` float32, coin-major so that a chunk is one run of memory, 0 where missing or not listed.

    `log_rv_TN` float64: baseline forecast of the log of the next 24 h realised variance, finite everywhere.
    `u_TN` float64: return of the bar over the volatility expected one bar earlier, 0 where `known_TN` is false.
    """

    x_NTF: np.ndarray
    log_rv_TN: np.ndarray
    u_TN: np.ndarray
    known_TN: np.ndarray

    def log_variance(self, hours: int) -> np.ndarray:
        """Log variance of the return over `hours` by the baseline, `[T, N]`."""
        return self.log_rv_TN + np.log(hours / 24.0)


@dataclass(frozen=True)
class Inputs:
    """A fitted preparation. `kept` and `flagged` are positions among the panel's columns."""

    scaler: Scaler
    kept: np.ndarray
    flagged: np.ndarray
    har: np.ndarray
    """Intercept and one weight a span: log realised variance of the next 24 h on log trailing mean squared returns."""
    log_variance_centre: float
    log_variance_scale: float
    lags: int

    @classmethod
    def fit(cls, train: Panel, *, lags: int, indicators: bool) -> Inputs:
        """Fit on a training slice. Raises SchemaError when no coin is listed in it."""
        if not train.listed_TN.any():
            raise SchemaError("no coin is listed anywhere in the training slice: start training later or check curated/candles")
        missing = np.isnan(train.x_TNF[train.listed_TN])
        kept = np.flatnonzero(~missing.all(axis=0))
        logs_STN = trailing_log_variance(_known_returns(train))
        long = logs_STN[-1][np.isfinite(logs_STN[-1]) & train.listed_TN]
        centre = float(np.median(long)) if len(long) else float(np.log(1e-4))
        scale = float(np.std(long)) if len(long) else 1.0
        return cls(
            scaler=Scaler.fit(train.x_TNF[:, :, kept], train.listed_TN) if len(kept) else Scaler(*np.zeros((2, 0), np.float32)),
            kept=kept,
            flagged=_distinct_patterns(missing) if indicators else np.zeros(0, np.int64),
            har=_fit_har(_filled(logs_STN, centre), train.labels["rv_24h"], train.listed_TN),
            log_variance_centre=centre,
            log_variance_scale=scale if scale > 1e-3 else 1.0,
            lags=lags,
        )

    @property
    def width(self) -> int:
        """F, how many numbers describe one bar of one coin."""
        return len(self.kept) + len(self.flagged) + self.lags + len(SPANS) + CLOCK

    def dropped(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Columns that were null throughout training."""
        kept = set(self.kept.tolist())
        return tuple(c for i, c in enumerate(columns) if i not in kept)

    def apply(self, panel: Panel) -> Prepared:
        """Prepare a panel with the columns this was fitted on."""
        r_TN = _known_returns(panel)
        logs_STN = _filled(trailing_log_variance(r_TN), self.log_variance_centre)
        log_rv_TN = self.har[0] + np.tensordot(self.har[1:], logs_STN, axes=1)
        u_TN = standardised_returns(r_TN, log_rv_TN - LOG_DAY)
        clock_TC = clock(panel.ts)
        T, N = panel.listed_TN.shape
        x_NTF = np.zeros((N, T, self.width), dtype=np.float32)
        for n in range(N):
            parts = [
                self.scaler.apply(panel.x_TNF[:, n, self.kept]),
                np.isnan(panel.x_TNF[:, n, self.flagged]),
                lagged(u_TN[:, n], self.lags),
                (logs_STN[:, :, n].T - self.log_variance_centre) / self.log_variance_scale,
                clock_TC,
            ]
            np.concatenate(parts, axis=1, out=x_NTF[n], casting="same_kind")
            x_NTF[n][~panel.listed_TN[:, n]] = 0.0
        return Prepared(x_NTF, log_rv_TN, u_TN, np.isfinite(r_TN))

    def tensors(self) -> dict[str, np.ndarray]:
        """What a checkpoint keeps."""
        return {
            "centre": self.scaler.centre_F,
            "scale": self.scaler.scale_F,
            "kept": self.kept.astype(np.int64),
            "flagged": self.flagged.astype(np.int64),
            "har": self.har,
            "scalars": np.array([self.scaler.clip, self.log_variance_centre, self.log_variance_scale, self.lags]),
        }

    @classmethod
    def restore(cls, tensors: dict[str, np.ndarray]) -> Inputs:
        """The inverse of `tensors`."""
        clip, centre, scale, lags = (float(v) for v in tensors["scalars"])
        scaler = Scaler(tensors["centre"], tensors["scale"], clip)
        return cls(scaler, tensors["kept"], tensors["flagged"], tensors["har"], centre, scale, int(lags))


def trailing_log_variance(r_TN: np.ndarray) -> np.ndarray:
    """Log of the mean squared return over each of SPANS up to and including t, `[S, T, N]`, NaN where none is known."""
    return np.stack([np.log(trailing_mean_square(r_TN, span, 1) + FLOOR) for span in SPANS])


def standardised_returns(r_TN: np.ndarray, log_variance_TN: np.ndarray) -> np.ndarray:
    """Return over the volatility expected one bar earlier, clipped, 0 where unknown."""
    before = np.concatenate([log_variance_TN[:1], log_variance_TN[:-1]])
    return np.clip(np.nan_to_num(r_TN * np.exp(-0.5 * before)), -RETURN_CLIP, RETURN_CLIP)


def lagged(u_T: np.ndarray, lags: int) -> np.ndarray:
    """`[T, lags]`: the value at t, t-1, ..., 0 before the start."""
    padded = np.concatenate([np.zeros(max(lags - 1, 0)), u_T])
    return np.lib.stride_tricks.sliding_window_view(padded, lags)[:, ::-1] if lags else np.zeros((len(u_T), 0))


def clock(ts: np.ndarray) -> np.ndarray:
    """Sine and cosine of the day (two harmonics) and of the week, `[T, 6]`."""
    hours = ts.astype("datetime64[h]").astype(np.int64)
    # 1970-01-01 was a Thursday: any fixed phase will do
    phases = [2 * np.pi * (hours % 24) / 24, 4 * np.pi * (hours % 24) / 24, 2 * np.pi * (hours % 168) / 168]
    return np.stack([f(p) for p in phases for f in (np.sin, np.cos)], axis=1)


def _known_returns(panel: Panel) -> np.ndarray:
    return np.where(panel.listed_TN & np.isfinite(panel.r_TN), panel.r_TN, np.nan)


def _filled(logs_STN: np.ndarray, centre: float) -> np.ndarray:
    """Where a short span knows nothing the next longer one speaks, then the training median."""
    out = logs_STN.copy()
    out[-1] = np.where(np.isfinite(out[-1]), out[-1], centre)
    for s in range(len(SPANS) - 2, -1, -1):
        out[s] = np.where(np.isfinite(out[s]), out[s], out[s + 1])
    return out


def _fit_har(logs_STN: np.ndarray, rv_TN: np.ndarray, listed_TN: np.ndarray) -> np.ndarray:
    """Ordinary least squares with a whisper of ridge; the trailing day by itself where labels are too few."""
    with np.errstate(invalid="ignore"):
        rows = listed_TN & (rv_TN > 0)
    if rows.sum() < 100:
        return np.array([LOG_DAY, *(1.0 if span == 24 else 0.0 for span in SPANS)])
    design = np.stack([np.ones(int(rows.sum())), *(logs[rows] for logs in logs_STN)], axis=1)
    gram = design.T @ design + 1e-6 * len(design) * np.eye(design.shape[1])
    return np.linalg.solve(gram, design.T @ np.log(rv_TN[rows]))


def _distinct_patterns(missing_RF: np.ndarray) -> np.ndarray:
    """One column for each distinct pattern of missing rows that is neither rare nor everywhere."""
    share = missing_RF.mean(axis=0)
    seen: dict[bytes, int] = {}
    for f in np.flatnonzero((share > 0.005) & (share < 0.995)):
        seen.setdefault(np.packbits(missing_RF[:, f]).tobytes(), int(f))
    return np.array(sorted(seen.values()), dtype=np.int64)
