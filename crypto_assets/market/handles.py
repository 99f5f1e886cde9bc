"""What a coin is called where people talk, read and write code about it: subreddit, Wikipedia article, repositories, search.

A coin without an entry, or with None in it, is left out by the sources that need that name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from crypto_assets.market.coins import Coin


@dataclass(frozen=True)
class Handles:
    """The names of one coin."""

    subreddit: str
    article: str | None
    """Title in the English Wikipedia, with underscores. Views of a former title are counted under that title."""
    repos: tuple[str, ...]
    """`owner/name` at GitHub, of the protocol itself."""
    search: str
    """Words for a search engine; a name that means other things too has `crypto` beside it."""


HANDLES: dict[str, Handles] = {
    "BTC": Handles("Bitcoin", "Bitcoin", ("bitcoin/bitcoin",), "bitcoin"),
    "ETH": Handles("ethereum", "Ethereum", ("ethereum/go-ethereum", "ethereum/execution-specs"), "ethereum"),
    "BNB": Handles("bnbchainofficial", None, ("bnb-chain/bsc",), "bnb crypto"),
    "SOL": Handles("solana", "Solana_(blockchain_platform)", ("anza-xyz/agave",), "solana"),
    "XRP": Handles("XRP", "XRP_Ledger", ("XRPLF/rippled",), "xrp"),
    "ADA": Handles("cardano", "Cardano_(blockchain_platform)", ("IntersectMBO/cardano-node",), "cardano"),
    "DOGE": Handles("dogecoin", "Dogecoin", ("dogecoin/dogecoin",), "dogecoin"),
    "LINK": Handles("Chainlink", "Chainlink_(blockchain_oracle)", ("smartcontractkit/chainlink",), "chainlink"),
    "DOT": Handles("Polkadot", "Polkadot_(blockchain_platform)", ("paritytech/polkadot-sdk",), "polkadot crypto"),
    "LTC": Handles("litecoin", "Litecoin", ("litecoin-project/litecoin",), "litecoin"),
    "BCH": Handles("Bitcoincash", "Bitcoin_Cash", ("bitcoin-cash-node/bitcoin-cash-node",), "bitcoin cash"),
    "TRX": Handles("Tronix", "Tron_(blockchain)", ("tronprotocol/java-tron",), "tron crypto"),
    "ATOM": Handles("cosmosnetwork", "Cosmos_(blockchain)", ("cosmos/cosmos-sdk",), "cosmos crypto"),
    "FIL": Handles("filecoin", "Filecoin", ("filecoin-project/lotus",), "filecoin"),
    "THETA": Handles("theta_network", None, ("thetatoken/theta-protocol-ledger",), "theta crypto"),
    "NEAR": Handles("nearprotocol", "NEAR_Protocol", ("near/nearcore",), "near protocol"),
    "POL": Handles("0xPolygon", "Polygon_(blockchain)", ("0xPolygon/bor",), "polygon crypto"),
    "UNI": Handles("UniSwap", "Uniswap", ("Uniswap/v4-core", "Uniswap/interface"), "uniswap"),
}
"""The coins of the default universe and those with imported history."""


def known(coins: Iterable[Coin]) -> list[tuple[Coin, Handles]]:
    """The coins that have an entry, with it."""
    return [(coin, HANDLES[coin.symbol]) for coin in coins if coin.symbol in HANDLES]
