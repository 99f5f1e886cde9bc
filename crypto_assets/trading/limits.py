"""What an account may never do, whatever its strategy asks: limits on exposure and risk, brakes, the kill switch.

The engine applies them inside its step, so backtest and paper obey the same ones, and notes each that bites
(`account.NOTES`). A limit shrinks targets; only the brakes and the switch close what is held. Limits act on targets, before the
no-trade band: a position that has drifted over a limit by less than the band waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from crypto_assets.market.errors import SettingsError
from crypto_assets.trading.account import Bounds, bounds

OFF = float("inf")
KILL_FILE = "KILL"


@dataclass(frozen=True)
class Limits:
    """Fractions of equity unless said otherwise; infinite = off.

    `gross`, `net`: sum of absolute and of signed positions. `coin`, `sector`: absolute positions in one coin, in the coins of
    one sector (`market/sectors.py`). `risk_per_trade`: what one position may lose, `portfolio_risk` what all together may, on
    an adverse move of two standard deviations over 24 bars, as if all came at once. `brake_from`, `brake_at`: drawdown at
    which targets begin to shrink and at which they are down to `brake_floor` of themselves. `daily_loss`: loss since midnight
    UTC after which everything is closed until the next midnight. Raises SettingsError for a limit that is not positive, or a
    brake whose end is not above its beginning.
    """

    gross: float = 1.0
    net: float = OFF
    coin: float = OFF
    sector: float = OFF
    risk_per_trade: float = OFF
    portfolio_risk: float = OFF
    brake_from: float = OFF
    brake_at: float = OFF
    brake_floor: float = 0.25
    daily_loss: float = OFF

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if not value > 0 and not (f.name == "brake_floor" and value == 0):
                raise SettingsError(f"limit {f.name} must be above 0 (infinite = off), was {value!r}")
        if self.brake_floor > 1:
            raise SettingsError(f"limit brake_floor must be a fraction of the targets, was {self.brake_floor!r}")
        if self.brake_from < OFF and not self.brake_from < self.brake_at < 1:
            raise SettingsError(f"limit brake_at {self.brake_at!r} must lie above brake_from {self.brake_from!r} and below 1")

    def bounds(self, symbols: Sequence[str]) -> Bounds:
        """The numbers that the engine works with."""
        return bounds(
            symbols,
            gross=self.gross,
            net=self.net,
            coin=self.coin,
            sector=self.sector,
            trade_risk=self.risk_per_trade,
            portfolio_risk=self.portfolio_risk,
            brake_from=self.brake_from,
            brake_at=self.brake_at,
            brake_floor=self.brake_floor,
            daily_loss=self.daily_loss,
        )


NO_LEVERAGE = Limits()
"""Positions sum to at most the equity; nothing else. What reports are made with."""
PRUDENT = Limits(
    net=0.5, coin=0.25, sector=0.6, risk_per_trade=0.02, portfolio_risk=0.10, brake_from=0.10, brake_at=0.30, daily_loss=0.05
)
"""The seed's 2 % a trade and 10 % for all, with caps and brakes: for accounts that nobody watches."""


def is_killed(lake: Path, setting: bool = False) -> bool:
    """Whether the kill switch is on: the setting, or a file named KILL in the lake, whatever it holds."""
    return setting or (lake / KILL_FILE).exists()
