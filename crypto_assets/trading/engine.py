"""The account, bar by bar: `step(account, bar, orders, terms, bounds) -> (account, flows)`, for backtest and paper alike.

The step is pure, knows no history and no clock but the bar's, and its state is a handful of numbers a coin
(`account.Account`, with `dump` and `load`): a paper account calls it once a bar, writes the state down, and goes on from
there after a restart. A bar that is not newer than the state changes nothing, so a bar delivered twice is harmless.

Order of events in the bar that opens at `ts`, which is also the decision time:
1. funding that settles at `ts` is paid on the position carried into the bar (an order sent at `ts` arrives after settlement);
2. an account that is below its maintenance margin at the open is liquidated there, before any order of its own;
3. targets are held against the limits and become quantities by the equity and the prices known at `ts` (last closes), never by
   the fill price; quantities are cut to lots and to the smallest and largest order;
4. orders fill. Taker: at the open, worse by spread and impact, `spread + impact x sigma x sqrt(order / volume of the bar)`.
   Maker: the order rests at the last close and fills there, and never better, once the bar trades through it (strictly below
   a bid, above an ask). Neither takes more than a share of the bar's volume; the rest is cancelled or carried. No bar, no
   fill;
5. what is held then is followed to the worst of the bar: every long to its low and every short to its high, at once and in
   proportion. Where the equity meets the maintenance margin on that way, all is liquidated at the prices of that moment;
6. the account is marked at the bar's close, or at the last known price where the bar is missing.

Shapes: T bars, N coins. The perpetual's account is kept as cash plus positions at market: `equity = cash + sum(quantity x
price)`; a short sale adds to cash what it owes in coins. `step` is `run` over one bar: the same machine code. All kernels are
in this one file, since numba's cache on disk knows only the file of the function it compiled; those that take whole tuples are
inlined, since passing these costs more than the work (`benchmarks/event_loop.py`). numba is imported here: import
this module lazily.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from crypto_assets.trading import account as notes
from crypto_assets.trading.account import Account, Bar, Bounds, Fills, Flows, Orders, Terms

CAP_TOLERANCE = 1.05
"""Positions left alone inside the no-trade band may drift this far over the exposure cap before all are rebalanced."""
RISK_DEVIATIONS = 2.0
RISK_BARS = 24.0
"""The risk of a position: what it loses on an adverse move of two standard deviations over 24 bars."""
MOST_SLIPPAGE = 0.5
"""A fill never costs more than half the price: far outside of what any law of impact was fitted on."""
DAY_US = 86_400_000_000


class History(NamedTuple):
    """Every bar of an account, each row as of the bar's close; `order_TN` to `note_TN` as in `account.Flows`, `fills` and
    `forced` with `[T, N]` arrays.
    """

    cash_T: np.ndarray
    quantity_TN: np.ndarray
    price_TN: np.ndarray
    order_TN: np.ndarray
    limit_TN: np.ndarray
    fills: Fills
    forced: Fills
    funding_TN: np.ndarray
    note_TN: np.ndarray


class Book(NamedTuple):
    """The arrays of an account that `run` works on, and its scratch: weights, sizes, risks and factors of the targets,
    orders.
    """

    quantity_N: np.ndarray
    price_N: np.ndarray
    basis_N: np.ndarray
    rest_N: np.ndarray
    limit_N: np.ndarray
    weight_N: np.ndarray
    size_N: np.ndarray
    risk_N: np.ndarray
    factor_N: np.ndarray
    full_N: np.ndarray
    is_free_N: np.ndarray


@njit(inline="always", error_model="numpy")
def is_price(x):
    """A finite price above 0."""
    return x > 0.0 and x < np.inf


@njit(inline="always", error_model="numpy")
def worth(cash, quantity_N, price_N):
    """Cash plus positions at the last known price, USD."""
    total = cash
    for n in range(len(quantity_N)):
        if quantity_N[n] != 0.0:
            total += quantity_N[n] * price_N[n]
    return total


@njit(inline="always", error_model="numpy")
def pay_funding(book, bars, t, funding_TN):
    """USD paid at the open on what is held: longs pay a positive rate, shorts receive it."""
    total = 0.0
    for n in range(len(book.quantity_N)):
        rate = bars.rate_N[t, n]
        if book.quantity_N[n] != 0.0 and rate != 0.0 and np.isfinite(rate):
            mark = bars.mark_N[t, n] if is_price(bars.mark_N[t, n]) else book.price_N[n]
            funding_TN[t, n] = book.quantity_N[n] * mark * rate
            total += funding_TN[t, n]
    return total


@njit(cache=True, error_model="numpy")
def shrink(factor_N, size_N, is_free_N, most, note_TN, t, note):
    """Scale the free targets so that all `size_N` sum to `most` at the most; what is left alone keeps its size."""
    free, fixed = 0.0, 0.0
    for n in range(len(size_N)):
        if is_free_N[n]:
            free += size_N[n] * factor_N[n]
        else:
            fixed += size_N[n]
    if free <= 0.0 or free + fixed <= most:
        return
    scale = max(most - fixed, 0.0) / free
    for n in range(len(size_N)):
        if is_free_N[n] and size_N[n] > 0.0:
            factor_N[n] *= scale
            note_TN[t, n] |= note


@njit(cache=True, error_model="numpy")
def shrink_sectors(book, bounds, note_TN, t):
    """`shrink` within each sector."""
    N = len(book.size_N)
    own_N, inside_N = np.zeros(N), np.zeros(N, np.bool_)
    for sector in range(bounds.sector_N.max() + 1):
        for n in range(N):
            is_own = bounds.sector_N[n] == sector
            own_N[n], inside_N[n] = book.size_N[n] if is_own else 0.0, is_own and book.is_free_N[n]
        shrink(book.factor_N, own_N, inside_N, bounds.sector, note_TN, t, notes.SECTOR)


@njit(cache=True, error_model="numpy")
def shrink_net(book, most, note_TN, t):
    """Scale the heavier side so that longs less shorts are within `most`."""
    N, net = len(book.weight_N), 0.0
    for n in range(N):
        net += book.weight_N[n] * book.factor_N[n] if book.is_free_N[n] else book.weight_N[n]
    if abs(net) <= most:
        return
    side = 1.0 if net > 0.0 else -1.0
    size_N, heavy_N, others = np.zeros(N), np.zeros(N, np.bool_), 0.0
    for n in range(N):
        if book.is_free_N[n] and book.weight_N[n] * side > 0.0:
            size_N[n], heavy_N[n] = book.size_N[n], True
        else:
            others -= side * book.weight_N[n] * (book.factor_N[n] if book.is_free_N[n] else 1.0)
    shrink(book.factor_N, size_N, heavy_N, max(most + others, 0.0), note_TN, t, notes.NET)


@njit(cache=True, error_model="numpy")
def shrink_coins(book, bounds, note_TN, t):
    """The limits of each coin by itself; with a risk limit set, nothing is opened whose volatility is unknown."""
    for n in range(len(book.size_N)):
        size, risk = book.size_N[n], book.risk_N[n]
        if not book.is_free_N[n] or size == 0.0:
            continue
        if size > bounds.coin_N[n]:
            book.factor_N[n] = bounds.coin_N[n] / size
            note_TN[t, n] |= notes.COIN
        if bounds.trade_risk < np.inf and not size * book.factor_N[n] * risk <= bounds.trade_risk:
            book.factor_N[n] = bounds.trade_risk / (size * risk) if risk > 0.0 else 0.0
            note_TN[t, n] |= notes.TRADE_RISK


@njit(inline="always", error_model="numpy")
def allow(book, equity, bars, t, target_TN, is_coins, bounds, scale, note_TN):
    """Factors in 0..1 of the targets, so that all limits hold: each coin, sectors, portfolio risk, net, gross, brakes."""
    N = len(book.quantity_N)
    for n in range(N):
        book.is_free_N[n] = np.isfinite(target_TN[t, n])
        book.weight_N[n], book.factor_N[n] = 0.0, 1.0
        if book.is_free_N[n] and not is_coins:
            book.weight_N[n] = target_TN[t, n]
        elif is_price(book.price_N[n]):
            coins = target_TN[t, n] if book.is_free_N[n] else book.quantity_N[n]
            book.weight_N[n] = coins * book.price_N[n] / equity
        book.size_N[n] = abs(book.weight_N[n])
        book.risk_N[n] = RISK_DEVIATIONS * bars.sigma_N[t, n] * np.sqrt(RISK_BARS)
    shrink_coins(book, bounds, note_TN, t)
    if bounds.sector < np.inf:
        shrink_sectors(book, bounds, note_TN, t)
    if bounds.portfolio_risk < np.inf:
        for n in range(N):
            book.risk_N[n] = book.size_N[n] * book.risk_N[n] if book.size_N[n] > 0.0 and book.risk_N[n] > 0.0 else 0.0
        shrink(book.factor_N, book.risk_N, book.is_free_N, bounds.portfolio_risk, note_TN, t, notes.PORTFOLIO_RISK)
    if bounds.net < np.inf:
        shrink_net(book, bounds.net, note_TN, t)
    shrink(book.factor_N, book.size_N, book.is_free_N, bounds.gross, note_TN, t, notes.GROSS)
    if scale < 1.0:
        for n in range(N):
            book.factor_N[n] *= scale


@njit(inline="always", error_model="numpy")
def brake(equity, peak, is_stopped, is_killed, bounds):
    """(scale of all targets, note why) from the account's own course."""
    scale, why = 1.0, 0
    if peak > 0.0 and 1.0 - equity / peak > bounds.brake_from:
        lost = min((1.0 - equity / peak - bounds.brake_from) / max(bounds.brake_at - bounds.brake_from, 1e-12), 1.0)
        scale, why = 1.0 - (1.0 - bounds.brake_floor) * lost, notes.BRAKE
    if is_stopped:
        scale, why = 0.0, notes.DAILY_LOSS
    if is_killed:
        scale, why = 0.0, notes.KILLED
    return scale, why


