"""A net at the hour that closed last: of the bars before it is kept what they leave behind, about the hour it is asked.

A row that takes the place of a coin's last one costs one bar of that coin; of a net that reads all coins together, one hour of
a market that is as it closed but for that row, so what others ask in the same batch is in nobody's answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crypto_assets.dataset.panel import Panel
from crypto_assets.models._base import Forecast
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.registry import load
from crypto_assets.serving.panels import back, of_coins
from crypto_assets.serving.sessions import Session


@dataclass(frozen=True)
class NetNow:
    """`x_NF`, `coin_N`, `listed_N`: the last bar as the net reads it. `kept`: what the bars before leave behind."""

    session: Session
    together: bool
    inputs: Any
    calibration: Any
    last: Panel
    prepared: Any
    x_NF: np.ndarray
    coin_N: np.ndarray
    listed_N: np.ndarray
    kept: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, checkpoint: Checkpoint, session: Session, panel: Panel) -> NetNow:
        """Read the panel, which ends with the hour and has the checkpoint's columns and coins."""
        import torch

        from crypto_assets.models.training.engine import read_for
        from crypto_assets.models.training.inputs import Inputs

        model: Any = load(checkpoint.model)
        seen = back(panel, model.context_hours(model.read_config(checkpoint.config)) + 1)
        calibration, net, data, prepared = model.restore(checkpoint, seen)
        batch = read_for(net, data, len(seen.ts) - 1)
        with torch.inference_mode():
            kept = tuple(np.ascontiguousarray(k.cpu().numpy()) for k in net.keep(batch))
        tensors = {k.removeprefix("inputs."): v for k, v in checkpoint.tensors.items() if k.startswith("inputs.")}
        x_NF, coin_N = batch.x_BLF[..., -1, :].cpu().numpy(), batch.coin_B.cpu().numpy()
        listed_N = panel.listed_TN[-1].copy()
        if net.together:
            x_NF, coin_N = x_NF[0], coin_N[0]
        return cls(
            session, net.together, Inputs.restore(tensors), calibration, back(seen, 1), prepared, x_NF, coin_N, listed_N, kept
        )

    def closed(self) -> Forecast:
        """The forecast of the hour as it closed, every coin."""
        every = np.arange(len(self.coin_N))
        heads = self._market(self.x_NF[None], self.listed_N[None]) if self.together else self._coins(self.x_NF, every)
        if self.together:
            heads = [h[0] for h in heads]
        return self._decoded(heads, self.prepared.log_rv_TN[-1], self.last)

    def asked(self, panel: Panel, coins: np.ndarray, changed: bool) -> Forecast:
        """The forecast of some coins with the rows that stand in `panel` now.

        `changed`: returns differ too, which a net that reads all coins together cannot be asked about here.
        """
        now = of_coins(back(panel, 1 + _looks_back(self.inputs) if changed else 1), coins)
        if changed:
            prepared = self.inputs.apply(now)
            x_BF, log_rv_B = prepared.x_NTF[:, -1], prepared.log_rv_TN[-1]
        else:
            x_BF, log_rv_B = self._with_features(now.x_TNF[-1], coins), self.prepared.log_rv_TN[-1, coins]
        heads = self._markets(x_BF, coins) if self.together else self._coins(x_BF, coins)
        return self._decoded(heads, log_rv_B, back(now, 1))

    def _with_features(self, given_BF: np.ndarray, coins: np.ndarray) -> np.ndarray:
        """The last bar of some coins with other features."""
        x_BF, kept = self.x_NF[coins], len(self.inputs.kept)
        x_BF[:, :kept] = self.inputs.scaler.apply(given_BF[:, self.inputs.kept])
        x_BF[:, kept : kept + len(self.inputs.flagged)] = np.isnan(given_BF[:, self.inputs.flagged])
        return x_BF

    def _coins(self, x_BF: np.ndarray, coins: np.ndarray) -> list[np.ndarray]:
        return self.session.run(x_BF, self.coin_N[coins], np.ones(len(coins), dtype=bool), *(k[coins] for k in self.kept))

    def _markets(self, x_BF: np.ndarray, coins: np.ndarray) -> list[np.ndarray]:
        """Each row in a market of its own, and what is said there of its coin."""
        each = np.arange(len(coins))
        x_BNF, listed_BN = (np.repeat(a[None], len(coins), axis=0) for a in (self.x_NF, self.listed_N))
        x_BNF[each, coins], listed_BN[each, coins] = x_BF, True
        return [h[each, coins] for h in self._market(x_BNF, listed_BN)]

    def _market(self, x_BNF: np.ndarray, listed_BN: np.ndarray) -> list[np.ndarray]:
        coin_BN = np.repeat(self.coin_N[None], len(x_BNF), axis=0)
        return self.session.run(x_BNF, coin_BN, listed_BN, *self.kept)

    def _decoded(self, heads: list[np.ndarray], log_rv_B: np.ndarray, now: Panel) -> Forecast:
        """In the units of a forecast, about the hour and coins of `now`."""
        import torch

        from crypto_assets.models.training.heads import Heads
        from crypto_assets.models.training.net import decode

        each = Heads(*(torch.from_numpy(h)[:, None] for h in heads))
        prepared = replace(self.prepared, log_rv_TN=log_rv_B[None])
        return decode(each, self.calibration, prepared, now.listed_TN, Forecast.empty(now))


def _looks_back(inputs: Any) -> int:
    """Bars before one that its preparation reads."""
    from crypto_assets.models.training.inputs import SPANS

    return max(SPANS) + inputs.lags + 1
