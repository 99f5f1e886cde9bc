"""The coins: our own symbol, when each was listed and delisted, and its name at every provider.

A coin that changed its name keeps one symbol here (POL, once MATIC), with the day of the change, so that survivorship and
renames are data and not folklore.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date

from crypto_assets.market.errors import SettingsError

DEFAULT_SYMBOLS = ("BTC", "ETH", "ADA", "SOL", "POL", "DOT", "LINK", "UNI")


@dataclass(frozen=True)
class Coin:
    """One coin. `names` holds only what differs from the rule of the provider (see `name_at`)."""

    symbol: str
    name: str
    listed: date
    delisted: date | None = None
    former: tuple[tuple[str, date], ...] = ()
    """Former symbols, each with the first day on which it no longer held."""
    names: dict[str, str] = field(default_factory=dict, hash=False)
    words: tuple[str, ...] = ()
    """Further words that mean this coin in a text."""

    def symbol_on(self, day: date) -> str:
        """The symbol exchanges used on `day`."""
        for symbol, until in self.former:
            if day < until:
                return symbol
        return self.symbol

    def name_at(self, provider: str, day: date | None = None) -> str:
        """What `provider` calls this coin (on `day`, where renames matter)."""
        if provider in self.names:
            return self.names[provider]
        base = self.symbol if day is None else self.symbol_on(day)
        rules = {
            "binance_spot": f"{base}/USDT",
            "binance_futures": f"{base}/USDT:USDT",
            "coinmetrics": base.lower(),
            "coingecko": self.name.lower().replace(" ", "-"),
            "santiment": self.name.lower().replace(" ", "-"),
        }
        return rules.get(provider, base)

    def is_listed(self, day: date) -> bool:
        """Whether the coin trades on `day`."""
        return self.listed <= day and (self.delisted is None or day < self.delisted)


def _coin(symbol: str, name: str, listed: str, *words: str, **more) -> Coin:
    return Coin(symbol, name, date.fromisoformat(listed), words=(name.lower(), *words), **more)


# `listed` is the first full day of the USDT perpetual at Binance, which is what is traded here.
COINS: dict[str, Coin] = {
    c.symbol: c
    for c in (
        _coin("BTC", "Bitcoin", "2019-09-09", "bitcoin", "xbt"),
        _coin("ETH", "Ethereum", "2019-11-28", "ether"),
        _coin("BNB", "BNB", "2020-02-11", "binance coin", names={"coingecko": "binancecoin", "santiment": "binance-coin"}),
        _coin("SOL", "Solana", "2020-09-15"),
        _coin("XRP", "XRP", "2020-01-07", "ripple", names={"coingecko": "ripple"}),
        _coin("ADA", "Cardano", "2020-02-01"),
        _coin("DOGE", "Dogecoin", "2020-07-11"),
        _coin("LINK", "Chainlink", "2020-01-18"),
        _coin("DOT", "Polkadot", "2020-08-23", names={"santiment": "polkadot-new"}),
        _coin("LTC", "Litecoin", "2020-01-10"),
        _coin("BCH", "Bitcoin Cash", "2019-12-20"),
        _coin("TRX", "TRON", "2020-01-16"),
        _coin("ATOM", "Cosmos", "2020-02-08"),
        _coin("FIL", "Filecoin", "2020-10-17", names={"santiment": "file-coin"}),
        _coin("THETA", "Theta", "2020-06-03", names={"coingecko": "theta-token"}),
        _coin("NEAR", "NEAR", "2020-10-15", "near protocol", names={"santiment": "near-protocol"}),
        _coin("UNI", "Uniswap", "2020-09-18"),
        _coin("AAVE", "Aave", "2020-10-17"),
        _coin("AVAX", "Avalanche", "2020-09-24", names={"coingecko": "avalanche-2"}),
        _coin("XLM", "Stellar", "2020-01-21"),
        _coin("ETC", "Ethereum Classic", "2020-01-17"),
        _coin(
            "POL",
            "Polygon",
            "2020-10-23",
            "matic",
            former=(("MATIC", date(2024, 9, 10)),),
            names={"coinmetrics": "matic", "coingecko": "polygon-ecosystem-token", "santiment": "polygon-ecosystem-token"},
        ),
        _coin("ALGO", "Algorand", "2020-06-19"),
        _coin("XTZ", "Tezos", "2020-02-07"),
        _coin("VET", "VeChain", "2020-02-15"),
        _coin("ZEC", "Zcash", "2020-02-06"),
        _coin("DASH", "Dash", "2020-02-05"),
        _coin("XMR", "Monero", "2020-02-04"),
        _coin("EOS", "EOS", "2020-01-09"),
        _coin("MKR", "Maker", "2020-08-04"),
        _coin("SUSHI", "SushiSwap", "2020-09-02", names={"santiment": "sushi"}),
        _coin("APT", "Aptos", "2022-10-20"),
        _coin("ARB", "Arbitrum", "2023-03-24"),
        _coin("OP", "Optimism", "2022-06-02", names={"santiment": "optimism-ethereum"}),
        _coin("SUI", "Sui", "2023-05-04"),
    )
}

_QUOTES = ("USDT", "USDC", "BUSD", "USD", "PERP")


@dataclass(frozen=True)
class Universe:
    """An ordered choice of coins; every table's `symbol` is one of theirs."""

    coins: tuple[Coin, ...]

    @classmethod
    def of(cls, symbols: Iterable[str]) -> Universe:
        """The coins with these symbols. Raises SettingsError for an unknown or repeated one, naming near ones."""
        chosen: list[Coin] = []
        for symbol in symbols:
            if symbol not in COINS:
                near = difflib.get_close_matches(symbol.upper(), [*COINS, "MATIC"], n=3, cutoff=0.4)
                hint = f"; did you mean {' or '.join(near)}?" if near else ""
                if symbol == "MATIC":
                    hint = "; MATIC has been POL since 2024-09-10: write POL"
                raise SettingsError(f"unknown symbol {symbol!r}: known are {', '.join(COINS)}{hint}")
            if COINS[symbol] in chosen:
                raise SettingsError(f"symbol {symbol!r} is listed twice: name each coin once")
            chosen.append(COINS[symbol])
        if not chosen:
            raise SettingsError("the universe is empty: name at least one symbol, for example BTC")
        return cls(tuple(chosen))

    @property
    def symbols(self) -> tuple[str, ...]:
        """Our symbols, in order."""
        return tuple(c.symbol for c in self.coins)

    def __iter__(self) -> Iterator[Coin]:
        return iter(self.coins)

    def __len__(self) -> int:
        return len(self.coins)


def resolve(name: str) -> str | None:
    """Our symbol for a name any provider uses ("BTCUSDT", "BTC/USDT:USDT", "btc", "MATICUSDT", "bitcoin"), or None."""
    text = name.strip()
    upper = text.upper()
    candidates = [upper, upper.split("/")[0].split(":")[0], upper.split("-")[0].split("_")[0]]
    candidates += [upper[: -len(q)].rstrip("/-_") for q in _QUOTES if upper.endswith(q) and len(upper) > len(q)]
    for candidate in candidates:
        if candidate in COINS:
            return candidate
        for coin in COINS.values():
            if any(candidate == old for old, _ in coin.former):
                return coin.symbol
    lower = text.lower()
    for coin in COINS.values():
        if lower in {coin.name.lower(), coin.name_at("coingecko"), *coin.names.values(), *coin.words}:
            return coin.symbol
    return None
