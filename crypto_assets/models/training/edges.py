"""Which coins speak to which: the graph of the market as it was known at each decision time.

Two numbers lie on an edge to a coin from another. The first is their correlation over the last weeks, where it exceeds a
threshold. The second is how the coin's next return follows the other's last one: a regression of all standardised returns on
all of the hour before, each edge beside all others, because with a common factor in every return a plain lagged correlation
shows paths that are not there (Billio, Getmansky, Lo and Pelizzon, J. Financial Economics 2012, use pairwise Granger tests for
such graphs). It is estimated from all history until then, and kept where it is significant after Bonferroni for all pairs.

A new graph is drawn once a day at midnight UTC, from bars closed by then. Correlations are computed wherever they are needed;
lead-lag needs more history than a forecast is given, so the last estimate of the fit travels in the checkpoint.

Shapes: G graphs, T decision times, N coins, R = 2 numbers on an edge.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from crypto_assets.market.errors import SettingsError

NUMBERS = ("correlation", "lead")
DAY = 24
MOST_COINS = 50
FEWEST_HOURS = 168
"""Of common returns before a pair has an edge: below, a correlation of 0.3 is noise at three standard errors of 0.08."""
RIDGE = 0.02
"""Share of the mean variance that is added to the variances of the regression."""
LOUDNESS = 4.0
"""Standard deviation of what is heard, in those of any other input: an edge has passed a test already, so the ridge penalty of
the linear path, which knows nothing of that, weighs a sixteenth on it. Kappa of that path alone on `leadlag` (20k, seed 7) is
0.74 at 1, 0.88 at 4 and 0.88 at 10."""


@dataclass(frozen=True)
class EdgeRule:
    """How edges are drawn."""

    hours: int = 504
    """Trailing hours of the correlations."""
    threshold: float = 0.3
    """Least absolute correlation of an edge."""
    significance: float = 0.05
    """Probability of one false lead-lag edge among all pairs."""

    @property
    def reach(self) -> int:
        """Hours before a decision time that can change its correlations."""
        return self.hours + DAY


@dataclass(frozen=True)
class Snapshots:
    """`edges_GNNR` float32: to a coin (first N) from another, 0 = no edge. `at_T`: the graph that holds at each hour."""

    edges_GNNR: np.ndarray
    at_T: np.ndarray


@dataclass(frozen=True)
class Edges:
    """What a fit keeps of its graphs: the lead-lag edges between its coins at its end, and the size of what is heard."""

    rule: EdgeRule
    lead_NN: np.ndarray
    scale_R: np.ndarray

    @classmethod
    def fit(
        cls, rule: EdgeRule, u_TN: np.ndarray, known_TN: np.ndarray, ts: np.ndarray, train: slice
    ) -> tuple[Edges, Snapshots]:
        """The graph of each day from the bars closed by its midnight, and what to keep.

        `u_TN` standardised returns, `known_TN` where there is one, `train` the rows of training. Raises SettingsError for more
        than 50 coins.
        """
        u_TN, firsts, at_T = _prepare(u_TN, known_TN, ts)
        edges = _correlations(rule, u_TN, known_TN, firsts)
        moments, done = _Moments(u_TN.shape[1]), 0
        for g, first in enumerate(firsts):
            moments.add(u_TN, known_TN, done, first)
            done = first
            edges[g, ..., 1] = moments.edges(rule.significance)
        moments.add(u_TN, known_TN, done, len(u_TN))
        drawn = Snapshots(edges, at_T)
        heard_NTR = heard(drawn, u_TN)[:, train]
        scale = np.array([np.std(h[h != 0]) if (h != 0).any() else 1.0 for h in np.moveaxis(heard_NTR, -1, 0)])
        return cls(rule, moments.edges(rule.significance), np.where(scale > 0, scale, 1.0)), drawn

    def snapshots(
        self, u_TN: np.ndarray, known_TN: np.ndarray, ts: np.ndarray, known: tuple[str, ...], symbols: tuple[str, ...]
    ) -> Snapshots:
        """The graph of each day: correlations as known by its midnight, lead-lag edges as kept.

        `known` are the coins of the fit, `symbols` those asked for; one that is not known has no lead-lag edge.
        """
        u_TN, firsts, at_T = _prepare(u_TN, known_TN, ts)
        edges = _correlations(self.rule, u_TN, known_TN, firsts)
        both = [(i, known.index(s)) for i, s in enumerate(symbols) if s in known]
        if both:
            to, origin = (np.array(v) for v in zip(*both, strict=True))
            lead_NN = np.zeros(edges.shape[1:3])
            lead_NN[np.ix_(to, to)] = self.lead_NN[np.ix_(origin, origin)]
            edges[..., 1] = lead_NN
        return Snapshots(edges, at_T)

    def heard(self, snapshots: Snapshots, u_TN: np.ndarray, known_TN: np.ndarray) -> np.ndarray:
        """What came along the edges with the last bar, scaled, `[N, T, R]` float32: inputs of the net and its linear path."""
        return (heard(snapshots, np.where(known_TN, u_TN, 0.0)) * (LOUDNESS / self.scale_R)).astype(np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        """What a checkpoint keeps."""
        return {"lead": self.lead_NN, "scale": self.scale_R}

    @classmethod
    def restore(cls, rule: EdgeRule, tensors: dict[str, np.ndarray]) -> Edges:
        """The inverse of `tensors`."""
        return cls(rule, tensors["lead"], tensors["scale"])


def heard(snapshots: Snapshots, u_TN: np.ndarray) -> np.ndarray:
    """The sum over edges of their numbers times the last returns of where they come from, `[N, T, R]`.

    By the correlations it is a weighted mean. One step of propagation without weights to learn (Wu et al., Simplifying graph
    convolutional networks, ICML 2019): a regression on it is the floor from which the layers must earn their keep.
    """
    edges = snapshots.edges_GNNR.astype(float)
    edges[..., 0] /= np.maximum(np.abs(edges[..., 0]).sum(axis=2, keepdims=True), 1e-9)
    out = np.empty((u_TN.shape[1], len(u_TN), len(NUMBERS)))
    borders = [*np.flatnonzero(np.diff(snapshots.at_T, prepend=-1)).tolist(), len(u_TN)]
    for first, last in itertools.pairwise(borders):
        out[:, first:last] = np.einsum("ijr,tj->itr", edges[snapshots.at_T[first]], u_TN[first:last])
    return out


def _prepare(u_TN: np.ndarray, known_TN: np.ndarray, ts: np.ndarray) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Returns, 0 where unknown; how many hours each graph may use; the graph of each hour."""
    if u_TN.shape[1] > MOST_COINS:
        raise SettingsError(f"a graph of {u_TN.shape[1]} coins: {MOST_COINS} is the most, name fewer with --symbols")
    day = ts.astype("datetime64[D]").astype(np.int64)
    at_T = day - day[0]
    # the bar that closed at midnight is known at midnight
    firsts = [0] + [int(t) + 1 for t in np.flatnonzero(np.diff(at_T)) + 1]
    return np.where(known_TN, u_TN, 0.0), firsts, at_T