@njit(cache=True, error_model="numpy")
def trim(wanted, held, price, n, terms, note_TN, t):
    """The order cut to the largest order and to lots; 0 when it is too small. Getting out altogether is never too small."""
    order = wanted
    if abs(order) * price > terms.most_N[n]:
        order = np.sign(order) * terms.most_N[n] / price
        note_TN[t, n] |= notes.LARGE
    if order == -held:
        return order
    if terms.lot_N[n] > 0.0:
        order = np.sign(order) * np.floor(abs(order) / terms.lot_N[n] + 1e-9) * terms.lot_N[n]
    if order == 0.0 or abs(order) * price < terms.least_N[n]:
        note_TN[t, n] |= notes.SMALL
        return 0.0
    return order


@njit(inline="always", error_model="numpy")
def wish(book, equity, target_TN, t, band, is_coins, gross, is_out, note_TN, order_TN):
    """Write the coins that the targets ask for into `order_TN`.

    A change smaller than the band is not traded, except to get out; when what is left alone would exceed the gross limit by
    more than its tolerance, everything is rebalanced. `is_out`: everything is closed.
    """
    left = 0.0
    for n in range(len(book.quantity_N)):
        held, price, aim = book.quantity_N[n], book.price_N[n], target_TN[t, n] * book.factor_N[n]
        book.full_N[n], order_TN[t, n] = 0.0, 0.0
        if not is_price(price):
            note_TN[t, n] |= notes.UNLISTED if np.isfinite(aim) and aim != 0.0 else 0
            continue
        if is_out:
            book.full_N[n] = -held
        elif np.isfinite(aim):
            book.full_N[n] = (aim if is_coins else aim * equity / price) - held
        if is_out or aim == 0.0 or abs(book.full_N[n]) * price >= band * equity:
            order_TN[t, n] = book.full_N[n]
        left += abs(held + order_TN[t, n]) * price
    is_over = left > gross * CAP_TOLERANCE * equity
    for n in range(len(book.quantity_N)):
        if is_over:
            order_TN[t, n] = book.full_N[n]
        elif order_TN[t, n] == 0.0 and book.full_N[n] != 0.0:
            note_TN[t, n] |= notes.BANDED


