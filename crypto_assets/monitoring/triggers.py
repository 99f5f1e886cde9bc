"""When to fit a challenger: what was seen, whether it is enough, and whether it is too soon after the last time.

Three things can ask for one. `decay`: over two weeks the forecasts lose more than before, or than a coin. `change`: ADWIN saw
the mean loss rise. `drift`: more features moved than chance explains, and many of them, which no loss shows yet. None promotes
anything. Losses are taken as measured less expected loss (`live`), which leaves out what the forecasts themselves foresee; they
are compared with the same champion's earlier days out of sample and not with zero, because a fit on few days is over-sure from
its first day on, and that is no decay.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from crypto_assets.market.time import DAY, HOUR
from crypto_assets.monitoring.drift import Drift, changes, likeliest_split
from crypto_assets.monitoring.live import Rows

Array = np.ndarray
ROUTINE = "routine: nothing was seen, a week has passed"


@dataclass(frozen=True)
class Policy:
    """Every threshold with its reason; measured false alarms: `benchmarks/monitoring.py`."""

    window: int = 14
    """Days over which decay is judged: with eight coins a loss that is 0.017 nats too large is seen within about as many."""
    least_days: int = 14
    """Days before the window without which there is nothing to compare with but a coin."""
    level: float = 0.0002
    """Chance of a false alarm a day. It is asked daily, so over 60 days the chance is up to sixty times that."""
    delta: float = 0.0005
    """ADWIN's confidence."""
    share: float = 0.50
    """Features that must have drifted: where fewer have, and no loss shows it, it is for a person to look at."""
    least_features: int = 10
    """Of a handful, half is no number."""
    cooldown: timedelta = 7 * DAY
    """Least time between two requests: a challenger needs data that the last one had not."""
    routine: timedelta | None = 7 * DAY
    """A challenger is fitted this long after the last one even where nothing was seen; None: only where something was."""

    def is_due(self, last: datetime, now: datetime) -> bool:
        """Whether a routine challenger is."""
        return self.routine is not None and now - last >= self.routine


@dataclass(frozen=True)
class Trigger:
    """Why a challenger is asked for; `change` is when the law of the market changed, where that is known."""

    reasons: tuple[str, ...] = ()
    change: datetime | None = None

    def __bool__(self) -> bool:
        return bool(self.reasons)


def judge(rows: Rows, policy: Policy | None = None, features: Drift | None = None) -> Trigger:
    """What the served 1 h forecasts (`live.rows_of`) and the drift of the features ask for.

    The forecasts should be those of one champion since it was fitted, its days in shadow too: another's loss may differ without
    anything having changed.
    """
    policy = policy or Policy()
    found = [decay(rows, policy), rise(rows, policy)]
    change = began(rows) if any(found) else None
    if features is not None and _is_wide(features, policy):
        found.append(f"drift: {len(features.drifted)} of {len(features.shifts)} features, chance explains {features.most}")
    return Trigger(tuple(reason for reason in found if reason), change)


def _is_wide(features: Drift, policy: Policy) -> bool:
    drifted = len(features.drifted)
    return features.is_drift and features.share >= policy.share and drifted >= policy.least_features


def decay(rows: Rows, policy: Policy) -> str | None:
    """Whether the window's loss is plainly larger than that of the days before it, or than a coin's; both one-sided."""
    seen = rows.closed()
    if not len(seen.ts):
        return None
    last = seen.ts[-1].astype("datetime64[us]").item()
    since = last - timedelta(days=policy.window) + HOUR
    window, before = seen.closed(start=since), seen.closed(end=since)
    days, earlier = (_daily(x, x.expected_loss) for x in (window, before))
    if len(days) < policy.window // 2:
        return None
    if len(earlier) >= policy.least_days and (p := _p_larger(days, earlier)) < policy.level:
        more = days.mean() - earlier.mean()
        return f"decay: the 1 h loss rose by {more:.5f} nats above expectation over {len(days)} days, p = {p:.1e}"
    over = _daily(window, np.full(len(window.ts), np.log(2)))
    if (p := _p_larger(over)) < policy.level:
        return f"decay: the 1 h loss is {over.mean():.5f} nats above a coin's over {len(over)} days, p = {p:.1e}"
    return None


def _daily(rows: Rows, than: Array) -> Array:
    """Mean loss above `than` of each day."""
    _, day = np.unique(rows.ts.astype("datetime64[D]"), return_inverse=True)
    return np.bincount(day, rows.loss - than) / np.maximum(np.bincount(day), 1) if len(day) else np.empty(0)


def _p_larger(days: Array, earlier: Array | None = None) -> float:
    """One-sided p-value that the mean of `days` is larger than that of `earlier`, or than zero (Student; one variance)."""
    from scipy.stats import t

    n, m = len(days), 0 if earlier is None else len(earlier)
    freedom = n - 1 + max(m - 1, 0)
    squares = ((days - days.mean()) ** 2).sum() + (0.0 if earlier is None else ((earlier - earlier.mean()) ** 2).sum())
    error = np.sqrt(squares / freedom * (1 / n + (1 / m if m else 0)))
    gap = days.mean() - (0.0 if earlier is None else earlier.mean())
    return float(t.sf(gap / error, freedom)) if error > 0 else float(gap <= 0)


def rise(rows: Rows, policy: Policy) -> str | None:
    """The newest rise of the mean loss above what is expected, as ADWIN sees it."""
    hours, more = above_expectation(rows)
    if len(hours) < 24 * policy.window:
        return None
    risen = [
        c
        for c in changes(more, centre=float(more.mean()), spread=float(more.std()), delta=policy.delta)
        if c.after > max(c.before, 0)
    ]
    if not risen:
        return None
    return f"change: the loss above expectation rose from {risen[-1].before:.5f} to {risen[-1].after:.5f} nats"


def began(rows: Rows) -> datetime | None:
    """The hour at which the mean loss above expectation most plainly rose; None where it fell."""
    hours, more = above_expectation(rows)
    at = likeliest_split(more)
    if not 0 < at < len(more) or more[at:].mean() <= more[:at].mean():
        return None
    return hours[at].astype("datetime64[us]").item().replace(tzinfo=UTC)


def above_expectation(rows: Rows) -> tuple[Array, Array]:
    """(hours, measured less expected loss, averaged over the coins of each), closed rows only."""
    seen = rows.closed()
    hours, at = np.unique(seen.ts, return_inverse=True)
    return hours, np.bincount(at, seen.loss - seen.expected_loss) / np.maximum(np.bincount(at), 1)


def cooling(last: datetime | None, now: datetime, policy: Policy | None = None) -> timedelta:
    """How long a request must still wait; zero where it need not."""
    policy = policy or Policy()
    return timedelta(0) if last is None else max(timedelta(0), last + policy.cooldown - now)
