"""What is asked and answered, as OpenAPI documents it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

Timeframe = Literal["1h", "4h", "24h"]
Features = dict[Annotated[str, Field(max_length=120)], Annotated[float, Field(allow_inf_nan=False)] | None]
MOST_FEATURES = 2000
MOST_QUESTIONS = 64

EXAMPLE = {
    "prediction_id": "3f9c2b7de04a41c885aa",
    "symbol": "BTC",
    "timeframe": "1h",
    "prediction": "HOLD",
    "confidence": 0.5214,
    "price_target": 64210.5,
    "timestamp": "2024-03-13T14:00:00+00:00",
    "p_up": 0.5214,
    "expected_return": 0.00021,
    "volatility": 0.0042,
    "p_beats_median": None,
    "realised_var": None,
    "intervals": [{"level": 80, "low_return": -0.0051, "high_return": 0.0055, "low_price": 63870.0, "high_price": 64551.2}],
    "is_implied": False,
    "aleatoric": 0.6921,
    "epistemic": 0.0003,
    "members": [{"model": "lightgbm", "weight": 0.6, "p_up": 0.52, "model_version": "9ab1c2d3e4f50617"}],
    "price": 64197.0,
    "model_version": "77dd35af056219e0",
    "model_number": 3,
    "data_available_at": "2024-03-13T14:00:00+00:00",
    "is_custom": False,
}


class PredictRequest(BaseModel):
    """One coin and horizon."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"symbol": "BTC", "timeframe": "1h"}, {"symbol": "ETH", "timeframe": "24h"}]},
    )

    symbol: str = Field(min_length=1, max_length=40, description="Our symbol or any provider's name: BTC, BTCUSDT, bitcoin.")
    timeframe: Timeframe = Field(default="1h", description="How far ahead.")
    features: Features | None = Field(
        default=None,
        max_length=MOST_FEATURES,
        description="One row of features/matrix that takes the place of the coin's last one; GET /model lists the columns, "
        "GET /features the row as it is. null is a missing value.",
    )


class PredictManyRequest(BaseModel):
    """Several questions, answered in one batch."""

    model_config = ConfigDict(extra="forbid")

    requests: list[PredictRequest] = Field(min_length=1, max_length=MOST_QUESTIONS)


class Interval(BaseModel):
    """Holds the return, and the price, with this probability."""

    level: int = Field(description="Per cent.")
    low_return: float
    high_return: float
    low_price: float | None
    high_price: float | None


class Member(BaseModel):
    """What one member says, and what it weighs."""

    model: str
    weight: float
    p_up: float | None
    model_version: str


class Prediction(BaseModel):
    """A forecast and what is known about it. Returns are logarithms; null where the champion states nothing."""

    model_config = ConfigDict(json_schema_extra=cast(Any, {"examples": [EXAMPLE]}), protected_namespaces=())

    prediction_id: str = Field(description="Traced with `crypto-assets trace ID`.")
    symbol: str
    timeframe: Timeframe
    prediction: Literal["BUY", "SELL", "HOLD"] = Field(description="The side with the larger expected log utility after costs.")
    confidence: float | None = Field(description="Calibrated probability that the likelier direction comes true.")
    price_target: float | None = Field(description="USD: the price now times exp(expected return).")
    timestamp: datetime = Field(description="The decision time: the close of the hour it is about.")
    p_up: float | None
    expected_return: float | None = Field(description="Mean of the log return.")
    volatility: float | None = Field(description="Standard deviation of the log return over the timeframe.")
    p_beats_median: float | None = Field(description="P(the 24 h return beats the median of the coins); 24h alone.")
    realised_var: float | None = Field(description="Expected sum of the next 24 squared hourly returns; 24h alone.")
    intervals: list[Interval]
    is_implied: bool = Field(description="The distribution follows from P(up) and the variance: the champion states no mean.")
    aleatoric: float | None = Field(description="Nats of the entropy of P(up) that would remain were the weights known.")
    epistemic: float | None = Field(description="Nats of it that are due to not knowing the weights.")
    members: list[Member]
    price: float | None = Field(description="USD: the last close.")
    model_version: str = Field(description="Hash of the champion bundle.")
    model_number: int = Field(description="Its number in the registry.")
    data_available_at: datetime = Field(description="Nothing in it was published later.")
    is_custom: bool = Field(description="Made of a row that was sent.")


class Predictions(BaseModel):
    """All coins."""

    at: datetime
    age_seconds: float
    predictions: list[Prediction]


class PastPrediction(Prediction):
    """A prediction as it was served."""

    served_at: datetime


class History(BaseModel):
    """Predictions about closed hours, oldest first."""

    symbol: str
    timeframe: Timeframe
    predictions: list[PastPrediction]


class FeatureRow(BaseModel):
    """A coin's row of features/matrix, and its last closes."""

    symbol: str
    at: datetime
    features: dict[str, float | None]
    closes: list[float]


class Coins(BaseModel):
    """The coins that are served."""

    symbols: list[str]
    timeframes: list[Timeframe]


class ModelInfo(BaseModel):
    """The champion."""

    model_config = ConfigDict(protected_namespaces=())

    number: int
    version: str
    name: str
    members: dict[str, str]
    engines: dict[str, str] = Field(description="What each member runs in, and why where that is not ONNX.")
    trained_from: datetime
    trained_until: datetime
    features_hash: str
    columns: list[str]
    lineage: dict[str, Any]
    calibration: dict[str, Any] = Field(description="How it did out of sample, from the last report, by timeframe.")


class Health(BaseModel):
    """Whether the process lives, and what it waits for."""

    status: Literal["ok", "waiting"]
    problem: str
    at: datetime | None
    age_seconds: float | None


class Problem(BaseModel):
    """Why there is no answer."""

    error: str
    message: str
    near: list[str] | None = None
    age_seconds: float | None = None
    retry_after: float | None = None
    detail: list[dict[str, str]] | None = None