@njit(inline="always", error_model="numpy")
def decide(book, equity, bars, t, target_TN, band, is_coins, is_maker, terms, bounds, scale, why, h):
    """Write the orders of bar t and their limit prices. Getting out for want of equity or by a stop goes at market."""
    is_out = equity <= 0.0 or scale == 0.0
    if not is_out:
        allow(book, equity, bars, t, target_TN, is_coins, bounds, scale, h.note_TN)
    wish(book, equity, target_TN, t, band, is_coins, bounds.gross, is_out, h.note_TN, h.order_TN)
    for n in range(len(book.quantity_N)):
        held = book.quantity_N[n]
        if scale < 1.0 and (held != 0.0 or not (np.isnan(target_TN[t, n]) or target_TN[t, n] == 0.0)):
            h.note_TN[t, n] |= why
        if equity <= 0.0 and held != 0.0:
            h.note_TN[t, n] |= notes.NO_EQUITY
        if h.order_TN[t, n] != 0.0:
            h.limit_TN[t, n] = book.price_N[n] if is_maker and not is_out else np.nan
            h.order_TN[t, n] = trim(h.order_TN[t, n], held, book.price_N[n], n, terms, h.note_TN, t)
        elif book.rest_N[n] != 0.0 and np.isnan(target_TN[t, n]) and not is_out:
            h.order_TN[t, n], h.limit_TN[t, n] = book.rest_N[n], book.limit_N[n]


