"""What a venue demands beside its fees: margin, sizes of orders, how orders are sent. Named venues with their lowest fee tier.

Fees are those of an account without volume discount, as published by each venue in 2024 and 2025; they change, and yours may
differ: give your own `Costs`. Lots come from each venue's own listing of its contracts and are not kept here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from crypto_assets.market.errors import SettingsError
from crypto_assets.trading.account import Terms, terms
from crypto_assets.trading.costs import BPS, Costs


@dataclass(frozen=True)
class Rules:
    """How orders are sent and what the venue demands of them.

    `is_maker`: orders rest at the last close (docs/decisions/maker-fills.md) instead of taking the next open.
    `participation`: largest share of a bar's volume. `is_carried`: what is left of an order waits until the next decision
    about its coin, instead of being cancelled at the end of the bar. `maintenance`: margin a position needs, a fraction of
    its value; 0 = no liquidation. `liquidation_fee`: fraction of the value that a forced close costs. `least_usd`,
    `most_usd`: sizes of an order. `lots`: step of a quantity by symbol, none where a coin is missing. Raises SettingsError
    for a value out of its range.
    """

    is_maker: bool = False
    participation: float = float("inf")
    is_carried: bool = False
    maintenance: float = 0.0
    liquidation_fee: float = 0.0125
    least_usd: float = 0.0
    most_usd: float = float("inf")
    lots: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.participation > 0:
            raise SettingsError(f"participation must be a share above 0, was {self.participation!r}")
        for name in ("maintenance", "liquidation_fee"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingsError(f"{name} must be a fraction of at least 0 and below 1, was {getattr(self, name)!r}")
        if not 0 <= self.least_usd < self.most_usd:
            raise SettingsError(f"least_usd {self.least_usd!r} must lie below most_usd {self.most_usd!r}, and not below 0")

    def terms(self, symbols: Sequence[str], costs: Costs) -> Terms:
        """The numbers that the engine works with."""
        return terms(
            len(symbols),
            taker=costs.taker_fee_bps * BPS,
            maker=costs.maker_fee_bps * BPS,
            spread=costs.slippage_bps * BPS,
            impact=costs.impact,
            participation=self.participation,
            is_carried=self.is_carried,
            lot=np.array([self.lots.get(symbol, 0.0) for symbol in symbols]),
            least=self.least_usd,
            most=self.most_usd,
            maintenance=self.maintenance,
            liquidation=self.liquidation_fee,
        )


@dataclass(frozen=True)
class Venue:
    """A market place: what trading costs there, and its rules. `most_leverage`: what it lets an account of this size hold."""

    costs: Costs
    rules: Rules
    most_leverage: float


MARGIN = 0.01
"""Maintenance margin of the first tier: 0.4 to 1 % in the large coins, up to 2.5 % in small ones."""

VENUES: dict[str, Venue] = {
    "binance_usdm": Venue(Costs(5.0, 2.0, maker_fee_bps=2.0), Rules(maintenance=MARGIN, least_usd=5.0), 20.0),
    "bybit_linear": Venue(Costs(5.5, 2.0, maker_fee_bps=2.0), Rules(maintenance=MARGIN, least_usd=5.0), 20.0),
    "okx_swap": Venue(Costs(5.0, 2.0, maker_fee_bps=2.0), Rules(maintenance=MARGIN), 20.0),
    "hyperliquid": Venue(Costs(4.5, 2.0, maker_fee_bps=1.5), Rules(maintenance=MARGIN, least_usd=10.0), 20.0),
    "binance_spot": Venue(Costs(10.0, 2.0, is_funding_paid=False, maker_fee_bps=10.0), Rules(least_usd=5.0), 1.0),
    "kraken_spot": Venue(Costs(40.0, 2.0, is_funding_paid=False, maker_fee_bps=25.0), Rules(least_usd=5.0), 1.0),
    "coinbase_spot": Venue(Costs(60.0, 2.0, is_funding_paid=False, maker_fee_bps=40.0), Rules(least_usd=1.0), 1.0),
}


def venue(name: str) -> Venue:
    """A venue by its name. Raises SettingsError naming the ones there are."""
    if name not in VENUES:
        raise SettingsError(f"no venue {name!r}: choose one of {', '.join(VENUES)}, or give Costs and Rules of your own")
    return VENUES[name]
