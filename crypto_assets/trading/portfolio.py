"""Portfolios by optimisation: forecast means and a shrunk covariance, turnover and costs in the objective, walked forward.

Weights are fractions of equity, none negative, at most all of it; what is not invested is cash. At each rebalancing only closes
known by then are read. The optimisers are skfolio's (Nicolini, Manzi and Delatte 2025), imported inside. Equal weight and
inverse volatility stand beside them: with sixteen coins they are hard to beat (DeMiguel, Garlappi and Uppal 2009).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from crypto_assets.market.errors import SettingsError
from crypto_assets.trading.costs import Costs
from crypto_assets.trading.strategy import Signal, Targets

METHODS = ("mean_variance", "mean_cvar", "hrp", "risk_budget", "equal", "inverse_volatility")
NEEDS_MEANS = ("mean_variance", "mean_cvar")
DAY = 24


def optimise(
    method: str,
    r_DN: np.ndarray,
    mean_N: np.ndarray,
    previous_N: np.ndarray,
    *,
    cost: float,
    risk_aversion: float = 5.0,
    most: float = 0.25,
) -> np.ndarray:
    """Weights `[N]` for one rebalancing.

    `r_DN`: past daily returns without NaN; `mean_N`: forecast returns of the next day; `previous_N`: weights held; `cost`: of a
    change, a fraction, spread over the days until the next one. `mean_variance` and `mean_cvar` maximise mean - risk aversion x
    risk - cost x turnover with at most `most` in one coin and the rest in cash; the others are fully invested. The covariance
    is shrunk (Ledoit and Wolf 2004). Where the solver finds nothing, the weights held are kept.
    """
    N = r_DN.shape[1]
    if method == "equal":
        return np.full(N, 1 / N)
    if method == "inverse_volatility":
        inverse = 1 / np.maximum(r_DN.std(axis=0), 1e-12)
        return np.asarray(inverse / inverse.sum())
    if method not in METHODS:
        raise SettingsError(f"no portfolio method {method!r}: choose one of {', '.join(METHODS)}")
    model = _model(method, mean_N, previous_N, cost, risk_aversion, max(most, 1 / N))
    return np.maximum(np.asarray(model.fit(r_DN).weights_, dtype=np.float64), 0.0)


def _model(method: str, mean_N: np.ndarray, previous_N: np.ndarray, cost: float, risk_aversion: float, most: float) -> Any:
    from skfolio import RiskMeasure
    from skfolio.moments import BaseMu, LedoitWolf
    from skfolio.optimization import HierarchicalRiskParity, MeanRisk, ObjectiveFunction, RiskBudgeting
    from skfolio.prior import EmpiricalPrior

    class Forecast(BaseMu):  # type: ignore[misc]
        """The means are what was forecast, whatever the past was."""

        def __init__(self, mean: Any = None) -> None:
            self.mean = mean

        def fit(self, X: Any, y: Any = None) -> Any:
            """Nothing is learnt."""
            self.mu_ = np.asarray(self.mean)
            return self

    if method == "hrp":
        return HierarchicalRiskParity(prior_estimator=EmpiricalPrior(covariance_estimator=LedoitWolf()))
    if method == "risk_budget":
        return RiskBudgeting(prior_estimator=EmpiricalPrior(covariance_estimator=LedoitWolf()))
    return MeanRisk(
        objective_function=ObjectiveFunction.MAXIMIZE_UTILITY,
        risk_measure=RiskMeasure.VARIANCE if method == "mean_variance" else RiskMeasure.CVAR,
        risk_aversion=risk_aversion if method == "mean_variance" else risk_aversion / 50,
        prior_estimator=EmpiricalPrior(mu_estimator=Forecast(mean_N), covariance_estimator=LedoitWolf()),
        min_weights=0.0,
        max_weights=most,
        budget=None,
        min_budget=0.0,
        max_budget=1.0,
        transaction_costs=cost,
        previous_weights=previous_N,
        fallback="previous_weights",
    )


@dataclass(frozen=True)
class Optimised:
    """A strategy that rebalances every `every_hours` to what `method` finds, from the forecast mean of the next day.

    `lookback_days` of daily returns give the risk; a coin that lacks one of them is left out. Nothing is held before.
    """

    method: str = "mean_variance"
    every_hours: int = 168
    lookback_days: int = 90
    risk_aversion: float = 5.0
    most: float = 0.25
    drift: float = 0.0
    column: str = "mean"
    horizon: str = "24h"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SettingsError(f"no portfolio method {self.method!r}: choose one of {', '.join(METHODS)}")
        if self.every_hours < 1 or self.lookback_days < 2:
            raise SettingsError("a portfolio is rebalanced every hour at most, and looks back at least two days")

    @property
    def name(self) -> str:
        """`portfolio_<method>`."""
        return f"portfolio_{self.method}"

    def targets(self, signal: Signal, costs: Costs) -> Targets:
        """Weights at each rebalancing, NaN between."""
        if signal.price_TN is None:
            raise SettingsError("a portfolio needs the closes: give Signal(price_TN=...)")
        T, N = signal.p_TN.shape
        weights, held = np.full((T, N), np.nan), np.zeros(N)
        for t in range(self.lookback_days * DAY, T, self.every_hours):
            past = signal.price_TN[t - self.lookback_days * DAY : t + 1 : DAY]
            with np.errstate(invalid="ignore"):
                r_DN = past[1:] / past[:-1] - 1
            mean = signal.p_TN[t] if self.method in NEEDS_MEANS else np.zeros(N)
            usable = np.isfinite(r_DN).all(axis=0) & np.isfinite(mean) & signal.listed_TN[t]
            if usable.sum() < 2:
                continue
            cost = costs.side * DAY / self.every_hours
            found, scale = np.zeros(N), 1 / (1 + costs.side)
            found[usable] = optimise(
                self.method,
                r_DN[:, usable],
                mean[usable],
                held[usable],
                cost=cost,
                risk_aversion=self.risk_aversion,
                most=self.most,
            )
            weights[t] = held = found * scale
        return Targets(weights, np.full(T, self.drift / N))
