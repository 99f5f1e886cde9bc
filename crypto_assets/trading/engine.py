"""The account, bar by bar: one step from (account, bar, target weights) to (account, flows), for backtest and paper alike.

Order of events in the bar that opens at `ts`, which is also the decision time:
1. funding that settles at `ts` is paid on the position carried into the bar (an order sent at `ts` arrives after settlement);
2. target weights become quantities by the equity and the prices known at `ts` (last closes), never by the fill price;
3. orders fill at the bar's open, worse by the slippage, and pay the taker fee; without a bar there is no fill;
4. the account is marked at the bar's close, or at the last known price where the bar is missing.

Shapes: T bars, N coins. Prices in USD, quantities in coins (negative = short), NaN = no bar.
The perpetual's account is kept as cash plus positions at market: `equity = cash + sum(quantity x price)`; a short sale adds
to cash what it owes in coins. numba is imported here: import this module lazily.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

CAP_TOLERANCE = 1.05
"""Positions left alone inside the no-trade band may drift this far over the exposure cap before all are rebalanced."""


class Account(NamedTuple):
    """State between two bars. `price_N`: last known price; `basis_N`: average entry price, its fee included."""

    cash: float
    quantity_N: np.ndarray
    price_N: np.ndarray
    basis_N: np.ndarray


class Bar(NamedTuple):
    """What the market did. `rate_N`: funding rate settled at the open, 0 = none; `mark_N`: its mark price, NaN = last price;
    `delisted_N`: the coin has stopped trading for good: what is left is settled at the last known price.
    """

    open_N: np.ndarray
    close_N: np.ndarray
    rate_N: np.ndarray
    mark_N: np.ndarray
    delisted_N: np.ndarray


class Terms(NamedTuple):
    """`fee`, `slippage`: fractions of the traded value; `cap`: largest sum of absolute weights."""

    fee: float
    slippage: float
    cap: float


class Flows(NamedTuple):
    """What happened in the bar. `traded_N` signed coins, `reference_N` the price before slippage, the others in USD.
    `missed`: orders that found no bar.
    """

    traded_N: np.ndarray
    reference_N: np.ndarray
    fee_N: np.ndarray
    slippage_N: np.ndarray
    realised_N: np.ndarray
    funding_N: np.ndarray
    missed: int


def opened(capital: float, price_N: np.ndarray) -> Account:
    """A new account: `capital` in cash, no position, last prices `price_N` (NaN = not yet listed)."""
    return Account(float(capital), np.zeros(len(price_N)), price_N.astype(np.float64), np.zeros(len(price_N)))


@njit(cache=True)
def equity_of(account):
    """Cash plus positions at the last known price, USD."""
    total = account.cash
    for n in range(len(account.quantity_N)):
        if account.quantity_N[n] != 0.0:
            total += account.quantity_N[n] * account.price_N[n]
    return total


@njit(cache=True)
def orders(account, target_N, band, cap):
    """Signed coins to trade `[N]` for target weights (fractions of equity, NaN = leave alone).

    Weights above `cap` in sum are scaled to it. A change smaller than `band` (fraction of equity) is not traded, except to
    get out; when what is left alone would exceed the cap by more than its tolerance, everything is rebalanced. An account
    without equity closes everything.
    """
    N = len(target_N)
    equity = equity_of(account)
    gross = 0.0
    for n in range(N):
        if not np.isnan(target_N[n]):
            gross += abs(target_N[n])
    scale = cap / gross if gross > cap else 1.0
    full, banded = np.zeros(N), np.zeros(N)
    left = 0.0
    for n in range(N):
        held, price = account.quantity_N[n], account.price_N[n]
        if np.isnan(price):
            continue
        if equity <= 0.0:
            full[n] = -held
        elif not np.isnan(target_N[n]):
            full[n] = target_N[n] * scale * equity / price - held
        is_wanted = target_N[n] == 0.0 or equity <= 0.0 or abs(full[n]) * price >= band * equity
        banded[n] = full[n] if is_wanted else 0.0
        left += abs(held + banded[n]) * price
    return full if left > cap * CAP_TOLERANCE * equity else banded


@njit(cache=True)
def realise(held, basis, traded, price, fee):
    """(realised profit, new basis) of trading `traded` coins at `price` with `fee` USD, against an average-cost basis."""
    each = fee / abs(traded)
    if held * traded >= 0.0:
        paid = price + each if traded > 0.0 else price - each
        return 0.0, (held * basis + traded * paid) / (held + traded)
    closed = min(abs(traded), abs(held))
    profit = closed * (price - basis if held > 0.0 else basis - price) - closed * each
    if abs(traded) > abs(held):
        return profit, price + each if traded > 0.0 else price - each
    return profit, basis if abs(traded) < abs(held) else 0.0


@njit(cache=True)
def pay_funding(account, bar):
    """Funding `[N]` in USD paid at the open on what is held: longs pay a positive rate, shorts receive it."""
    funding_N = np.zeros(len(account.quantity_N))
    for n in range(len(funding_N)):
        if account.quantity_N[n] != 0.0 and bar.rate_N[n] != 0.0:
            mark = account.price_N[n] if np.isnan(bar.mark_N[n]) else bar.mark_N[n]
            funding_N[n] = account.quantity_N[n] * mark * bar.rate_N[n]
    return funding_N


@njit(cache=True)
def fill(account, bar, wanted_N, terms):
    """(cash change, quantities, bases, flows) after `wanted_N` coins met the bar's open."""
    N = len(wanted_N)
    traded_N, reference_N, fee_N, slippage_N, realised_N = (
        np.zeros(N),
        np.full(N, np.nan),
        np.zeros(N),
        np.zeros(N),
        np.zeros(N),
    )
    quantity_N, basis_N = account.quantity_N.copy(), account.basis_N.copy()
    cash, missed = 0.0, 0
    for n in range(N):
        wanted = -quantity_N[n] if bar.delisted_N[n] else wanted_N[n]
        reference = account.price_N[n] if bar.delisted_N[n] else bar.open_N[n]
        if wanted == 0.0:
            continue
        if np.isnan(reference):
            missed += 1
            continue
        price = reference * (1.0 + terms.slippage if wanted > 0.0 else 1.0 - terms.slippage)
        traded_N[n], reference_N[n] = wanted, reference
        fee_N[n] = abs(wanted) * price * terms.fee
        slippage_N[n] = abs(wanted) * reference * terms.slippage
        realised_N[n], basis_N[n] = realise(quantity_N[n], basis_N[n], wanted, price, fee_N[n])
        quantity_N[n] = 0.0 if wanted == -quantity_N[n] else quantity_N[n] + wanted
        cash -= wanted * price + fee_N[n]
    flows = Flows(traded_N, reference_N, fee_N, slippage_N, realised_N, np.zeros(N), missed)
    return cash, quantity_N, basis_N, flows


