"""Claim: the loop sees a break of the market within weeks, replaces the champion, and leaves it alone while nothing breaks.

Months of the simulated market `standard` on seeds that no rule was tried on, day by day through `monitoring/loop.py`, with a
logistic regression on the published drivers as champion. After the break every planted weight has the other sign. kappa is the
share of the best possible skill: of the first champion before the break, and in the last 20 of 80 days after it, of the first
champion kept, and of the one the loop has by then. Checked first: the panel holds what the oracle knows.
"""

from __future__ import annotations

import argparse
import statistics
from datetime import timedelta

import numpy as np
from _record import keep, require

from crypto_assets.market.time import DAY, Window
from crypto_assets.monitoring.gate import Gate
from crypto_assets.monitoring.loop import PROMOTED, RETRAIN, live_through
from crypto_assets.monitoring.triggers import ROUTINE, Policy
from crypto_assets_tests.monitoring import timetravel as tt

QUIET_DAYS, AFTER = 60, 80


def quiet(seed: int) -> int:
    """Triggers in sixty days without a break."""
    state, panel, now = tt.begin(seed, False)
    events = [e for _, es in live_through(state, panel, now, QUIET_DAYS, policy=Policy(routine=None), gate=Gate()) for e in es]
    return sum(e.kind == RETRAIN for e in events)


def broken(seed: int) -> dict[str, float | None]:
    """Days from the break to the first trigger and to the first promotion, and kappa."""
    state, panel, now = tt.begin(seed, True)
    days = (tt.BREAK - now).days + AFTER
    lived = list(live_through(state, panel, now, days, policy=Policy(), gate=Gate()))
    events, last = [e for _, happened in lived for e in happened], lived[-1][0]
    seen = [e.at for e in events if e.kind == RETRAIN and ROUTINE not in e.said and e.at > tt.BREAK]
    better = [e.at for e in events if e.kind == PROMOTED and e.at > tt.BREAK]
    end = now + days * DAY
    before, late = Window(now, tt.BREAK.replace(hour=0)), Window(end - 20 * DAY, end)
    return {
        "seen_days": round((seen[0] - tt.BREAK) / DAY, 1) if seen else None,
        "promoted_days": round((better[0] - tt.BREAK) / DAY, 1) if better else None,
        "kappa_before": tt.kappa(state.champion, seed, True, before),
        "kappa_kept": tt.kappa(state.champion, seed, True, late),
        "kappa_loop": tt.kappa(last.champion, seed, True, late),
    }


def forget() -> None:
    """The worlds of a seed are not needed for the next."""
    tt.world.cache_clear()
    tt.market.cache_clear()


def middle(values: list) -> float:
    """Median, rounded."""
    return round(statistics.median(values), 3)


def main() -> None:
    """Run both, print, keep."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seeds", type=int, default=20)
    options.add_argument("--first", type=int, default=1001)
    given = options.parse_args()
    seeds = range(given.first, given.first + given.seeds)
    panel = tt.world(seeds[0], True)
    best = tt.market(seeds[0], True).oracle(tt.START, tt.START + timedelta(days=30))
    up = panel.up("1h")[: 30 * 24]
    p = tt.laid(best.filter(best["symbol"].is_in(panel.symbols)), "p_up")
    require(abs(np.nanmean(up - p)) < 0.02, "the panel's labels are not those the oracle speaks of")
    alarms, found = [], []
    for seed in seeds:
        alarms.append(quiet(seed))
        found.append(broken(seed))
        forget()
    seen = [f["seen_days"] for f in found if f["seen_days"] is not None]
    promoted = [f["promoted_days"] for f in found if f["promoted_days"] is not None]
    keep(
        "monitoring",
        {
            "seeds": [seeds[0], seeds[-1]],
            "without_a_break": {"days": QUIET_DAYS, "runs": len(alarms), "runs_with_a_trigger": sum(a > 0 for a in alarms)},
            "with_a_break": {
                "runs": len(found),
                "seen": len(seen),
                "seen_after_days": {"median": middle(seen), "most": max(seen)},
                "promoted": len(promoted),
                "promoted_after_days": {"median": middle(promoted), "most": max(promoted)},
                **{k: middle([f[k] for f in found]) for k in ("kappa_before", "kappa_kept", "kappa_loop")},
            },
            "each": found,
        },
    )


if __name__ == "__main__":
    main()
