"""The model card of a fusion: what it was made of, what it was measured on, where it must not be used.

The headings are those of Mitchell et al., Model Cards for Model Reporting (2019).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crypto_assets.fusion.checkpoint import FusionCheckpoint
from crypto_assets.fusion.conformal import COVERAGES
from crypto_assets.fusion.part import Part

LIMITS = """- Forecasts are probabilities of returns over 1, 4 and 24 hours and of the variance of a day. On real markets
  expect an accuracy of 51 to 56 %: anything above 60 % at one hour is a leak until proven otherwise.
- Weights are those of the past: a member that changes its nature is believed until its labels have closed, two to three days.
- Epistemic parts are of the weights alone, not of the members' own parameters.
- Intervals hold their coverage on average over weeks; in the first hours of a shock they are too narrow.
- Features are as good as their sources; restated history (on-chain, TVL) is not what was known at the time.
- Actions pay a stated round trip of costs and assume no market impact; they know of no position, no limit and no margin."""
USE = """Research, and paper trading net of costs. It is no advice and moves no money. Judge it by log-loss and calibration on
days that no choice was made on, paired with LightGBM, and by accounts after costs. Every read of the hold-out counts."""


def text(
    checkpoint: FusionCheckpoint,
    *,
    fold: str,
    world: str,
    symbols: Sequence[str],
    features_hash: str,
    trained: Mapping[str, str],
) -> str:
    """The card as Markdown. `features_hash`: of the members' feature list. `trained`: member -> its training window."""
    members = "\n".join(f"| {m} | `{version}` | {trained.get(m, '')} |" for m, version in checkpoint.members.items())
    rows = "\n".join(_row(name, part) for name, part in checkpoint.parts.items())
    covered = ", ".join(f"{c:.0%}" for c in COVERAGES)
    return f"""# Fusion, fold {fold}

Version `{checkpoint.version}`, used from {checkpoint.start:%Y-%m-%d %H:%M} UTC.

## Model

Bayesian stacking of the members' logits and log variances: non-negative weights with a Laplace posterior, calibrated on
later rows than the weights were fitted on, with adaptive conformal intervals ({covered}).

| member | version | trained |
|---|---|---|
{members}

## Data

World: {world}. Coins: {", ".join(symbols)}. Features: hash `{features_hash}`. Weights come from out-of-fold forecasts: test
windows of earlier folds, labels that had closed by the midnight before {checkpoint.start:%Y-%m-%d}.

| target | out-of-fold rows | worth of a row | context | calibration | weights (posterior mean ± sd) |
|---|---|---|---|---|---|
{rows}

## Limits

{LIMITS}

## Honest use

{USE}
"""


def _row(name: str, part: Part) -> str:
    knots = (part.draws_SD.shape[1] - 1) // len(part.members)
    mean, spread = (f(axis=0)[1:].reshape(knots, -1) for f in (part.draws_SD.mean, part.draws_SD.std))
    said = "; ".join(
        f"{member} " + " to ".join(f"{mean[k, m]:.2f} ± {spread[k, m]:.2f}" for k in range(knots))
        for m, member in enumerate(part.members)
    )
    facts = part.facts
    return f"| {name} | {facts['rows']:,} | {facts['temper']:.3f} | {part.context} | {part.calibrator.kind} | {said} |"