@njit(cache=True, error_model="numpy")
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


@njit(cache=True, error_model="numpy")
def settle(book, fills, t, n, traded, reference, slip, fee):
    """Book one fill; gives the change of cash. `slip`, `fee`: fractions."""
    held = book.quantity_N[n]
    price = reference * (1.0 + slip if traded > 0.0 else 1.0 - slip)
    fills.traded_N[t, n], fills.reference_N[t, n] = traded, reference
    fills.fee_N[t, n] = abs(traded) * price * fee
    fills.slippage_N[t, n] = abs(traded) * reference * slip
    fills.realised_N[t, n], book.basis_N[n] = realise(held, book.basis_N[n], traded, price, fills.fee_N[t, n])
    book.quantity_N[n] = 0.0 if traded == -held else held + traded
    return -traded * price - fills.fee_N[t, n]


@njit(cache=True, error_model="numpy")
def available(order, bars, t, n, terms, note_TN):
    """The part of an order that the bar's volume can answer."""
    if terms.participation == np.inf or not bars.volume_N[t, n] >= 0.0:
        return order
    room = terms.participation * bars.volume_N[t, n] / bars.open_N[t, n]
    if abs(order) <= room:
        return order
    if terms.lot_N[n] > 0.0:
        room = np.floor(room / terms.lot_N[n] + 1e-9) * terms.lot_N[n]
    note_TN[t, n] |= notes.PARTIAL
    return np.sign(order) * room


@njit(cache=True, error_model="numpy")
def slippage(coins, bars, t, n, terms):
    """Fraction by which a taker's fill is worse than the open: the spread, and the square root of its share of the volume."""
    slip, volume, sigma = terms.spread_N[n], bars.volume_N[t, n], bars.sigma_N[t, n]
    if terms.impact > 0.0 and volume > 0.0 and sigma > 0.0:
        slip += terms.impact * sigma * np.sqrt(abs(coins) * bars.open_N[t, n] / volume)
    return min(slip, MOST_SLIPPAGE)


@njit(cache=True, error_model="numpy")
def extreme(bars, t, n, is_low):
    """Lowest or highest price of a bar that has an open; never inside of open and close."""
    first = bars.open_N[t, n]
    last = bars.close_N[t, n] if is_price(bars.close_N[t, n]) else first
    if is_low:
        return min(first, last, bars.low_N[t, n]) if is_price(bars.low_N[t, n]) else min(first, last)
    return max(first, last, bars.high_N[t, n]) if is_price(bars.high_N[t, n]) else max(first, last)


