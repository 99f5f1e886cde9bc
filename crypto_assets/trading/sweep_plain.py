"""The pass of `sweep` in numpy: the first small sweep of a process is over before the compiled one would be loaded.

Every account takes a step at once, in the order of `sweep_kernel.live` and with its arithmetic, so the sums are the same to
the last bit; a test holds them to it. Shapes as in `sweep`.
"""

from __future__ import annotations

import numpy as np

CAP_TOLERANCE = 1.05
"""That of the engine."""
Array = np.ndarray


def accounts(
    open_MT: Array,
    close_MT: Array,
    rate_MT: Array,
    mark_MT: Array,
    delisted_MT: Array,
    target_STN: Array,
    coins_SN: Array,
    out: Array,
    capital: float,
    fee: float,
    slip: float,
    band: float,
    gross: float,
) -> None:
    """Fill `out[S]`, columns as in `sweep.COLUMNS`."""
    S, T, _ = target_STN.shape
    book = _Book(coins_SN, capital, fee, slip)
    before, peak, worst, total, squares = (np.full(S, x) for x in (capital, capital, 0.0, 0.0, 0.0))
    with np.errstate(all="ignore"):  # what divides by nought is chosen away
        for t in range(T):
            if rate_MT[:, t].any():
                book.pay_funding(rate_MT[:, t], mark_MT[:, t])
            order_SN = book.decide(target_STN[:, t], before, band, gross)
            book.fill(order_SN, open_MT[:, t], close_MT[:, t], delisted_MT[:, t])
            after = book.worth()
            r = np.where(before > 0, after / before - 1, 0.0)
            total, squares, before = total + r, squares + r * r, after
            peak = np.maximum(peak, after)
            worst = np.maximum(worst, 1 - after / peak)
        mean = total / T
        out[:, 0], out[:, 1], out[:, 3], out[:, 4:] = before, mean, worst, book.sums_5S.T
        out[:, 2] = np.sqrt(np.maximum(squares - T * mean * mean, 0.0) / (T - 1)) if T > 1 else np.nan


class _Book:
    """Cash and positions of every account; `sums_5S`: turnover, fees, slippage, funding, trades."""

    def __init__(self, coins_SN: Array, capital: float, fee: float, slip: float) -> None:
        self.coins_SN, self.fee, self.slip = coins_SN, fee, slip
        self.cash = np.full(len(coins_SN), capital)
        self.quantity_SN = np.zeros(coins_SN.shape)
        self.last_SN = np.full(coins_SN.shape, np.nan)
        self.sums_5S = np.zeros((5, len(coins_SN)))

    def pay_funding(self, rate_M: Array, mark_M: Array) -> None:
        """On what is held."""
        paid = np.zeros(len(self.cash))
        for n, coin in enumerate(self.coins_SN.T):
            q, mark = self.quantity_SN[:, n], mark_M[coin]
            paid += np.where(q != 0, q * np.where(np.isnan(mark), self.last_SN[:, n], mark) * rate_M[coin], 0.0)
        self.cash -= paid
        self.sums_5S[3] += paid

    def worth(self) -> Array:
        """Equity at the last prices."""
        total = self.cash
        for q, last in zip(self.quantity_SN.T, self.last_SN.T, strict=True):
            total = total + np.where(q != 0, q * last, 0.0)
        return total

    def decide(self, target_SN: Array, equity: Array, band: float, gross: float) -> Array:
        """The orders of one bar, in coins."""
        scale, left = self._scale(target_SN, equity, gross), np.zeros(len(equity))
        order_SN = np.column_stack([self._order(target_SN, n, scale, equity, band) for n in range(target_SN.shape[1])])
        if band > 0:
            for q, wanted, last in zip(self.quantity_SN.T, order_SN.T, self.last_SN.T, strict=True):
                left += np.where(last > 0, np.abs(q + wanted) * last, 0.0)
            too_much = left > gross * CAP_TOLERANCE * equity
            for n in range(target_SN.shape[1]) if too_much.any() else ():
                order_SN[:, n] = np.where(too_much, self._order(target_SN, n, scale, equity, 0.0), order_SN[:, n])
        return order_SN

    def _scale(self, target_SN: Array, equity: Array, gross: float) -> Array:
        size, kept = np.zeros(len(equity)), np.zeros(len(equity))
        for target, q, last in zip(target_SN.T, self.quantity_SN.T, self.last_SN.T, strict=True):
            is_left = np.isnan(target)
            size += np.where(is_left, 0.0, np.abs(target))
            kept += np.where(is_left & (q != 0) & (equity > 0), np.abs(q * last) / equity, 0.0)
        return np.where((size > 0) & (size + kept > gross), np.maximum(gross - kept, 0.0) / size, 1.0)

    def _order(self, target_SN: Array, n: int, scale: Array, equity: Array, band: float) -> Array:
        target, held, last = target_SN[:, n], self.quantity_SN[:, n], self.last_SN[:, n]
        is_solvent = equity > 0
        aim = np.where(is_solvent, target * scale, 0.0)
        wanted = aim * equity / last - held
        is_none = ~(last > 0) | (is_solvent & np.isnan(target))
        if band > 0:
            is_none |= (aim != 0) & (np.abs(wanted) * last < band * equity)
        return np.where(is_none, 0.0, wanted)

    def fill(self, order_SN: Array, open_M: Array, close_M: Array, delisted_M: Array) -> None:
        """At the open, a delisted coin at its last price; then the bar's close is the last price."""
        for n, coin in enumerate(self.coins_SN.T):
            q, last = self.quantity_SN[:, n], self.last_SN[:, n]
            wanted, price, close = order_SN[:, n], open_M[coin], close_M[coin]
            if delisted_M.any():
                gone = delisted_M[coin]
                wanted, price = np.where(gone, -q, wanted), np.where(gone, last, price)
            is_filled = (wanted != 0) & (price > 0)
            value = np.where(is_filled, np.abs(wanted) * price, 0.0)
            paid = value * self.slip
            cost = np.where(wanted > 0, value + paid, value - paid) * self.fee
            self.cash = np.where(is_filled, self.cash + (-wanted * price - paid - cost), self.cash)
            self.quantity_SN[:, n] = np.where(is_filled, np.where(wanted == -q, 0.0, q + wanted), q)
            for row, change in zip((0, 1, 2, 4), (value, cost, paid, is_filled), strict=True):
                self.sums_5S[row] += change
            self.last_SN[:, n] = np.where(close > 0, close, last)
