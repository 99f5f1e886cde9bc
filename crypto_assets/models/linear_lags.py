"""A linear model of the last week of hourly returns: what sequence models must clear (cf. DLinear, Zeng et al. 2023)."""

from __future__ import annotations

import numpy as np

from crypto_assets.dataset.folds import Fold
from crypto_assets.dataset.panel import Panel
from crypto_assets.market.time import Window
from crypto_assets.models import _linear_direction as linear
from crypto_assets.models import _rows
from crypto_assets.models._base import Forecast
from crypto_assets.models._realised import trailing_mean_square
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.tracking import Recorder

LAGS = 168
"""Hours of the coin's own returns."""
MARKET_LAGS = 24
"""Hours of Bitcoin's and of the equally weighted market's returns."""
SCALE_HOURS = 168
CLIP = 5.0


class LinearLags:
    """Ridge logistic on 168 own, 24 Bitcoin and 24 market hourly returns, each in units of its trailing volatility."""

    name = "linear_lags"
    outputs = frozenset({"p_up", "p_beats_median"})
    doc = "L2 logistic regression on the last 168 hourly volatility-scaled returns and 24 of Bitcoin and of the market"

    def fit(self, panel: Panel, fold: Fold, *, preset: str, seed: int, recorder: Recorder) -> Checkpoint:
        """Fit on training, choose the penalty and shrink on validation, refit on both. `preset` and `seed` change nothing."""
        rows = _rows.Rows.of(panel, fold)
        market_T = _market(panel, scaled_returns(panel.r_TN))
        market_scale = np.array(market_T[rows.t[0] : rows.t[rows.train][-1] + 1].std() or 1.0, dtype=np.float32)
        x_RF = _design(panel, rows.t, rows.n, market_scale)
        tensors = linear.fit_direction(x_RF, rows.targets(panel), rows, recorder) | {"market_scale": market_scale}
        config = {"lags": LAGS, "market_lags": MARKET_LAGS, "scale_hours": SCALE_HOURS, "clip": CLIP}
        return _rows.make_checkpoint(self.name, panel, fold, config=config, tensors=tensors)

    def predict(self, checkpoint: Checkpoint, panel: Panel, window: Window) -> Forecast:
        """P(up) per horizon and P(beats median) for listed rows of `window`; lags before the panel's start count as 0.

        Raises CheckpointError for other features.
        """
        request = _rows.Request.of(checkpoint, self.name, panel, window, LAGS + SCALE_HOURS)
        x_RF = _design(request.near, request.at, request.n, checkpoint.tensors["market_scale"])
        return _rows.direction_forecast(request, linear.predict_direction(x_RF, checkpoint.tensors))


def scaled_returns(r_TN: np.ndarray) -> np.ndarray:
    """`z_TN` float32: return over the root of its trailing week's mean square (own hour included), clipped, missing = 0."""
    scale = np.sqrt(trailing_mean_square(r_TN, SCALE_HOURS, least=SCALE_HOURS // 7))
    with np.errstate(all="ignore"):
        z = np.clip(r_TN / scale, -CLIP, CLIP)
    return np.nan_to_num(z, nan=0.0).astype(np.float32)


def _design(panel: Panel, t: np.ndarray, n: np.ndarray, market_scale: np.ndarray) -> np.ndarray:
    """`x_RF`: intercept, coins, own lags (newest first), Bitcoin's lags, market's lags; without Bitcoin its lags are 0."""
    coins = len(panel.symbols)
    z_TN = scaled_returns(panel.r_TN)
    market_T1 = (_market(panel, z_TN) / market_scale)[:, None]
    bitcoin_T1 = z_TN[:, [panel.symbols.index("BTC")]] if "BTC" in panel.symbols else np.zeros_like(market_T1)
    x_RF = np.empty((len(t), 1 + coins + LAGS + 2 * MARKET_LAGS), dtype=np.float32)
    x_RF[:, 0] = 1.0
    _rows.coin_columns(x_RF[:, 1 : 1 + coins], n)
    at = 1 + coins
    for series, column, lags in ((z_TN, n, LAGS), (bitcoin_T1, 0 * n, MARKET_LAGS), (market_T1, 0 * n, MARKET_LAGS)):
        windows = _lag_windows(series, lags)
        for start in range(0, len(t), _rows.BLOCK):
            block = slice(start, start + _rows.BLOCK)
            x_RF[block, at : at + lags] = windows[t[block], column[block]]
        at += lags
    return x_RF


def _market(panel: Panel, z_TN: np.ndarray) -> np.ndarray:
    """Mean scaled return of the listed coins, `[T]` float32."""
    listed = panel.listed_TN.sum(axis=1)
    return (np.where(panel.listed_TN, z_TN, 0).sum(axis=1) / np.maximum(listed, 1)).astype(np.float32)


def _lag_windows(z_TN: np.ndarray, lags: int) -> np.ndarray:
    """`[T, N, lags]` view, newest first, zeros before the start."""
    padded = np.concatenate([np.zeros((lags - 1, z_TN.shape[1]), dtype=z_TN.dtype), z_TN])
    return np.lib.stride_tricks.sliding_window_view(padded, lags, axis=0)[..., ::-1]


MODEL = LinearLags()