@njit(inline="always", error_model="numpy")
def fill_one(book, bars, t, n, order, limit, terms, fills, note_TN):
    """Change of cash when one order meets the bar."""
    if not is_price(bars.open_N[t, n]):
        note_TN[t, n] |= notes.MISSED
        return 0.0
    is_maker = not np.isnan(limit)
    if is_maker and not (extreme(bars, t, n, True) < limit if order > 0.0 else extreme(bars, t, n, False) > limit):
        note_TN[t, n] |= notes.UNFILLED
        return 0.0
    coins = available(order, bars, t, n, terms, note_TN)
    if coins == 0.0:
        return 0.0
    if is_maker:
        return settle(book, fills, t, n, coins, limit, 0.0, terms.maker)
    return settle(book, fills, t, n, coins, bars.open_N[t, n], slippage(coins, bars, t, n, terms), terms.taker)


@njit(inline="always", error_model="numpy")
def fill(book, bars, t, terms, h):
    """Change of cash when the orders of bar t meet it, and delisted coins are settled."""
    cash = 0.0
    for n in range(len(book.quantity_N)):
        order, limit = h.order_TN[t, n], h.limit_TN[t, n]
        if bars.delisted_N[t, n]:
            h.order_TN[t, n] = 0.0
            if book.quantity_N[n] != 0.0:
                h.note_TN[t, n] |= notes.DELISTED
                cash += settle(book, h.fills, t, n, -book.quantity_N[n], book.price_N[n], terms.spread_N[n], terms.taker)
        elif order != 0.0:
            cash += fill_one(book, bars, t, n, order, limit, terms, h.fills, h.note_TN)
        rest = h.order_TN[t, n] - h.fills.traded_N[t, n]
        is_left = terms.is_carried and rest != 0.0 and not bars.delisted_N[t, n]
        book.rest_N[n], book.limit_N[n] = (rest, limit) if is_left else (0.0, np.nan)
    return cash


@njit(inline="always", error_model="numpy")
def margin_met(cash, book, bars, t, terms, to_worst):
    """How far from the open (0) to the worst of the bar (1) the equity falls to the maintenance margin; 2 = it does not."""
    at_open, at_worst, needed = cash, cash, 0.0
    for n in range(len(book.quantity_N)):
        q = book.quantity_N[n]
        if q != 0.0:
            has_bar = is_price(bars.open_N[t, n])
            first = bars.open_N[t, n] if has_bar else book.price_N[n]
            last = extreme(bars, t, n, q > 0.0) if has_bar and to_worst else first
            needed += terms.maintenance_N[n] * abs(q)
            at_open += (q - terms.maintenance_N[n] * abs(q)) * first
            at_worst += (q - terms.maintenance_N[n] * abs(q)) * last
    if needed == 0.0 or (at_open > 0.0 and at_worst > 0.0):
        return 2.0
    return 0.0 if at_open <= 0.0 else at_open / (at_open - at_worst)


@njit(inline="always", error_model="numpy")
def liquidate(cash, book, bars, t, terms, to_worst, h):
    """(change of cash, whether liquidated): closes every coin that has a bar, at the prices where the margin was met."""
    share, change = margin_met(cash, book, bars, t, terms, to_worst), 0.0
    if share > 1.0:
        return change, False
    for n in range(len(book.quantity_N)):
        q = book.quantity_N[n]
        book.rest_N[n], book.limit_N[n] = 0.0, np.nan
        if q != 0.0 and is_price(bars.open_N[t, n]):
            first = bars.open_N[t, n]
            last = extreme(bars, t, n, q > 0.0) if to_worst else first
            slip = slippage(q, bars, t, n, terms)
            change += settle(book, h.forced, t, n, -q, first + share * (last - first), slip, terms.liquidation)
            h.note_TN[t, n] |= notes.LIQUIDATED
    return change, True


@njit(inline="always", error_model="numpy")
def mark(book, bars, t, note_TN):
    """Last known prices as of the bar's close; notes prices that cannot be."""
    for n in range(len(book.price_N)):
        first, last = bars.open_N[t, n], bars.close_N[t, n]
        if is_price(last):
            book.price_N[n] = last
        if not (np.isnan(first) or is_price(first)) or not (np.isnan(last) or is_price(last)):
            note_TN[t, n] |= notes.BAD_PRICE


