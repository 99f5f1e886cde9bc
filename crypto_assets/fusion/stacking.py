"""Bayesian stacking: a linear predictor of the members' own, with non-negative weights that may move with a context.

    predictor = centre + b + sum_m w_m(u) (z_m - centre),   w_m(u) = (1 - u) w_m0 + u w_m1,   w >= 0

`z` are logits, log variances or standardised means. The prior is the pool: every weight around 1/M, b around 0; the likelihood
is that of out-of-fold rows, each counting as the part of a row that it is worth (`posterior.temper`), so on short histories
the combination is the pool and moves from it as evidence grows. How far it may move, and whether a context moves it, are
chosen by the loss on later rows than the weights were fitted on. Yao, Vehtari, Simpson and Gelman, Using stacking to average
Bayesian predictive distributions (2018), is the idea; weights there sum to one, here they need not: an average of shrunk
members is timid.

Beside the combination of probabilities stand the members alone, each as likely beforehand: M + 1 answers, told apart by how
likely they made later rows (`shares`). What is issued is their average by these odds. That is Bayes over a prior with a point
at each member, and it bounds the harm of combining: whatever the data, the cumulative tempered log-loss of the average is at
most ln(M + 1) above the best member's, but for the delay of the labels (Vovk, Aggregating strategies, 1990). A normal prior
around the pool gives no such bound. Variances and means have the combination alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from crypto_assets.fusion import context as contexts
from crypto_assets.fusion.families import FAMILIES
from crypto_assets.fusion.posterior import Posterior, Prior, fit, nonnegative, sample, temper

Array = np.ndarray

SPREADS = (0.1, 0.4, 1.0)
"""Standard deviations of a weight's departure from the pool's at a constant sum, tried in turn."""
MIDDLE = 0.4
SUM = 0.15
"""Standard deviation of the sum of all weights around 1: members are calibrated, so it is their ratio that is unknown. On
sixteen coins, 2023-01 to 2024-10, this lost less at every horizon than weights that are free each for itself."""
MOVES = 0.15
"""Standard deviation of the difference between the two ends of a context."""
BIAS = 0.03
WORTH = 2.0
"""Gain in tempered nats, on later rows, that a context or another spread must bring: odds of 7 to 1."""
TYPICAL = float(np.log(1e-3))
"""Log variance of a coin's day, 3 % squared: where log variances are centred before there are any rows."""
EVERY_DAYS = 7
"""How often the weights move in the walk that choices and calibration are made by."""
BLOCK_DAYS = {1: 1, 4: 1, 24: 5}
"""Days that count as one block, by the hours of the label: coins of a day move together, labels of 24 h overlap."""


@dataclass(frozen=True)
class Problem:
    """Rows to learn from, `[T, N]` in time order: `z_MTN` members' predictors, `y_TN` outcomes (NaN unknown), contexts.

    `usable_T`: first day (integer) on which the outcome of the hour may be used. `hours`: length of the label.
    """

    family: str
    z_MTN: Array
    y_TN: Array
    context_KMTN: dict[str, Array]
    day_T: Array
    hours: int

    @property
    def usable_T(self) -> Array:
        """First day on which the outcome of each hour may be used."""
        return self.day_T + contexts.closing_days(self.hours)


@dataclass(frozen=True)
class Stack:
    """A fitted combination. `context` is `none` or one of `context.KINDS`; columns of `posterior`: b, then M a knot."""

    family: str
    members: int
    context: str
    spread: float
    centre: float
    temper: float
    rows: int
    posterior: Posterior
    losses: dict[str, float]
    """Tempered loss in the walk, by context and spread that were tried."""
    shares: Array
    """Odds of the combination, then of each member alone, `[1 + M]`; they sum to 1."""

    def draws(self, count: int, rng: np.random.Generator) -> Array:
        """`count` draws of the coefficients `[count, d]`, as many of each answer as its odds say."""
        at = np.round(count * np.cumsum(self.shares)).astype(int)
        counts = np.diff(at, prepend=0)
        combined = sample(self.posterior, counts[0], rng) if counts[0] else np.empty((0, len(self.posterior.mode)))
        alone = np.tile(np.eye(self.members), (1, 1 if self.context == "none" else 2))
        alone = np.concatenate([np.zeros((self.members, 1)), alone], axis=1)
        return np.concatenate([combined, np.repeat(alone, counts[1:], axis=0)])