@njit(cache=True)
def step(account, bar, target_N, band, terms):
    """One bar: (account at its close, flows). Pure: neither argument is changed."""
    funding_N = pay_funding(account, bar)
    wanted_N = orders(account, target_N, band, terms.cap)
    cash, quantity_N, basis_N, flows = fill(account, bar, wanted_N, terms)
    price_N = np.where(np.isnan(bar.close_N), account.price_N, bar.close_N)
    after = Account(account.cash - funding_N.sum() + cash, quantity_N, price_N, basis_N)
    return after, Flows(
        flows.traded_N, flows.reference_N, flows.fee_N, flows.slippage_N, flows.realised_N, funding_N, flows.missed
    )


@njit(cache=True)
def run(account, bars, target_TN, band_T, terms):
    """Every bar in turn. `bars`: a Bar of `[T, N]` arrays.

    Returns (cash_T, quantity_TN, price_TN, traded_TN, reference_TN, fee_TN, slippage_TN, realised_TN, funding_TN, missed),
    each row as of the bar's close.
    """
    T, N = target_TN.shape
    cash_T = np.empty(T)
    quantity_TN, price_TN, traded_TN, reference_TN = np.empty((T, N)), np.empty((T, N)), np.empty((T, N)), np.empty((T, N))
    fee_TN, slippage_TN, realised_TN, funding_TN = np.empty((T, N)), np.empty((T, N)), np.empty((T, N)), np.empty((T, N))
    missed = 0
    for t in range(T):
        bar = Bar(bars.open_N[t], bars.close_N[t], bars.rate_N[t], bars.mark_N[t], bars.delisted_N[t])
        account, flows = step(account, bar, target_TN[t], band_T[t], terms)
        cash_T[t], quantity_TN[t], price_TN[t] = account.cash, account.quantity_N, account.price_N
        traded_TN[t], reference_TN[t] = flows.traded_N, flows.reference_N
        fee_TN[t], slippage_TN[t] = flows.fee_N, flows.slippage_N
        realised_TN[t], funding_TN[t] = flows.realised_N, flows.funding_N
        missed += flows.missed
    return cash_T, quantity_TN, price_TN, traded_TN, reference_TN, fee_TN, slippage_TN, realised_TN, funding_TN, missed
