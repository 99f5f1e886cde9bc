"""Bundles of small members fitted on the planted market of this room."""

from __future__ import annotations

from functools import cache

from crypto_assets.dataset.panel import Panel
from crypto_assets.evaluation.champion import Bundle, alone
from crypto_assets.evaluation.walkforward import COMBINATIONS, fit_fold
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets_tests.evaluation import market


@cache
def planted(edge: float = 0.3) -> Panel:
    return market.make(edge=edge)[0]


@cache
def fitted(name: str, fold: int = 0) -> Checkpoint:
    return fit_fold(planted(), market.folds()[fold], name, preset="debug", seed=0)


def fused(fold: int = 0, members: tuple[str, ...] = ("logistic", "har_x")) -> Bundle:
    lineage = {"fold": market.folds()[fold].name, "revision": "test"}
    return Bundle("fused", {name: fitted(name, fold) for name in members}, COMBINATIONS["fused"], lineage)


def single(name: str = "logistic", fold: int = 0) -> Bundle:
    return Bundle(name, {name: fitted(name, fold)}, alone(name), {"fold": market.folds()[fold].name})
