"""The linear path of a net, in closed form: one ridge regression a task on the inputs of a bar, before training begins.

It is solved, not trained, because with so little signal the steps that teach depth anything would blur it. For a direction
target it is one Newton step of the logistic regression from the base rate, which is where that regression ends up to second
order when probabilities stay near it. Penalties are chosen by walking forward through training and on to validation: two
months hold too few independent days to tell one by.

An input is either damped like all others, or in inverse proportion to what a heavily damped solution makes of it (adaptive
ridge: Grandvalet 1998; the ridge form of Zou, The Adaptive Lasso, JASA 2006): where a few of hundreds of inputs carry the
signal, the noise of all the others is most of what a plain ridge costs. Which of the two is chosen with the penalty, by task
(docs/decisions/linear-path-of-nets.md).

Beside the inputs stand the coins: a constant each, because some simply beat the others more often. On sixteen coins most of
what can be known of a day's relative return is in these constants (docs/decisions/linear-path-of-nets.md).

Shapes: R rows (bars of all coins), F inputs, N coins, K = 8 tasks: four directions, three returns, realised variance.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from crypto_assets.models.training.device import DevicePanel
from crypto_assets.models.training.heads import Net

PENALTIES = (1e4, 3e4, 1e5, 3e5)
"""In independent rows, each worth a unit of variance of every scaled input: what one believes before seeing data does not grow
with the data. On planted markets of 8,000 to 100,000 rows the best lies among these."""
SPARSE_PENALTIES = (3e5, 1e6, 3e6)
"""The same for an input of root mean square weight, where inputs go by what the heaviest of `PENALTIES` makes of them."""
FLOOR = 1e-3
"""Squared weight, of the mean squared one, below which an input is not damped further."""
OVERLAP = (1.0, 4.0, 24.0, 24.0, 1.0, 4.0, 24.0, 1.0)
"""Hourly rows per independent one, by task: labels of 4 and 24 h overlap. The variance, which is well predictable, is not
damped for it."""
COIN_PENALTY = 1e4
"""Rows that the constant of a coin is weighed against. A drift moves the odds of h hours by the square root of h, and h rows
are worth one: both together, the penalty is the same for every horizon. At 24 h it is a spread of 0.1 of the logit."""
FIRST_SHARE, PARTS = 0.5, 4
"""The walk begins with half of training, and takes the rest in so many parts; validation is the last."""
OUTPUTS = (0, 1, 2, 3, 4, 5, 6, 10)
"""Where the K tasks lie among the outputs of a readout; the log variances of returns have no linear path."""

PURGE_HOURS = 24
WEEK = 168
"""Hours that are judged as one: coins of an hour move together, and labels of 24 h overlap."""


class Shrinkage(NamedTuple):
    """Of each task: the ridge penalty in rows, whether it goes by the input, and the share of the solution that later data
    confirmed, 0 to 1.
    """

    penalty_K: Tensor
    sparse_K: Tensor
    share_K: Tensor


def start(module: Net, data: DevicePanel, train_rows: tuple[int, int], valid_rows: tuple[int, int]) -> Shrinkage:
    """Set the linear path of the readout from `train_rows`; returns how it was shrunk, which was chosen out of sample."""
    shrinkage = _choose(data, train_rows, valid_rows, module.readout.base_4)
    intercept_K = refit(module, data, train_rows, shrinkage)
    with torch.no_grad():
        module.readout.deep.bias[list(OUTPUTS)] = intercept_K
    return shrinkage


def refit(module: Net, data: DevicePanel, rows: tuple[int, int], shrinkage: Shrinkage) -> Tensor:
    """Solve the linear path over `rows`, depth and intercepts as they are; returns the intercepts it would like."""
    gram_FF, moment_FK = _moments(data, rows, module.readout.base_4)
    weights_FK = _solve(gram_FF, moment_FK, shrinkage.penalty_K, len(data.coin_N))
    if shrinkage.sparse_K.any():
        sparse_FK = _solve(gram_FF, moment_FK, shrinkage.penalty_K, len(data.coin_N), _by_input(gram_FF, moment_FK, data))
        weights_FK = torch.where(shrinkage.sparse_K, sparse_FK, weights_FK)
    weights_FK = weights_FK * shrinkage.share_K
    inputs = module.readout.wide.weight.shape[1]
    with torch.no_grad():
        module.readout.wide.weight[list(OUTPUTS)] = weights_FK[:inputs].T.float()
        module.readout.coin[data.coin_N[:, None], torch.tensor(OUTPUTS)] = weights_FK[inputs:-1].float()
    return weights_FK[-1].float()


def _choose(data: DevicePanel, train_rows: tuple[int, int], valid_rows: tuple[int, int], base_4: Tensor) -> Shrinkage:
    """Penalty and share by the squared error on the later parts, each part from what lies a purge before it."""
    begin, end = train_rows
    edges = [begin + int((end - begin) * (FIRST_SHARE + (1 - FIRST_SHARE) * i / PARTS)) for i in range(PARTS)]
    parts = [*zip(edges, [*edges[1:], end], strict=True), valid_rows]
    overlap_K = torch.tensor(OVERLAP, dtype=torch.float64, device=base_4.device)
    weeks = parts[-1][1] // WEEK + 1
    shape = (2, weeks, len(PENALTIES) + len(SPARSE_PENALTIES), len(OUTPUTS))
    found_2BPK = torch.zeros(shape, dtype=torch.float64, device=base_4.device)
    (gram_FF, moment_FK), done = _moments(data, (begin, begin), base_4), begin
    for first, last in parts:
        until = max(done, min(first - PURGE_HOURS, end))
        more_FF, more_FK = _moments(data, (done, until), base_4)
        gram_FF, moment_FK, done = gram_FF + more_FF, moment_FK + more_FK, until
        by_input_IK = _by_input(gram_FF, moment_FK, data)
        tried = [(penalty, None) for penalty in PENALTIES] + [(penalty, by_input_IK) for penalty in SPARSE_PENALTIES]
        w_PFK = [_solve(gram_FF, moment_FK, penalty * overlap_K, len(data.coin_N), relative) for penalty, relative in tried]
        _judge(found_2BPK, data, (first, last), base_4, torch.stack(w_PFK))
    share_PK, gain_PK = _shares(*found_2BPK)
    best_K = gain_PK.argmax(dim=0)
    penalty_K = torch.tensor(PENALTIES + SPARSE_PENALTIES, dtype=torch.float64, device=base_4.device)[best_K] * overlap_K
    share_K = share_PK[best_K, torch.arange(len(OUTPUTS), device=base_4.device)]
    return Shrinkage(penalty_K, best_K >= len(PENALTIES), share_K)


def _judge(found_2BPK: Tensor, data: DevicePanel, rows: tuple[int, int], base_4: Tensor, w_PFK: Tensor) -> None:
    """Add, week by week, the products of each solution's answers with the truth and with themselves."""
    week_T = torch.arange(*rows, device=base_4.device) // WEEK
    B, (P, F, K) = found_2BPK.shape[1], w_PFK.shape
    w_FJ = w_PFK.transpose(0, 1).reshape(F, P * K).float()
    for x_RF, y_RK, listed_T in _rows(data, rows, base_4):
        z_RPK = (x_RF @ w_FJ).double().unflatten(-1, (P, K))
        in_week_BR = torch.nn.functional.one_hot(
            week_T[listed_T], B
        ).T.double()  # the same bits on any device, unlike index_add
        for found_BPK, products_RPK in zip(found_2BPK, (z_RPK * y_RK[:, None], z_RPK.square()), strict=True):
            found_BPK += (in_week_BR @ products_RPK.flatten(1)).unflatten(-1, (P, K))


