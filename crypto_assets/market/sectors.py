"""What each coin is for: the sector whose coins tend to move together."""

from __future__ import annotations

_COINS = {
    "money": "BTC LTC BCH XRP XLM DOGE DASH XMR ZEC",
    "platform": "ETH BNB SOL ADA DOT AVAX ATOM NEAR TRX ETC ALGO XTZ VET EOS APT SUI",
    "scaling": "POL ARB OP",
    "defi": "UNI AAVE MKR SUSHI",
    "service": "LINK FIL THETA",
}
"""Payment and store of value; platforms for contracts; chains on top of Ethereum; exchanges and lending; data, storage,
video."""

SECTORS: dict[str, str] = {symbol: sector for sector, symbols in _COINS.items() for symbol in symbols.split()}
"""Coin -> its sector, by what its own token pays for."""