@dataclass(frozen=True)
class Walked:
    """A walk over the history: `predictor_TN` of each hour from weights of earlier days, and its tempered loss by day."""

    predictor_TN: Array
    loss_D: Array

    @property
    def loss(self) -> float:
        """Of all days."""
        return float(self.loss_D.sum())


def prior_of(members: int, context: str, spread: float) -> Prior:
    """Around the pool: ratios of weights spread by `spread`, their sum by `SUM`; both ends of a context differ by `MOVES`."""
    knots = 1 if context == "none" else 2
    together = np.full((members, members), 1 / members)
    base = spread**2 * (np.eye(members) - together) + SUM**2 / members * together
    moves = MOVES**2 / 2 * np.eye(knots * members) if knots > 1 else 0
    cov = np.zeros((1 + knots * members,) * 2)
    cov[0, 0] = BIAS**2
    cov[1:, 1:] = np.kron(np.ones((knots, knots)), base) + moves
    mean = np.concatenate([[0.0], np.full(knots * members, 1 / members)])
    low = np.concatenate([[-5.0], np.zeros(knots * members)])
    return Prior(mean, np.linalg.inv(cov), low)


def design(z_MR: Array, u_MR: Array | None, centre: float) -> Array:
    """`[R, d]`: one, then the centred predictors, by knot where there is a context."""
    z = (z_MR - centre).T
    ones = np.ones((len(z), 1))
    if u_MR is None:
        return np.concatenate([ones, z], axis=1)
    return np.concatenate([ones, z * (1 - u_MR.T), z * u_MR.T], axis=1)


def weights(coefficients_SD: Array, u_MR: Array | None, members: int) -> Array:
    """Weight of each member, `[S, M, R]`, from coefficients `[S, d]`; R = 1 without a context."""
    w = coefficients_SD[:, 1:]
    if u_MR is None:
        return w[:, :, None]
    return w[:, :members, None] * (1 - u_MR) + w[:, members:, None] * u_MR


def learn(problem: Problem, day: int, candidates: tuple[str, ...] = contexts.KINDS) -> tuple[Stack, Array]:
    """Fit on all rows whose outcome may be used on `day`; also the predictor of the walk through them, `[T, N]`.

    Without a row the stack is the prior, around the pool. A context is kept only where it makes later rows more likely.
    """
    M = len(problem.z_MTN)
    rows = np.isfinite(problem.y_TN) & np.isfinite(problem.z_MTN).all(axis=0) & (problem.usable_T <= day)[:, None]
    family = FAMILIES[problem.family]
    z, y, t = problem.z_MTN[:, rows], problem.y_TN[rows], np.nonzero(rows)[0]
    centre = 0.0
    if problem.family == "gamma":
        centre = float(z.mean()) if len(y) else TYPICAL + float(np.log(problem.hours / 24))
    pool, x = z.mean(axis=0), design(z, None, centre)
    block = problem.day_T[t] // BLOCK_DAYS[problem.hours]
    worth = temper(x, family.slope(pool, y), family.curvature(pool, y), block, guess=1 / (4.0 * problem.hours))
    walk = partial(_walk, problem, rows, centre, worth)
    walks = {("none", spread): found for spread, found in walk("none", SPREADS).items()}
    spread = min(SPREADS, key=lambda s: walks["none", s].loss)
    if walks["none", MIDDLE].loss - walks["none", spread].loss < WORTH:
        spread = MIDDLE if len(y) else SPREADS[0]
    for context in candidates:
        if context in problem.context_KMTN and M > 1 and len(y):
            walks[context, spread] = walk(context, (spread,))[spread]
    best = min((key for key in walks if key[1] == spread), key=lambda key: walks[key].loss)
    context = best[0] if walks["none", spread].loss - walks[best].loss >= WORTH else "none"
    u = problem.context_KMTN[context][:, rows] if context != "none" else None
    posterior = fit(
        design(z, u, centre), y - centre * (problem.family == "gamma"), family, prior_of(M, context, spread), temper=worth
    )
    losses = {f"{name} {s}": walked.loss for (name, s), walked in walks.items()}
    shares_DA = shares(problem, rows, worth, walks[context, spread].loss_D, day)
    stack = Stack(problem.family, M, context, spread, centre, worth, len(y), posterior, losses, shares_DA[-1])
    return stack, _averaged(problem, walks[context, spread].predictor_TN, shares_DA)


