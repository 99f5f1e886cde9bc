"""The tables print what the JSON says, nulls as dashes."""

import io

import numpy as np
from rich.console import Console

from crypto_assets.evaluation import tables
from crypto_assets.evaluation.score import score
from crypto_assets_tests.evaluation import market


def _printed(tmp_path, **more):
    panel, p = market.make(edge=0.3)
    shape = p.shape
    forecasts = {
        "base_rate": market.table(panel, p=0.5, relative=0.5),
        "fused": market.table(panel, p=p, relative=0.5, rv=np.full(shape, 1e-3)),
    }
    result = score(forecasts, panel, study=market.study(forecasts), lake=tmp_path, **more)
    out = io.StringIO()
    tables.show(result, Console(file=out, width=200))
    return result, out.getvalue()


def test_every_model_and_number_is_there(tmp_path):
    panel, p = market.make(edge=0.3)
    backtest = {
        "fused": {"sharpe_gross": 1.5, "sharpe_net": -0.25, "max_drawdown": 0.1, "turnover_per_day": 3.0, "trades": 1200}
    }
    result, text = _printed(tmp_path, oracle=market.oracle(panel, p), backtest=backtest)
    assert f"{100 * result['direction']['1h']['fused']['accuracy']:.2f} %" in text
    assert f"{result['volatility']['fused']['qlike']:.4f}" in text
    for part in ("κ", "oracle", "-0.25", "1,200", "crash days: 1", "2 trials"):
        assert part in text


def test_what_is_unknown_is_a_dash(tmp_path):
    _, text = _printed(tmp_path)
    assert "–" in text
    assert "None" not in text
    assert "κ" not in text
