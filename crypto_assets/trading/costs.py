"""What a trade costs, each figure with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from crypto_assets.market.errors import SettingsError

BPS = 1e-4


@dataclass(frozen=True)
class Costs:
    """Costs a side, in basis points of the traded value (1 bp = 0.01 %).

    `taker_fee_bps` 5: the taker fee of USD-M perpetuals at Binance without volume discount; an order at the next open takes.
    `slippage_bps` 2: half the spread plus impact. The spread of the large perpetuals is under 1 bp and of the smaller of the
    default coins 1-3 bp; orders of a 10,000 USD account stay inside the best level. Larger accounts need more.
    `maker_fee_bps` 2: the fee of an order that rested, at the same venue. `impact`: coefficient of the square-root law, added
    to the slippage (docs/decisions/square-root-impact.md); 0 = none, 1 is what studies find. `is_funding_paid`: whether open
    positions pay and receive the funding rate at each settlement; false for spot holdings. Raises SettingsError for a
    negative or non-finite cost.
    """

    taker_fee_bps: float = 5.0
    slippage_bps: float = 2.0
    is_funding_paid: bool = True
    maker_fee_bps: float = 2.0
    impact: float = 0.0

    def __post_init__(self) -> None:
        for name in ("taker_fee_bps", "slippage_bps", "maker_fee_bps", "impact"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise SettingsError(f"{name} must be a finite number of at least 0, was {value!r}")

    @property
    def side(self) -> float:
        """Fee and slippage of one side, as a fraction of the traded value."""
        return (self.taker_fee_bps + self.slippage_bps) * BPS

    @property
    def round_trip(self) -> float:
        """Fee and slippage of getting in and out again, as a fraction of the position."""
        return 2 * self.side

    def times(self, multiple: float) -> Costs:
        """Fees, slippage and impact `multiple` times as large; funding is the market's and stays."""
        names = ("taker_fee_bps", "slippage_bps", "maker_fee_bps", "impact")
        return replace(self, **{name: getattr(self, name) * multiple for name in names})


PERPETUAL = Costs()
SPOT_HOLDING = Costs(is_funding_paid=False)
"""Coins bought and kept: the same fee and slippage, no funding."""