def _correlations(rule: EdgeRule, u_TN: np.ndarray, known_TN: np.ndarray, firsts: list[int]) -> np.ndarray:
    """Thresholded trailing correlations, `[G, N, N, 2]` with the second number 0."""
    N = u_TN.shape[1]
    edges = np.zeros((len(firsts), N, N, len(NUMBERS)), np.float32)
    for g, first in enumerate(firsts):
        part = slice(max(0, first - rule.hours), first)
        u, m = u_TN[part], known_TN[part].astype(float)
        power = (u**2).T @ m
        both = m.T @ m
        with np.errstate(divide="ignore", invalid="ignore"):
            rho = (u.T @ u) / np.sqrt(power * power.T)
        keep = (both >= FEWEST_HOURS) & (np.abs(rho) >= rule.threshold) & ~np.eye(N, dtype=bool)
        edges[g, ..., 0] = np.where(keep, rho, 0.0)
    return edges


class _Moments:
    """Sums of products of returns with each other and with those of the hour before, grown hour by hour."""

    def __init__(self, coins: int) -> None:
        self.same, self.same_n, self.next, self.next_n = (np.zeros((coins, coins)) for _ in range(4))

    def add(self, u_TN: np.ndarray, known_TN: np.ndarray, begin: int, end: int) -> None:
        """Take in the bars `[begin, end)` and what each followed on."""
        begin = max(begin, 1)
        if end <= begin:
            return
        now, before = slice(begin, end), slice(begin - 1, end - 1)
        m, m1 = known_TN[now].astype(float), known_TN[before].astype(float)
        self.same += u_TN[before].T @ u_TN[before]
        self.same_n += m1.T @ m1
        self.next += u_TN[now].T @ u_TN[before]
        self.next_n += m.T @ m1

    def edges(self, significance: float) -> np.ndarray:
        """Coefficients of each coin (rows) on the last return of each other, 0 where not significant."""
        N = len(self.same)
        seen = np.diag(self.same_n) >= FEWEST_HOURS
        out = np.zeros((N, N))
        if N < 2 or not seen.any():
            return out
        at = np.ix_(seen, seen)
        n = np.maximum(self.next_n[at], 1.0)
        covariance = self.same[at] / np.maximum(self.same_n[at], 1.0)
        variance = np.diag(covariance).copy()
        inverse = inverted(covariance, RIDGE * float(variance.mean()))
        coefficients = (self.next[at] / n) @ inverse
        errors = np.sqrt(np.outer(variance, np.diag(inverse)) / n)
        z = NormalDist().inv_cdf(1 - significance / (2 * N * (N - 1)))
        keep = (np.abs(coefficients) > z * errors) & (n >= FEWEST_HOURS) & ~np.eye(len(coefficients), dtype=bool)
        out[at] = np.where(keep, coefficients, 0.0)
        return out


def inverted(covariance: np.ndarray, ridge: float) -> np.ndarray:
    """Inverse of the covariance with `ridge` on its diagonal, positive definite.

    Means over different hours, as coins come and go, need not be a covariance: what is negative in it is taken for nothing.
    """
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return (vectors / (np.maximum(values, 0.0) + max(ridge, 1e-12))) @ vectors.T
