"""The gate: does a challenger become champion? A pure decision from paired daily losses of both on the same hours.

Both are out of sample on every hour that counts. The difference of their losses is averaged by day, because hours and coins of
a day share their luck, and tested one-sided at looks that are fixed beforehand: 14, 21 and 28 days of shadow. Looking
every day from the seventh to the 28th would promote 17 % of equal challengers at 5 %; here the looks share the allowed 5 %
equally (Bonferroni), and each uses exactly its first days, so when the gate is asked changes nothing. After the last look the
challenger has had its time. One that is plainly worse is refused at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from crypto_assets.evaluation.statistics import clustered_ratio
from crypto_assets.market.errors import SettingsError

Array = np.ndarray
PROMOTE, REFUSE, WAIT = "promote", "refuse", "wait"


@dataclass(frozen=True)
class Gate:
    """`target` decides; on every other target the challenger may not be plainly worse (`harm`, over all of them together)."""

    target: str = "1h"
    looks: tuple[int, ...] = (14, 21, 28)
    """Days of shadow at which it is decided."""
    false_promotion: float = 0.05
    """Chance that an equal challenger is ever promoted."""
    harm: float = 0.01
    """One-sided level at which a challenger counts as worse."""

    def __post_init__(self) -> None:
        if not self.looks or list(self.looks) != sorted(set(self.looks)) or self.looks[0] < 7:
            raise SettingsError(f"looks {self.looks}: expected growing numbers of days, the first at least 7")


class Paired(NamedTuple):
    """Daily mean losses on the same rows of the same days, in order, and the number of rows of each day."""

    champion: Array
    challenger: Array
    rows: Array


@dataclass(frozen=True)
class Decision:
    """`gain` is the champion's mean loss less the challenger's, in nats; `low` its one-sided bound at the look's level."""

    verdict: str
    days: int
    gain: float
    low: float
    p: float
    reason: str
    harmed: Mapping[str, float] = field(default_factory=dict)
    """One-sided p-value of "not worse" of every target on which it is plainly worse."""


def decide(paired: Mapping[str, Paired], gate: Gate | None = None) -> Decision:
    """The verdict on the daily losses by target; `gate.target` must be among them.

    `promote`: better at a look, and nowhere plainly worse. `refuse`: plainly worse, or not better by the last look. `wait`: too
    early to tell.
    """
    gate = gate or Gate()
    if gate.target not in paired:
        raise SettingsError(f"no paired losses of {gate.target!r}, which decides; found {sorted(paired)}")
    days = len(paired[gate.target].rows)
    level = gate.false_promotion / len(gate.looks)
    for look in gate.looks:
        if days < look:
            break
        decision = _at(paired, gate, look, level)
        if decision.verdict != WAIT:
            return decision
    return _so_far(paired, gate, days, level)


def _at(paired: Mapping[str, Paired], gate: Gate, look: int, level: float) -> Decision:
    gain, low, better, worse = _tested(paired[gate.target], look, level)
    harmed = _harmed(paired, gate, look)
    if better < level and not harmed:
        return Decision(PROMOTE, look, gain, low, better, f"better by {gain:.5f} nats over {look} days, p = {better:.4f}")
    if better < level:
        return Decision(REFUSE, look, gain, low, better, f"better at {gate.target}, worse at {', '.join(harmed)}", harmed)
    if worse < gate.harm:
        return Decision(REFUSE, look, gain, low, better, f"worse by {-gain:.5f} nats over {look} days, p = {worse:.4f}", harmed)
    if look == gate.looks[-1]:
        said = f"not better with the confidence asked for: gain {gain:.5f} nats over {look} days, p = {better:.4f}"
        return Decision(REFUSE, look, gain, low, better, said, harmed)
    return Decision(WAIT, look, gain, low, better, f"not decided at {look} days, p = {better:.4f}", harmed)


def _so_far(paired: Mapping[str, Paired], gate: Gate, days: int, level: float) -> Decision:
    """Between looks: nothing is promoted, but what is plainly worse need not go on."""
    ahead = next((look for look in gate.looks if look > days), gate.looks[-1])
    if days < 2:
        return Decision(WAIT, days, float("nan"), float("nan"), float("nan"), f"{days} days of shadow, decided at {ahead}")
    gain, low, better, worse = _tested(paired[gate.target], days, level)
    if days >= 7 and worse < gate.harm / 2:
        return Decision(REFUSE, days, gain, low, better, f"worse by {-gain:.5f} nats over {days} days, p = {worse:.4f}")
    return Decision(WAIT, days, gain, low, better, f"{days} days of shadow, decided at {ahead}")


def _harmed(paired: Mapping[str, Paired], gate: Gate, look: int) -> dict[str, float]:
    others = [t for t in paired if t != gate.target and len(paired[t].rows) >= 2]
    found = {t: _tested(paired[t], look, 0.05, block=2)[3] for t in others}
    return {t: p for t, p in found.items() if p < gate.harm / len(others)}


def _tested(pair: Paired, days: int, level: float, block: int = 1) -> tuple[float, float, float, float]:
    """(gain, lower bound, p that it is not better, p that it is not worse) over the first `days`, clustered by `block` days."""
    rows = pair.rows[:days].astype(np.float64)
    gain = (pair.champion[:days] - pair.challenger[:days]) * rows
    told = clustered_ratio(gain, rows, np.arange(len(rows)) // block, level=1 - 2 * level)
    if told.clusters < 2:
        return told.value, float("nan"), 1.0, 1.0
    better = told.p / 2 if told.value > 0 else 1 - told.p / 2
    return told.value, told.low, better, 1 - better