def _shares(hit_BPK: Tensor, power_BPK: Tensor) -> tuple[Tensor, Tensor]:
    """The share of each solution that is confirmed, `[P, K]`, and what its squared error gains by it.

    The slope s of the truth on the answers, within 0 and 1, times 1 - 1/t^2 with t = s / se and weeks as clusters: the
    posterior mean under a prior around 0 whose variance is read off the same slope (`_calibration.shrinkage`).
    """
    hit_PK, power_PK = hit_BPK.sum(dim=0), power_BPK.sum(dim=0).clamp(min=1e-12)
    slope_PK = hit_PK / power_PK
    weeks_PK = (power_BPK > 0).sum(dim=0)
    error_PK = (hit_BPK - slope_PK * power_BPK).square().sum(dim=0) * weeks_PK / (weeks_PK - 1).clamp(min=1)
    doubt_PK = error_PK / (slope_PK * power_PK).square().clamp(min=1e-30)
    share_PK = slope_PK.clamp(0, 1) * (1 - doubt_PK).clamp(min=0) * (weeks_PK > 1)
    return share_PK, 2 * share_PK * hit_PK - share_PK**2 * power_PK


def _by_input(gram_FF: Tensor, moment_FK: Tensor, data: DevicePanel) -> Tensor:
    """Penalty of each input over that of an input of root mean square weight, `[I, K]`, by the most heavily damped solution."""
    heaviest_K = max(PENALTIES) * torch.tensor(OVERLAP, dtype=torch.float64, device=gram_FF.device)
    square_IK = _solve(gram_FF, moment_FK, heaviest_K, len(data.coin_N))[: data.x_NTF.shape[-1]] ** 2
    mean_K = square_IK.mean(dim=0).clamp(min=1e-30)
    return mean_K / (square_IK + FLOOR * mean_K)


