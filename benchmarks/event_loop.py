"""One account bar by bar, against nautilus_trader: the same money, and at least 50 times the bars a second?

    python benchmarks/event_loop.py [--repeats 3]

100,000 one-minute bars of one perpetual, long or short one coin by the side of two moving averages (about 8,800 orders, each
to the other side), market orders, the venue's taker fee, no funding. nautilus_trader fills a market order that is sent on a
bar's close at that close, ours at the next open; the bars are made so that these are one price, which leaves nothing to
explain but rounding: the peer keeps money to eight decimals. It also simulates messages, order states and accounts that ours
does not have, and could trade ticks and books. Ours is timed as the bare run and with all tables (equity, trades, orders).
CPU seconds of the run, one thread.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from _peer import limited, python_with, run
from _record import keep, median, require

from crypto_assets.trading import account as a
from crypto_assets.trading import engine, statements
from crypto_assets.trading.grid import Market

BARS, FAST, SLOW, CAPITAL = 100_000, 4, 10, 1_000_000.0
MINUTE_US = 60_000_000

PEER = """
from decimal import Decimal
import nautilus_trader
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy

instrument = TestInstrumentProvider.btcusdt_perp_binance()
kind = BarType.from_str(f"{instrument.id}-1-MINUTE-LAST-EXTERNAL")
side = data["side"]

class Follow(Strategy):
    def on_start(self):
        self.i, self.held = 0, 0
        self.subscribe_bars(kind)

    def on_bar(self, bar):
        wanted = int(side[self.i])
        self.i += 1
        if wanted != self.held:
            change = wanted - self.held
            self.held = wanted
            self.submit_order(self.order_factory.market(
                instrument.id, OrderSide.BUY if change > 0 else OrderSide.SELL, instrument.make_qty(abs(change))))

def once():
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), run_analysis=False))
    engine.add_venue(Venue("BINANCE"), OmsType.NETTING, AccountType.MARGIN, [Money(float(data["capital"]), USDT)],
                     default_leverage=Decimal(20))
    engine.add_instrument(instrument)
    p = instrument.price_precision
    size = Quantity(1_000_000, instrument.size_precision)
    bars = []
    for t, o, h, l, c in zip(data["close_ns"].tolist(), data["open"].tolist(), data["high"].tolist(), data["low"].tolist(),
                             data["close"].tolist()):
        bars.append(Bar(kind, Price(o, p), Price(h, p), Price(l, p), Price(c, p), size, t, t))
    engine.add_data(bars)
    engine.add_strategy(Follow(StrategyConfig(strategy_id="F-1")))
    c, w = time.process_time(), time.perf_counter()
    engine.run()
    spent = time.process_time() - c, time.perf_counter() - w
    account = engine.cache.account_for_venue(Venue("BINANCE"))
    balance = account.balance_total(USDT).as_double()
    open_ = sum(float(x.unrealized_pnl(Price(float(data["close"][-1]), p)).as_double()) for x in engine.cache.positions_open())
    fees = sum(m.as_double() for o in engine.cache.orders() for m in o.commissions())
    found = {"orders": engine.cache.orders_total_count(), "equity_usd": balance + open_, "fees_usd": fees}
    engine.dispose()
    return spent, found

runs = [once() for _ in range(int(data["repeats"]))]
result = {"cpu": [r[0][0] for r in runs], "wall": [r[0][1] for r in runs], "found": runs[-1][1],
          "taker": float(instrument.taker_fee), "tick": instrument.price_precision, "version": nautilus_trader.__version__}