def shares(problem: Problem, rows_TN: Array, worth: float, combined_D: Array, day: int) -> Array:
    """Odds of the combination, whose tempered loss by day is `combined_D`, and of each member alone, `[D + 1, 1 + M]`.

    By the day of the history they are for, the last for `day`: from losses on rows that had closed by then, and moved in the
    walk as often as its weights. Only of probabilities: the combination is everything elsewhere.
    """
    family, M = FAMILIES[problem.family], len(problem.z_MTN)
    days, at = np.unique(problem.day_T, return_inverse=True)
    if problem.family != "bernoulli":
        return np.eye(1, 1 + M).repeat(len(days) + 1, axis=0)
    loss_AD = np.zeros((1 + M, len(days) + 1))
    loss_AD[0, 1:] = combined_D
    y, t = problem.y_TN[rows_TN], np.nonzero(rows_TN)[0]
    for m in range(M):
        lost = family.loss(problem.z_MTN[m][rows_TN], y)
        loss_AD[1 + m, 1:] = worth * np.bincount(at[t], weights=lost, minlength=len(days))
    total_AD = np.cumsum(loss_AD, axis=1)
    when = np.append(days[np.arange(len(days)) // EVERY_DAYS * EVERY_DAYS], day)
    upto = np.searchsorted(days, when - contexts.closing_days(problem.hours), side="right")
    known_DA = total_AD[:, upto].T
    odds_DA = np.exp(known_DA.min(axis=1, keepdims=True) - known_DA)
    return odds_DA / odds_DA.sum(axis=1, keepdims=True)


def _averaged(problem: Problem, combined_TN: Array, shares_DA: Array) -> Array:
    """The predictor of the walk: the combination's and the members' by their odds."""
    share_TA = shares_DA[np.unique(problem.day_T, return_inverse=True)[1]] if len(problem.day_T) else shares_DA[:0]
    return share_TA[:, :1] * combined_TN + np.einsum("tm,mtn->tn", share_TA[:, 1:], problem.z_MTN)


def _walk(
    problem: Problem, rows_TN: Array, centre: float, worth: float, context: str, spreads: tuple[float, ...]
) -> dict[float, Walked]:
    """The walk over the history, by spread: weights of earlier days, moved every `EVERY_DAYS`.

    The weights of the walk are those of the loss's quadratic at the pool, which members close to chance hardly leave; so a day
    is summed up by its slope and curvature, and the walk costs one pass.
    """
    family, M = FAMILIES[problem.family], len(problem.z_MTN)
    days, starts = np.unique(problem.day_T, return_index=True)
    ends = np.append(starts[1:], len(problem.day_T))[: len(days)]
    u_MTN = problem.context_KMTN[context] if context != "none" else None
    middle = prior_of(M, context, MIDDLE).mean
    pieces, slopes, curvatures = [], [np.zeros(len(middle))], [np.zeros((len(middle),) * 2)]
    for first, last in zip(starts, ends, strict=True):
        u = None if u_MTN is None else u_MTN[:, first:last].reshape(M, -1)
        x = design(problem.z_MTN[:, first:last].reshape(M, -1), u, centre)
        y, known = problem.y_TN[first:last].ravel(), rows_TN[first:last].ravel()
        z, used = x[known] @ middle + centre, x[known]
        slopes.append(slopes[-1] + used.T @ family.slope(z, y[known]))
        curvatures.append(curvatures[-1] + (used.T * family.curvature(z, y[known])) @ used)
        pieces.append((x, y, known))
    out = {}
    for spread in spreads:
        prior = prior_of(M, context, spread)
        predictor, lost, w = np.full(problem.y_TN.shape, np.nan), np.zeros(len(days)), prior.mean
        for i, (x, y, known) in enumerate(pieces):
            if i % EVERY_DAYS == 0:
                upto = int(np.searchsorted(days, days[i] - contexts.closing_days(problem.hours), side="right"))
                w = _quadratic(prior, worth * slopes[upto], worth * curvatures[upto])
            z = x @ w + centre
            predictor[starts[i] : ends[i]] = z.reshape(-1, problem.y_TN.shape[1])
            lost[i] = np.sum(family.loss(z[known], y[known]))
        out[spread] = Walked(predictor, worth * lost)
    return out


def _quadratic(prior: Prior, slope: Array, curvature: Array) -> Array:
    precision = prior.precision + curvature
    return nonnegative(precision, prior.mean - np.linalg.solve(precision, slope), prior.low)
