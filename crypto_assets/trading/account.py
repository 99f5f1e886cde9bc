"""What one step of an account takes and gives: state, bar, orders, terms, limits, flows. Plain tuples of numbers and arrays.

Shapes: N coins, in one order that all of them share. Prices in USD, quantities in coins (negative = short), `ts` in
microseconds since 1970. `run` takes the same tuples with `[T, N]` arrays. `dump` and `load` carry a state across a restart
without the loss of a bit, so a paper account needs nothing but this state and the bars to come.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from crypto_assets.market.errors import SchemaError, SettingsError
from crypto_assets.market.sectors import SECTORS

NEVER = -(2**62)
"""`ts` of an account that has seen no bar."""

GROSS, NET, COIN, SECTOR, TRADE_RISK, PORTFOLIO_RISK, BRAKE, DAILY_LOSS, KILLED = (1 << i for i in range(9))
SMALL, LARGE, PARTIAL, MISSED, UNFILLED, LIQUIDATED, DELISTED, STALE_BAR, BAD_PRICE, UNLISTED, BANDED, NO_EQUITY = (
    1 << i for i in range(9, 21)
)
NOTES: dict[int, str] = {
    GROSS: "gross exposure",
    NET: "net exposure",
    COIN: "coin cap",
    SECTOR: "sector cap",
    TRADE_RISK: "risk per trade",
    PORTFOLIO_RISK: "portfolio risk",
    BRAKE: "drawdown brake",
    DAILY_LOSS: "daily loss stop",
    KILLED: "kill switch",
    SMALL: "below the smallest order",
    LARGE: "above the largest order",
    PARTIAL: "share of volume",
    MISSED: "no bar",
    UNFILLED: "limit not reached",
    LIQUIDATED: "liquidation",
    DELISTED: "delisting",
    STALE_BAR: "bar not newer than the account",
    BAD_PRICE: "price not positive",
    UNLISTED: "coin without a price",
    BANDED: "inside the no-trade band",
    NO_EQUITY: "no equity left",
}
"""What `note_N` can say about a coin in a bar, as bits; several at once are possible."""


class Account(NamedTuple):
    """State between two bars.

    `price_N`: last known price, NaN = not yet listed; `basis_N`: average entry price, its fee included; `rest_N`: signed
    coins of the order that still rests, `limit_N` its limit, NaN = at market; `clock`: ts of the last bar; `day`,
    `day_equity`: the UTC day and the equity it began with; `peak`: highest equity at a close; `is_stopped`: the daily loss
    stop holds until midnight.
    """

    cash: float
    quantity_N: np.ndarray
    price_N: np.ndarray
    basis_N: np.ndarray
    rest_N: np.ndarray
    limit_N: np.ndarray
    clock: int
    day: int
    day_equity: float
    peak: float
    is_stopped: bool


class Bar(NamedTuple):
    """What the market did in the bar that opens at `ts`. A price that is NaN, not finite or not positive = no bar.

    `high_N`, `low_N`: NaN = no further than open and close; `volume_N`: traded value, USD, NaN = unknown; `sigma_N`: volatility
    of a bar's log return as known at `ts`, NaN = unknown; `rate_N`: funding rate settled at the open, 0 = none; `mark_N`: its
    mark price, NaN = last price; `delisted_N`: the coin has stopped trading for good.
    """

    ts: int
    open_N: np.ndarray
    high_N: np.ndarray
    low_N: np.ndarray
    close_N: np.ndarray
    volume_N: np.ndarray
    sigma_N: np.ndarray
    rate_N: np.ndarray
    mark_N: np.ndarray
    delisted_N: np.ndarray


class Orders(NamedTuple):
    """What the strategy wants of this bar. `target_N`: positions as fractions of equity (or coins, when `is_coins`), NaN =
    leave alone; `band`: smallest change worth a trade, a fraction of equity; `is_maker`: rest at the last close instead of
    taking the next open; `is_killed`: the kill switch is on: close everything.
    """

    target_N: np.ndarray
    band: float
    is_coins: bool
    is_maker: bool
    is_killed: bool


class Terms(NamedTuple):
    """What the venue demands. Fractions of the traded value: `taker`, `maker`, `liquidation` fees and `spread_N`, the part of
    a taker's slippage that does not grow with size. `impact`: coefficient of the square-root law. `participation`: largest
    share of a bar's volume. `is_carried`: what is left of an order waits for the next bar instead of being cancelled.
    `lot_N`: step of a quantity, 0 = none; `least_N`, `most_N`: USD an order must and may have; `maintenance_N`: margin that a
    position needs, a fraction of its value; all 0 = no liquidation.
    """

    taker: float
    maker: float
    liquidation: float
    impact: float
    participation: float
    is_carried: bool
    spread_N: np.ndarray
    lot_N: np.ndarray
    least_N: np.ndarray
    most_N: np.ndarray
    maintenance_N: np.ndarray


class Bounds(NamedTuple):
    """Limits as numbers, infinite = off (`limits.Limits` has their meaning). `sector_N`: index of each coin's sector."""

    gross: float
    net: float
    sector: float
    trade_risk: float
    portfolio_risk: float
    brake_from: float
    brake_at: float
    brake_floor: float
    daily_loss: float
    coin_N: np.ndarray
    sector_N: np.ndarray


