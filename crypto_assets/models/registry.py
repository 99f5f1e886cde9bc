"""Every model by name, imported when it is asked for: a listing costs nothing."""

from __future__ import annotations

import ast
import difflib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from crypto_assets.market.errors import SettingsError
from crypto_assets.models._base import Model

MODELS: dict[str, str] = {
    "base_rate": "crypto_assets.models.base_rate:MODEL",
    "reversal": "crypto_assets.models.reversal:MODEL",
    "coin_prior": "crypto_assets.models.coin_prior:MODEL",
    "logistic": "crypto_assets.models.logistic:MODEL",
    "linear_lags": "crypto_assets.models.linear_lags:MODEL",
    "lightgbm": "crypto_assets.models.lightgbm_trees:MODEL",
    "transformer": "crypto_assets.models.transformer:MODEL",
    "bi_lstm": "crypto_assets.models.bi_lstm:MODEL",
    "cnn_lstm": "crypto_assets.models.cnn_lstm:MODEL",
    "graph": "crypto_assets.models.graph:MODEL",
    "last_rv": "crypto_assets.models.last_rv:MODEL",
    "ewma": "crypto_assets.models.ewma:MODEL",
    "har": "crypto_assets.models.har:MODEL",
    "har_x": "crypto_assets.models.har_x:MODEL",
}
"""Name -> "module:attribute" of an object with `fit` and `predict`."""

NETS = ("transformer", "bi_lstm", "cnn_lstm", "graph")
"""Deep nets: what runs on a GPU where there is one."""
DIRECTION = ("base_rate", "reversal", "coin_prior", "logistic", "linear_lags", "lightgbm", *NETS)
"""Models that forecast P(up) and P(beats the median)."""
VOLATILITY = ("last_rv", "ewma", "har", "har_x", "lightgbm", *NETS)
"""Models that forecast the realised variance of the next 24 hours."""
TRAINED = ("logistic", "linear_lags", "lightgbm", *NETS, "har_x")
"""Models with more to learn than a constant: the members of a fusion."""


def load(name: str) -> Model:
    """The model of this name. Raises SettingsError, naming near ones, for a name that is not in MODELS."""
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=3, cutoff=0.4)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise SettingsError(f"unknown model {name!r}: known are {', '.join(MODELS)}{hint}")
    module, attribute = MODELS[name].split(":")
    return getattr(import_module(module), attribute)


def describe(name: str) -> str:
    """What the model is: its module's docstring, read without importing it (some import torch)."""
    module = MODELS[name].split(":")[0]
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return name
    return ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or name
