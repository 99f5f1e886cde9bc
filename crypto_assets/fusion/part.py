"""One target's combination, as it is kept: members, draws of the posterior, calibration, and the state of its contexts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from crypto_assets.fusion import context as contexts
from crypto_assets.fusion import variational
from crypto_assets.fusion.calibration import Calibrator, choose
from crypto_assets.fusion.context import Ranks, Skill
from crypto_assets.fusion.stacking import Problem, design, learn, weights

Array = np.ndarray


@dataclass(frozen=True)
class Part:
    """What `fit_part` found. `draws_SD`: coefficients, b first; `facts`: what a reader may want to know, plain JSON."""

    family: str
    hours: int
    members: tuple[str, ...]
    context: str
    centre: float
    draws_SD: Array = field(repr=False)
    calibrator: Calibrator
    spread: Ranks
    skill: Skill
    facts: dict[str, Any]
    net: dict[str, Array] | None = field(default=None, repr=False)
    """Draws of the variational network that takes the place of the weights; `draws_SD` then only tells what they would be."""

    def context_MTN(self, z_MTN: Array, y_TN: Array, market_T: Array | None, day_T: Array) -> Array | None:
        """The number in [0, 1] that moves the weights, by member and row; None where nothing does."""
        if self.context == "none":
            return None
        return contexts_of(z_MTN, y_TN, market_T, day_T, self, only=self.context)[0][self.context]

    def predictor(self, z_MTN: Array, u_MTN: Array | None) -> Array:
        """The calibrated predictor at the posterior mean, `[T, N]`; of a network, the mean of its draws."""
        if self.net is not None:
            pieces = np.array_split(z_MTN, max(1, z_MTN.shape[1] // 500), axis=1)
            return np.concatenate([self.drawn(piece, None).mean(axis=0) for piece in pieces])
        return self.calibrator.logit(self._linear(self.draws_SD.mean(axis=0, keepdims=True), z_MTN, u_MTN)[0])

    def drawn(self, z_MTN: Array, u_MTN: Array | None) -> Array:
        """The calibrated predictor of every draw, `[S, T, N]`."""
        if self.net is not None:
            z_MR = z_MTN.reshape(len(z_MTN), -1)
            logits = variational.drawn(self.net, z_MR.T, z_MR.mean(axis=0))
            return self.calibrator.logit(logits.reshape(-1, *z_MTN.shape[1:]))
        return self.calibrator.logit(self._linear(self.draws_SD, z_MTN, u_MTN))

    def weights(self, u_MTN: Array | None) -> Array:
        """Mean weight of each member by row, `[M, T, N]`, or `[M, 1, 1]` where nothing moves them."""
        mean = self.draws_SD.mean(axis=0, keepdims=True)
        flat = None if u_MTN is None else u_MTN.reshape(len(u_MTN), -1)
        w = weights(mean, flat, len(self.members))[0]
        return w.reshape(len(self.members), *((1, 1) if u_MTN is None else u_MTN.shape[1:]))

    def _linear(self, coefficients_SD: Array, z_MTN: Array, u_MTN: Array | None) -> Array:
        """Column by column: a matrix product may round a row differently when it stands among others."""
        M, *shape = z_MTN.shape
        x_RD = design(z_MTN.reshape(M, -1), None if u_MTN is None else u_MTN.reshape(M, -1), self.centre)
        out = np.full((len(coefficients_SD), len(x_RD)), self.centre)
        for column, x_R in zip(coefficients_SD.T, x_RD.T, strict=True):
            out += column[:, None] * x_R
        return out.reshape(len(coefficients_SD), *shape)


def contexts_of(
    z_MTN: Array, y_TN: Array, market_T: Array | None, day_T: Array, part: Part, only: str | None = None
) -> tuple[dict[str, Array], Skill]:
    """Every context (or one) as `[M, T, N]`, and the state of the members' skill after the last day."""
    shape, found, state = z_MTN.shape, {}, part.skill
    if only in (None, "volatility") and market_T is not None:
        found["volatility"] = np.broadcast_to(market_T[:, None], shape)
    if only in (None, "disagreement"):
        found["disagreement"] = np.broadcast_to(part.spread.of(z_MTN.std(axis=0)), shape)
    if only in (None, "skill"):
        level_MT, state = contexts.skill(z_MTN, y_TN, part.family, part.hours, day_T, part.skill)
        found["skill"] = np.broadcast_to(level_MT[:, :, None], shape)
    return found, state


def fit_part(
    family: str,
    hours: int,
    members: tuple[str, ...],
    z_MTN: Array,
    y_TN: Array,
    market_T: Array | None,
    day_T: Array,
    day: int,
    *,
    samples: int,
    seed: int,
    head: str = "laplace",
) -> tuple[Part, Array]:
    """Fit on what had closed by `day`; also the calibrated predictor of the walk `[T, N]`, each hour by earlier ones alone."""
    M = len(members)
    blank = Part(
        family, hours, members, "none", 0.0, np.empty((0, 0)), Calibrator(), Ranks.fit(z_MTN.std(axis=0)), Skill.start(M), {}
    )
    found, state = contexts_of(z_MTN, y_TN, market_T, day_T, blank)
    problem = Problem(family, z_MTN, y_TN, found, day_T, hours)
    stack, walked_TN = learn(problem, day)
    calibrator = Calibrator()
    scores: dict[str, float] = {}
    if family == "bernoulli":
        rows = np.isfinite(y_TN) & np.isfinite(walked_TN) & (problem.usable_T <= day)[:, None]
        calibrator, scores = choose(walked_TN[rows], y_TN[rows], stack.temper)
    draws = stack.draws(samples, np.random.default_rng(seed))
    facts = {
        "rows": stack.rows,
        "temper": stack.temper,
        "spread": stack.spread,
        "losses": stack.losses,
        "shares": dict(zip(("combination", *members), stack.shares.tolist(), strict=True)),
        "scales": [float(v) for v in _scales(z_MTN)],
        "calibration": calibrator.kind,
        "calibration_scores": scores,
    }
    part = replace(
        blank, context=stack.context, centre=stack.centre, draws_SD=draws, calibrator=calibrator, skill=state, facts=facts
    )
    if head == "variational" and family == "bernoulli" and stack.rows:
        rows = np.isfinite(y_TN) & np.isfinite(z_MTN).all(axis=0) & (problem.usable_T <= day)[:, None]
        z, worth = z_MTN[:, rows], min(stack.temper, 1.0)
        net = variational.fit(z.T, z.mean(axis=0), y_TN[rows], temper=worth, samples=samples, seed=seed)
        part = replace(part, net=net, context="none", calibrator=Calibrator())
    return part, calibrator.logit(walked_TN)


def _scales(z_MTN: Array) -> Array:
    """Standard deviation of each member's predictor; 1 before there are any rows."""
    known = z_MTN[:, np.isfinite(z_MTN).all(axis=0)]
    return known.std(axis=1) if known.shape[1] > 1 else np.ones(len(z_MTN))