class Fills(NamedTuple):
    """Fills of a bar: signed coins, the price before slippage (NaN = no fill), and USD."""

    traded_N: np.ndarray
    reference_N: np.ndarray
    fee_N: np.ndarray
    slippage_N: np.ndarray
    realised_N: np.ndarray


class Flows(NamedTuple):
    """What happened in the bar. `order_N`: signed coins that were sent, after all limits; `limit_N`: their limit price, NaN =
    at market; `fills` answers them (and settles delisted coins); `forced`: the liquidation; `funding_N`: USD paid; `note_N`:
    bits of NOTES.
    """

    order_N: np.ndarray
    limit_N: np.ndarray
    fills: Fills
    forced: Fills
    funding_N: np.ndarray
    note_N: np.ndarray


def opened(capital: float, price_N: np.ndarray) -> Account:
    """A new account: `capital` in cash, no position, last prices `price_N` (NaN = not yet listed)."""
    N, cash = len(price_N), float(capital)
    nothing = [np.zeros(N) for _ in range(3)]
    price = np.array(price_N, dtype=np.float64)
    return Account(cash, nothing[0], price, nothing[1], nothing[2], np.full(N, np.nan), NEVER, NEVER, cash, cash, False)


def each(value: float | np.ndarray | Sequence[float], coins: int) -> np.ndarray:
    """`value` for every coin, `[N]` float64."""
    return np.ascontiguousarray(np.broadcast_to(np.asarray(value, dtype=np.float64), coins).copy())


def terms(
    coins: int,
    *,
    taker: float = 0.0,
    maker: float = 0.0,
    spread: float | np.ndarray = 0.0,
    impact: float = 0.0,
    participation: float = np.inf,
    is_carried: bool = False,
    lot: float | np.ndarray = 0.0,
    least: float | np.ndarray = 0.0,
    most: float | np.ndarray = np.inf,
    maintenance: float | np.ndarray = 0.0,
    liquidation: float = 0.0,
) -> Terms:
    """Terms for `coins` coins; per-coin values are one number or `[N]`. The default is free and without friction.

    Raises SettingsError for a value that is negative or not a number.
    """
    scalars = {"taker": taker, "maker": maker, "liquidation": liquidation, "impact": impact, "participation": participation}
    arrays = {"spread": spread, "lot": lot, "least": least, "most": most, "maintenance": maintenance}
    for name, value in {**scalars, **arrays}.items():
        if not (np.asarray(value) >= 0).all():
            raise SettingsError(f"terms: {name} must be at least 0, was {value!r}")
    rates = (float(taker), float(maker), float(liquidation), float(impact), float(participation))
    per_coin = [each(value, coins) for value in arrays.values()]
    return Terms(*rates, bool(is_carried), *per_coin)


