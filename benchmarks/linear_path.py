"""Claim: a linear path that may go by the input captures more of what is planted than a plain ridge; on null it loses little.

How: the markets and the 70/30 split of `kappa.py`, inputs of the small Transformer, the path alone: no depth, no calibration.
`plain`: without the penalties that go by the input. `by_input`: as the nets have it. kappa at 1 h under the true probability;
where there is nothing to capture, what the path loses to a coin toss in nats. Checked first: as in `kappa.py`.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import polars as pl
import torch
from _record import keep, median
from kappa import assembled, check, panel_of, split

from crypto_assets.dataset.panel import Panel
from crypto_assets.evaluation import metrics
from crypto_assets.market.time import HOUR, Window
from crypto_assets.models import transformer
from crypto_assets.models.training import linear
from crypto_assets.models.training.device import DevicePanel
from crypto_assets.models.training.heads import base_logits
from crypto_assets.models.training.inputs import Inputs
from crypto_assets.sandbox.simulator import EPOCH, SimulatedMarket
from crypto_assets.settings import MARKETS

BY_INPUT = linear.SPARSE_PENALTIES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markets", choices=MARKETS, nargs="+", default=["standard", "realistic", "regime", "null"])
    parser.add_argument("--hours", type=int, default=20_000, help="hours of history (default 20000)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9], help="default 7 8 9")
    given = parser.parse_args()
    found = {market: {seed: one_seed(market, given.hours, seed) for seed in given.seeds} for market in given.markets}
    middle = {m: {k: median([row[k] for row in rows.values()], 6) for k in ("plain", "by_input")} for m, rows in found.items()}
    keep(f"linear_path_{given.hours // 1000}k", {"hours": given.hours, "median": middle, "by_seed": found})


def one_seed(market: str, hours: int, seed: int) -> dict[str, Any]:
    """Kappa of both paths, or what they lose where there is nothing."""
    simulated, window = SimulatedMarket(market, seed), Window(EPOCH, EPOCH + hours * HOUR)
    panel, fold = panel_of(assembled(simulated, window)), split(window)
    best = simulated.oracle(fold.test.start, fold.test.end).filter(pl.col("symbol").is_in(list(panel.symbols)))
    check(panel, fold, best)
    config = transformer.Config.small()
    inputs = Inputs.fit(panel.cut(fold.train), lags=config.lags, indicators=config.indicators)
    data = DevicePanel.build(panel, inputs.apply(panel), panel.symbols, torch.device("cpu"), None)
    q_TN = true_p(panel.cut(fold.test), best)
    said = {}
    for name, sparse in (("plain", ()), ("by_input", BY_INPUT)):
        linear.SPARSE_PENALTIES = sparse
        train, valid, test = ((s.start, s.stop) for s in (panel.slice(w) for w in (fold.train, fold.valid, fold.test)))
        net = transformer.Module(config, inputs.width, len(panel.symbols))
        net.readout.base_4.copy_(base_logits(data.direction_NT4[:, slice(*train)]))
        linear.refit(net, data, (train[0], valid[1]), linear.start(net, data, train, valid))
        with torch.no_grad():
            z_NT = net.readout.wide(data.x_NTF[:, slice(*test)])[..., 0] + net.readout.coin[data.coin_N][:, None, 0]
            p_TN = torch.sigmoid(z_NT + net.readout.base_4[0] + net.readout.deep.bias[0]).double().numpy().T
        loss = float(metrics.log_losses(p_TN.ravel(), q_TN.ravel()).mean() - np.log(2))
        said[name] = round(loss if market == "null" else metrics.captured_share(p_TN.ravel(), q_TN.ravel()), 6)
    return said


def true_p(tested: Panel, best: pl.DataFrame) -> np.ndarray:
    """P(up) of the optimum on the grid of the test window, `[T, N]`."""
    grid = pl.DataFrame(
        {"symbol": np.tile(np.asarray(tested.symbols), len(tested.ts)), "ts": np.repeat(tested.ts, len(tested.symbols))}
    )
    grid = grid.with_columns(pl.col("ts").dt.replace_time_zone("UTC"))
    rows = grid.join(best, on=["symbol", "ts"], how="left", maintain_order="left")
    return rows["p_up"].to_numpy().reshape(len(tested.ts), -1)


if __name__ == "__main__":
    main()
