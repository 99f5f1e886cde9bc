"""The compiled pass of `sweep`: the order of events is that of `engine.run`, and a test holds both to the same cents.

Shapes as in `sweep`; market arrays are `[M, T]`, so that a coin's bars lie together. It calls nothing of another file:
numba's cache on disk knows only this one. numba is imported here: import this module lazily.
"""

from __future__ import annotations

import numpy as np
from numba import njit

CAP_TOLERANCE = 1.05
"""That of the engine."""
TURNOVER, FEES, SLIPPAGE, FUNDING, TRADES = 4, 5, 6, 7, 8
"""Columns of `sweep.COLUMNS` that are sums."""


@njit(inline="always")
def pay_funding(quantity_N, last_N, coin_N, rate_MT, mark_MT, t):
    """USD paid on what is held."""
    paid = 0.0
    for n in range(len(quantity_N)):
        rate = rate_MT[coin_N[n], t]
        if rate != 0.0 and quantity_N[n] != 0.0:
            mark = mark_MT[coin_N[n], t]
            paid += quantity_N[n] * (last_N[n] if np.isnan(mark) else mark) * rate
    return paid


@njit(inline="always")
def worth(cash, quantity_N, last_N):
    """Equity at the last prices."""
    total = cash
    for n in range(len(quantity_N)):
        if quantity_N[n] != 0.0:
            total += quantity_N[n] * last_N[n]
    return total


@njit(inline="always")
def scale_to(gross, equity, target_TN, t, quantity_N, last_N):
    """Factor of the targets so that they, and what is left alone, stay within the gross limit."""
    size, kept = 0.0, 0.0
    for n in range(len(quantity_N)):
        if not np.isnan(target_TN[t, n]):
            size += abs(target_TN[t, n])
        elif quantity_N[n] != 0.0 and equity > 0.0:
            kept += abs(quantity_N[n] * last_N[n]) / equity
    return max(gross - kept, 0.0) / size if size > 0.0 and size + kept > gross else 1.0


@njit(inline="always")
def order(target, scale, equity, held, last, band):
    """Coins to trade for one target."""
    if not last > 0.0 or (equity > 0.0 and np.isnan(target)):
        return 0.0
    aim = target * scale if equity > 0.0 else 0.0
    wanted = aim * equity / last - held
    return 0.0 if aim != 0.0 and abs(wanted) * last < band * equity else wanted


@njit(inline="always")
def decide(order_N, target_TN, t, equity, quantity_N, last_N, band, gross):
    """Write the orders of one bar."""
    scale, left = scale_to(gross, equity, target_TN, t, quantity_N, last_N), 0.0
    for n in range(len(order_N)):
        order_N[n] = order(target_TN[t, n], scale, equity, quantity_N[n], last_N[n], band)
        left += abs(quantity_N[n] + order_N[n]) * last_N[n] if last_N[n] > 0.0 else 0.0
    if band > 0.0 and left > gross * CAP_TOLERANCE * equity:
        for n in range(len(order_N)):
            order_N[n] = order(target_TN[t, n], scale, equity, quantity_N[n], last_N[n], 0.0)


@njit(inline="always")
def fill(quantity_N, n, wanted, price, fee, slip, sums):
    """Book one fill; gives the change of cash."""
    value = abs(wanted) * price
    paid = value * slip
    cost = (value + paid if wanted > 0.0 else value - paid) * fee
    quantity_N[n] = 0.0 if wanted == -quantity_N[n] else quantity_N[n] + wanted
    sums[TURNOVER] += value
    sums[FEES] += cost
    sums[SLIPPAGE] += paid
    sums[TRADES] += 1.0
    return -wanted * price - paid - cost


@njit(cache=True, nogil=True, error_model="numpy")
def live(open_MT, close_MT, rate_MT, mark_MT, delisted_MT, target_TN, coin_N, sums, capital, fee, slip, band, gross):
    """Fill `sums` with one account's life."""
    T, N = target_TN.shape
    quantity_N, last_N, order_N = np.zeros(N), np.full(N, np.nan), np.zeros(N)
    cash, before, peak, worst, total, squares = capital, capital, capital, 0.0, 0.0, 0.0
    for t in range(T):
        equity = before
        paid = pay_funding(quantity_N, last_N, coin_N, rate_MT, mark_MT, t)
        cash -= paid
        sums[FUNDING] += paid
        decide(order_N, target_TN, t, equity, quantity_N, last_N, band, gross)
        for n in range(N):
            m, wanted, price = coin_N[n], order_N[n], open_MT[coin_N[n], t]
            if delisted_MT[m, t]:
                wanted, price = -quantity_N[n], last_N[n]
            if wanted != 0.0 and price > 0.0:
                cash += fill(quantity_N, n, wanted, price, fee, slip, sums)
            if close_MT[m, t] > 0.0:
                last_N[n] = close_MT[m, t]
        after = worth(cash, quantity_N, last_N)
        r = after / before - 1.0 if before > 0.0 else 0.0
        total, squares, before = total + r, squares + r * r, after
        peak = max(peak, after)
        worst = max(worst, 1.0 - after / peak)
    mean = total / T
    sums[0], sums[1], sums[3] = before, mean, worst
    sums[2] = np.sqrt(max(squares - T * mean * mean, 0.0) / (T - 1)) if T > 1 else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def accounts(open_MT, close_MT, rate_MT, mark_MT, delisted_MT, target_STN, coins_SN, out, capital, fee, slip, band, gross):
    """Fill `out[S]`, columns as in `sweep.COLUMNS`, one account after the other."""
    for s in range(target_STN.shape[0]):
        live(
            open_MT, close_MT, rate_MT, mark_MT, delisted_MT, target_STN[s], coins_SN[s], out[s], capital, fee, slip, band,
            gross,
        )  # fmt: skip