def bounds(
    symbols: Sequence[str],
    *,
    gross: float = np.inf,
    net: float = np.inf,
    coin: float | np.ndarray = np.inf,
    sector: float = np.inf,
    trade_risk: float = np.inf,
    portfolio_risk: float = np.inf,
    brake_from: float = np.inf,
    brake_at: float = np.inf,
    brake_floor: float = 0.0,
    daily_loss: float = np.inf,
) -> Bounds:
    """Bounds for `symbols`, off unless given; a coin of no known sector is a sector of its own."""
    names = [SECTORS.get(symbol, f"only {symbol}") for symbol in symbols]
    index = {name: i for i, name in enumerate(dict.fromkeys(names))}
    sector_N = np.array([index[name] for name in names], dtype=np.int64)
    return Bounds(
        float(gross),
        float(net),
        float(sector),
        float(trade_risk),
        float(portfolio_risk),
        float(brake_from),
        float(brake_at),
        float(brake_floor),
        float(daily_loss),
        each(coin, len(symbols)),
        sector_N,
    )


def targets(target_N: np.ndarray | Sequence[float], band: float = 0.0, *, is_coins: bool = False, is_maker: bool = False,
            is_killed: bool = False) -> Orders:  # fmt: skip
    """Orders of one bar."""
    return Orders(np.array(target_N, dtype=np.float64), float(band), bool(is_coins), bool(is_maker), bool(is_killed))


def bar(
    ts: int,
    open_N: np.ndarray | Sequence[float],
    close_N: np.ndarray | Sequence[float],
    *,
    high: float | np.ndarray | Sequence[float] = np.nan,
    low: float | np.ndarray | Sequence[float] = np.nan,
    volume: float | np.ndarray | Sequence[float] = np.nan,
    sigma: float | np.ndarray | Sequence[float] = np.nan,
    rate: float | np.ndarray | Sequence[float] = 0.0,
    mark: float | np.ndarray | Sequence[float] = np.nan,
    delisted: bool | np.ndarray | Sequence[bool] = False,
) -> Bar:
    """One bar; everything but open and close may be left unknown, or given once for all coins."""
    N = len(open_N)
    ended = np.broadcast_to(np.asarray(delisted, dtype=np.bool_), N).copy()
    opens, highs, lows, closes = (each(x, N) for x in (open_N, high, low, close_N))
    return Bar(int(ts), opens, highs, lows, closes, each(volume, N), each(sigma, N), each(rate, N), each(mark, N), ended)


def dump(account: Account, symbols: Sequence[str]) -> str:
    """The state as one line of JSON; `load` gives it back to the last bit."""
    plain: dict[str, Any] = {"symbols": list(symbols)}
    for name, value in account._asdict().items():
        plain[name] = [None if np.isnan(x) else float(x) for x in value] if isinstance(value, np.ndarray) else value
    return json.dumps(plain)


def load(text: str, symbols: Sequence[str]) -> Account:
    """The state that `dump` wrote, in the order of `symbols`; a coin it does not know is one without a position.

    Raises SchemaError when the text is no state, or when a coin that is held or ordered is not among `symbols`.
    """
    try:
        plain = json.loads(text)
        known: list[str] = plain.pop("symbols")
        lists = {k: np.array([np.nan if x is None else x for x in v]) for k, v in plain.items() if isinstance(v, list)}
        state = Account(**{**plain, **lists})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SchemaError(f"not the state of an account ({error}): expected what account.dump wrote") from error
    gone = [s for i, s in enumerate(known) if s not in symbols and (state.quantity_N[i] or state.rest_N[i])]
    if gone:
        raise SchemaError(f"the account holds or orders {gone}, which are not among its coins {list(symbols)}: keep them")
    fresh = opened(0.0, np.full(len(symbols), np.nan))
    arrays = {}
    for name in lists:
        values = getattr(fresh, name)
        for i, symbol in enumerate(known):
            if symbol in symbols:
                values[list(symbols).index(symbol)] = lists[name][i]
        arrays[name] = values
    return state._replace(**arrays)
