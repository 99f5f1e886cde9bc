"""The words of the report: names that a reader knows, what each term means, what an accuracy implies."""

from __future__ import annotations

import numpy as np

from crypto_assets.evaluation.performance import HOURS_A_YEAR

TARGETS = {
    "1h": "1 hour ahead",
    "4h": "4 hours ahead",
    "24h": "24 hours ahead",
    "24h_relative": "24 hours, against the other coins",
}
MODELS = {
    "base_rate": "Base rate (one constant)",
    "reversal": "Reversal (against the last hour)",
    "coin_prior": "Coin prior (a constant a coin)",
    "logistic": "Logistic regression",
    "linear_lags": "Linear on past returns",
    "lightgbm": "LightGBM (boosted trees)",
    "transformer": "Transformer (deep net)",
    "bi_lstm": "Bi-LSTM (deep net)",
    "cnn_lstm": "CNN-LSTM (deep net)",
    "graph": "Graph network (deep net)",
    "pool": "Pool of three",
    "fused": "Fused (all members)",
    "last_rv": "Last day's variance",
    "ewma": "EWMA (RiskMetrics)",
    "har": "HAR (day, week, month)",
    "har_x": "HAR with other inputs",
    "har_x_lightgbm": "HAR-X and LightGBM, averaged",
    "oracle": "Best possible (known here)",
}
STRATEGIES = {
    "direction_1h": "Direction, 1 h",
    "direction_4h": "Direction, 4 h",
    "direction_24h": "Direction, 24 h",
    "relative_24h": "Long/short by rank, 24 h",
    "sized_24h": "Smallest of Kelly, risk and confidence, 24 h",
}
STRATEGY_NOTES = {
    "direction": "Each coin by itself, long, short or out: in when the expected gain exceeds the cost of going in and out, and "
    "until the forecast changes sides.",
    "sized": "Each coin by itself, as large as the least of half of Kelly's bet net of costs, 2 % of risk and a tenth of the "
    "confidence.",
    "relative": "Long the coins likelier to beat the median, short the others, half the capital each; every hour one "
    "twenty-fourth of the portfolio is renewed, so the result does not hang on the hour it starts.",
}
REFERENCES = {"buy_and_hold": "Buy and hold", "equal_weight": "Equal weight, daily"}

FORECAST_TERMS = {
    "accuracy": "Share of forecasts whose likelier side came true, with its 95 % interval. Coins move together, so the "
    "interval is computed from whole days, not single forecasts. A coin toss scores 50 %.",
    "skill": "How much better than always saying the training period's base rate, in log-loss. 0 % is nothing learned. Small "
    "numbers are normal: at one hour, 0.2 % on real data is a good model.",
    "AUC": "Chance that a rise was given a higher probability than a fall. 0.5 is nothing.",
    "calibration error": "How far the probabilities are from what happened, on average (expected calibration error, 15 bins).",
    "most confident": "Accuracy on the tenth of the forecasts the model was surest of.",
    "rank IC": "Correlation between the ranking of the coins by forecast and by what happened, averaged over the hours.",
    "κ": "Share of the best possible skill that was captured. Known only where the best forecast is: in the simulated market.",
    "against LightGBM": "Difference in log-loss to LightGBM on the same forecasts; negative is better. p is the chance of such "
    "a difference by luck alone.",
    "among the best": "Model confidence set: whether the data leave open that this model is the best of all here, at the 95 % "
    "level for all of them together; the number is its p-value.",
    "QLIKE": "Loss of a variance forecast (lower is better); 0 would be perfect.",
    "R² of log": "Share of the variation of log variance that was forecast.",
}
ACCOUNT_TERMS = {
    "Sharpe ratio": "Mean return over its standard deviation, a year. 1 is good, 2 rare after costs; above that, look for an "
    "error first. Gross is before fees, slippage and funding, net after.",
    "95 % interval": "From redrawing blocks of five days. If it contains 0, the result may be luck.",
    "drawdown": "Loss from the highest value so far.",
    "turnover": "Value bought plus value sold in a day, over the account. 2× is the whole account sold and bought anew.",
    "Sortino": "Like the Sharpe ratio, but only losses count as risk.",
    "Calmar": "Yearly return over the largest drawdown.",
    "worst days": "Mean loss on the worst 5 % of days (expected shortfall, CVaR 95 %).",
    "VaR": "Value at risk: the loss exceeded on 5 % of days.",
    "information ratio": "Sharpe ratio of the difference to buy and hold.",
    "funding": "What holders of perpetual futures pay each other every eight hours.",
    "bp": "Basis point: 0.01 %.",
}
LUCK_TERMS = {
    "P(Sharpe > 0)": "Chance that the true Sharpe ratio is positive, given the length of the account and the shape of its "
    "daily returns (probabilistic Sharpe ratio).",
    "deflated": "The same against the best that as many trials would show without skill. Below 95 % the result may be luck.",
    "trial": "One configuration that was fitted and scored, whatever its seed. Trials resemble each other, so their number "
    "overstates the luck somewhat.",
    "halving": "The days are cut into blocks; half of the blocks choose, the other half judge, in every possible way.",
}

IMPLIED_ACCURACIES = (0.505, 0.51, 0.52, 0.53, 0.55, 0.60, 0.75, 0.90)
MEAN_ABSOLUTE = float(np.sqrt(2 / np.pi))


def model_name(model: str) -> str:
    """The reader's name of a model."""
    return MODELS.get(model, model)


def short_name(model: str) -> str:
    """The same without its explanation, for the labels of a chart."""
    return model_name(model).split(" (")[0]


def strategy_name(strategy: str) -> str:
    """The reader's name of a strategy."""
    return STRATEGIES.get(strategy, strategy)


def implied_by(accuracy: float) -> tuple[float, float, float]:
    """(IC, accuracy on the surest tenth, gross Sharpe of hourly sign bets) that a direction accuracy implies.

    Gaussian forecast and return: accuracy = 1/2 + asin(IC) / pi; the surest tenth by the bivariate normal; the Sharpe ratio
    takes hits to be independent of the size of the move: (2a - 1) sqrt(2/pi) sqrt(8760).
    """
    from scipy.stats import norm

    ic = float(np.sin(np.pi * (accuracy - 0.5)))
    z = norm.ppf(0.95 + 0.05 * (np.arange(400) + 0.5) / 400)
    surest = float(norm.cdf(ic * z / np.sqrt(1 - ic**2)).mean())
    return ic, surest, (2 * accuracy - 1) * MEAN_ABSOLUTE * float(np.sqrt(HOURS_A_YEAR))


def break_even(round_trip: float, hours: int, yearly_volatility: float) -> float:
    """Accuracy at which betting every `hours` and paying a `round_trip` each time earns nothing: 1/2 + cost / (2 E|r|)."""
    move = yearly_volatility * np.sqrt(hours / HOURS_A_YEAR) * MEAN_ABSOLUTE
    return float(0.5 + round_trip / (2 * move))