"""


def average(x: np.ndarray, span: int) -> np.ndarray:
    """Exponential moving average."""
    out, decay = np.empty_like(x), 2 / (span + 1)
    last = x[0]
    for i, value in enumerate(x):
        last += decay * (value - last)
        out[i] = last
    return out


def market_of_minutes() -> tuple[Market, np.ndarray]:
    """Bars that open where the last one closed, on a tick of 0.1, and the side (-1, 1) wanted at each close."""
    rng = np.random.default_rng(0)
    close = np.round(30_000 * np.exp(np.cumsum(rng.normal(0, 0.0006, BARS))), 1)
    opens = np.append(close[:1], close[:-1])
    high = np.round(np.maximum(opens, close) + rng.integers(0, 50, BARS) / 10, 1)
    low = np.round(np.minimum(opens, close) - rng.integers(0, 50, BARS) / 10, 1)
    side = np.where(average(close, FAST) > average(close, SLOW), 1, -1).astype(np.int8)
    blank = np.full((BARS, 1), np.nan)
    ts = (MINUTE_US * (1_000_000 + np.arange(BARS))).astype("datetime64[us]")
    column = [x[:, None].copy() for x in (opens, high, low, close)]
    return Market(ts, ("BTC",), *column, blank, np.zeros((BARS, 1)), blank, np.zeros((BARS, 1), bool)), side


def ours(grid: Market, side: np.ndarray, taker: float) -> tuple[a.Account, engine.History]:
    """The run: what was wanted at a close is the target of the next bar."""
    target = np.append(np.nan, side[:-1]).astype(np.float64)[:, None]
    blank, never = np.full((BARS, 1), np.nan), np.zeros(BARS, bool)
    bars = a.Bar(
        grid.ts_T.astype("int64"), grid.open_TN, grid.high_TN, grid.low_TN, grid.close_TN, blank, blank, grid.rate_TN, blank,
        grid.delisted_TN,
    )  # type: ignore[arg-type]  # fmt: skip
    first = a.opened(CAPITAL, grid.open_TN[0])
    terms, bounds = a.terms(1, taker=taker, maintenance=0.01), a.bounds(["BTC"], gross=20.0)
    return engine.run(first, bars, target, np.zeros(BARS), True, False, never, terms, bounds)


def tables(grid: Market, h: engine.History) -> int:
    """All tables of the account; rows."""
    made = (
        statements.equity(grid, h, CAPITAL, "m", "s"),
        statements.trades(grid, h, "m", "s"),
        statements.orders(grid, h, "m", "s"),
    )
    return sum(len(t) for t in made)


def speed(own: float, peer: float) -> dict[str, float]:
    """Seconds, bars a second, and how many times the peer's."""
    return {"cpu_s": own, "bars_per_s": round(BARS / own), "times_faster": round(peer / own, 1)}


def main() -> None:
    """Parity, then both in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    limited()
    grid, side = market_of_minutes()
    python = python_with("nautilus", "nautilus_trader==1.221.0")
    close_ns = (grid.ts_T.astype("int64") + MINUTE_US) * 1000
    data = {
        "open": grid.open_TN[:, 0], "high": grid.high_TN[:, 0], "low": grid.low_TN[:, 0], "close": grid.close_TN[:, 0],
        "close_ns": close_ns, "side": side, "capital": np.array(CAPITAL), "repeats": np.array(1),
    }  # fmt: skip
    side[-1] = side[-2]  # an order on the last close would fill there with the peer, and not at all with ours
    peers: list[dict[str, Any]] = []
    bare, full = [], []
    ours(grid, side, 1e-4)
    for _ in range(repeats):
        peers.append(run(python, PEER, data)[0])
        c = time.process_time()
        end, h = ours(grid, side, peers[-1]["taker"])
        bare.append(time.process_time() - c)
        tables(grid, h)
        full.append(time.process_time() - c)
    theirs = peers[-1]["found"]
    own = {
        "orders": int((h.order_TN != 0).sum()),
        "equity_usd": engine.equity_of(end),
        "fees_usd": float(h.fills.fee_N.sum()),
    }
    parity = {key: {"ours": own[key], "nautilus": theirs[key], "difference": own[key] - theirs[key]} for key in own}
    require(own["orders"] == theirs["orders"], f"orders differ: {parity}")
    require(abs(parity["equity_usd"]["difference"]) < 0.01, f"equity differs by more than a cent: {parity}")
    cpu = median([x for p in peers for x in p["cpu"]])
    keep(
        "event_loop",
        {
            "bars": BARS,
            "parity": parity,
            "nautilus_trader": {"version": peers[-1]["version"], "cpu_s": cpu, "bars_per_s": round(BARS / cpu)},
            "run": speed(median(bare), cpu),
            "run_and_tables": speed(median(full), cpu),
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