@njit(cache=True, error_model="numpy")
def no_fills(T, N):
    """Room for the fills of T bars."""
    return Fills(np.zeros((T, N)), np.full((T, N), np.nan), np.zeros((T, N)), np.zeros((T, N)), np.zeros((T, N)))


@njit(inline="always", error_model="numpy")
def record(book, cash, h, t):
    """Write what the account holds at the close of bar t."""
    h.cash_T[t] = cash
    for n in range(len(book.quantity_N)):
        h.quantity_TN[t, n], h.price_TN[t, n] = book.quantity_N[n], book.price_N[n]


@njit(cache=True, error_model="numpy")
def run(account, bars, target_TN, band_T, is_coins, is_maker, killed_T, terms, bounds):
    """(account at the end, History) of every bar in turn. `bars`: a Bar of `[T, N]` arrays and `[T]` ts."""
    T, N = target_TN.shape
    held = (account.quantity_N.copy(), account.price_N.copy(), account.basis_N.copy())
    scratch = (np.zeros(N), np.zeros(N), np.zeros(N), np.zeros(N), np.zeros(N), np.zeros(N, np.bool_))
    book = Book(*held, account.rest_N.copy(), account.limit_N.copy(), *scratch)
    orders = (np.zeros((T, N)), np.full((T, N), np.nan))
    funding_TN, note_TN = np.zeros((T, N)), np.zeros((T, N), np.int64)
    h = History(np.zeros(T), np.zeros((T, N)), np.zeros((T, N)), *orders, no_fills(T, N), no_fills(T, N), funding_TN, note_TN)
    cash, clock, day, day_equity, peak, is_stopped = (
        account.cash, account.clock, account.day, account.day_equity, account.peak, account.is_stopped
    )  # fmt: skip
    for t in range(T):
        if bars.ts[t] <= clock:
            h.note_TN[t] = notes.STALE_BAR
            record(book, cash, h, t)
            continue
        clock = bars.ts[t]
        equity = worth(cash, book.quantity_N, book.price_N)
        if clock // DAY_US != day:
            day, day_equity, is_stopped = clock // DAY_US, equity, False
        is_stopped = is_stopped or equity <= day_equity * (1.0 - bounds.daily_loss)
        peak = max(peak, equity)
        scale, why = brake(equity, peak, is_stopped, killed_T[t], bounds)
        cash -= pay_funding(book, bars, t, h.funding_TN)
        change, is_liquidated = liquidate(cash, book, bars, t, terms, False, h)
        cash += change
        if not is_liquidated:
            decide(book, equity, bars, t, target_TN, band_T[t], is_coins, is_maker, terms, bounds, scale, why, h)
            cash += fill(book, bars, t, terms, h)
            change, is_liquidated = liquidate(cash, book, bars, t, terms, True, h)
            cash += change
        mark(book, bars, t, h.note_TN)
        record(book, cash, h, t)
    after = Account(
        cash, book.quantity_N, book.price_N, book.basis_N, book.rest_N, book.limit_N, clock, day, day_equity, peak, is_stopped
    )
    return after, h


def step(account: Account, bar: Bar, orders: Orders, terms: Terms, bounds: Bounds) -> tuple[Account, Flows]:
    """One bar: (account at its close, flows). Pure: no argument is changed."""
    bars = Bar(np.array([bar.ts]), *(x[None] for x in bar[1:]))  # type: ignore[arg-type]
    band_T, killed_T = np.array([orders.band]), np.array([orders.is_killed])
    target_TN = orders.target_N[None]
    after, h = run(account, bars, target_TN, band_T, orders.is_coins, orders.is_maker, killed_T, terms, bounds)
    fills, forced = (Fills(*(x[0] for x in f)) for f in (h.fills, h.forced))
    return after, Flows(h.order_TN[0], h.limit_TN[0], fills, forced, h.funding_TN[0], h.note_TN[0])


def equity_of(account: Account) -> float:
    """Cash plus positions at the last known price, USD."""
    held = account.quantity_N != 0.0
    return float(account.cash + (account.quantity_N[held] * account.price_N[held]).sum())