def _solve(gram_FF: Tensor, moment_FK: Tensor, penalty_K: Tensor, coins: int, relative_IK: Tensor | None = None) -> Tensor:
    """Ridge weights `[F + N + 1, K]`, float64, of inputs, coins and the intercept, which is free.

    `relative_IK`: what the penalty of each input is multiplied by.
    """
    F, K = moment_FK.shape
    ridge_KF = torch.full((K, F), COIN_PENALTY, dtype=torch.float64, device=gram_FF.device)
    ridge_KF[:, : F - 1 - coins] = penalty_K[:, None] if relative_IK is None else penalty_K[:, None] * relative_IK.T
    ridge_KF[:, -1] = 1e-9
    return torch.stack([torch.linalg.solve(gram_FF + r.diag(), m) for r, m in zip(ridge_KF, moment_FK.T, strict=True)], dim=1)


def _moments(data: DevicePanel, rows: tuple[int, int], base_4: Tensor) -> tuple[Tensor, Tensor]:
    """Products of the inputs (coins and a one among them) with themselves and the tasks over listed rows, in float64."""
    F = data.x_NTF.shape[-1] + len(data.coin_N) + 1
    gram = torch.zeros(F, F, dtype=torch.float64, device=data.x_NTF.device)
    moment = torch.zeros(F, len(OUTPUTS), dtype=torch.float64, device=data.x_NTF.device)
    for x_RF, y_RK, _ in _rows(data, rows, base_4):
        gram += (x_RF.T @ x_RF).double()
        moment += (x_RF.T @ y_RK).double()
    return gram, moment


def _rows(data: DevicePanel, rows: tuple[int, int], base_4: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Coin by coin: inputs, coins and a one `[R, F + N + 1]`, the tasks `[R, K]`, and which of the hours are listed.

    An unknown truth counts as no surprise. Directions are surprises over the base rate in units of its variance.
    """
    at = slice(*rows)
    rate_4 = torch.sigmoid(base_4)
    N, F = len(data.coin_N), data.x_NTF.shape[-1]
    F += N + 1
    for n in range(N):
        listed = data.listed_NT[n, at]
        x_RF = torch.nn.functional.pad(data.x_NTF[n, at][listed], (0, N + 1))
        x_RF[:, [F - 1 - N + n, F - 1]] = 1.0
        surprise = (data.direction_NT4[n, at][listed] - rate_4) / (rate_4 * (1 - rate_4))
        y_RK = torch.cat([surprise, data.returns_NT3[n, at][listed], data.log_rv_NT[n, at][listed, None]], dim=1)
        yield x_RF, y_RK.nan_to_num(), listed
