"""One day of the loop, pure: judge the champion, fit a challenger, compare both in shadow, decide.

The Dagster assets do the same steps with tables and a registry between them; here the state is an argument, so that sixty days
go by in a second and every rule can be tried on a market whose break is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

import numpy as np

from crypto_assets.dataset.panel import Panel
from crypto_assets.evaluation.champion import Bundle, predict
from crypto_assets.market.time import DAY, HOUR, Window
from crypto_assets.monitoring import challenger as fits
from crypto_assets.monitoring import watch
from crypto_assets.monitoring.gate import PROMOTE, WAIT, Gate, decide
from crypto_assets.monitoring.live import Rows
from crypto_assets.monitoring.triggers import ROUTINE, Policy, Trigger, cooling, judge

RETRAIN, PROMOTED, REFUSED = "retrain", "promoted", "refused"


@dataclass(frozen=True)
class State:
    """What the registry and the tables hold between two days. `since`: when the champion began to be one."""

    champion: Bundle
    since: datetime
    challenger: Bundle | None = None
    asked: datetime | None = None
    """When a challenger was last asked for."""


class Event(NamedTuple):
    """Something that happened at `at`."""

    at: datetime
    kind: str
    said: str


def step(
    state: State, panel: Panel, now: datetime, *, policy: Policy, gate: Gate, preset: str = "debug", seed: int = 0
) -> tuple[State, list[Event]]:
    """The state after the midnight `now`, of a panel that holds what is known then: features to `now`, closed labels.

    A challenger in shadow is left there until it is decided, unless the market changed after its fit: then it is as blind as
    the champion, and a new one takes its place.
    """
    events: list[Event] = []
    if state.challenger is not None:
        state, events = _compare(state, state.challenger, panel, now, gate)
    trigger = Trigger()
    if not cooling(state.asked, now, policy):
        trigger = judge(served(state.champion, panel, now), policy, watch.features(state.champion, panel, now))
    if not trigger and state.challenger is None and policy.is_due(state.asked or state.since, now):
        trigger = Trigger((ROUTINE,))
    if not trigger or not fits.outdated(state.challenger, trigger.change):
        return state, events
    found = fits.candidates(state.champion, panel, now - DAY, preset=preset, seed=seed, change=trigger.change)
    said = f"{'; '.join(trigger.reasons)}; fitted from {found[0].first:%Y-%m-%d} on"
    return replace(state, challenger=found[0].bundle, asked=now), [*events, Event(now, RETRAIN, said)]


def served(champion: Bundle, panel: Panel, now: datetime, since: datetime | None = None) -> Rows:
    """A bundle's 1 h forecasts out of sample up to `now`, its days in shadow too, beside what happened."""
    start = fits.shadow_start(champion)
    start = start if since is None else max(start, since)
    if start >= now:
        return Rows(panel.ts[:0], *(np.empty(0) for _ in range(3)))
    window = Window(start, now)
    s = panel.slice(window)
    told = panel.listed_TN[s]
    p = predict(champion, panel, window).combined.p_up_HTN[0][told] if told.any() else np.empty(0)
    ts = np.broadcast_to(panel.ts[s][:, None], told.shape)[told]
    return Rows(ts, p, panel.target("1h")[s][told], np.full(len(ts), np.nan))


def known(panel: Panel, now: datetime) -> Panel:
    """The panel as it is at `now`: no later hour, and no label that has not closed."""
    cut = panel.cut(Window(panel.ts[0].astype("datetime64[us]").item().replace(tzinfo=now.tzinfo), now + HOUR))
    ahead = {"ret_1h": 1, "ret_4h": 4}
    labels = {}
    for name, values in cut.labels.items():
        hidden = values.copy()
        hidden[len(hidden) - ahead.get(name, 24) :] = np.nan
        labels[name] = hidden
    return replace(cut, labels=labels)


def live_through(state: State, panel: Panel, first: datetime, days: int, **how: object) -> Iterator[tuple[State, list[Event]]]:
    """`step` at each of `days` midnights from `first` on, each time with what is known then."""
    for n in range(days):
        now = first + n * DAY
        state, events = step(state, known(panel, now), now, **how)  # type: ignore[arg-type]
        yield state, events


def _compare(state: State, challenger: Bundle, panel: Panel, now: datetime, gate: Gate) -> tuple[State, list[Event]]:
    start = fits.shadow_start(state.champion, challenger)
    if now - start < 2 * DAY:
        return state, []
    days = fits.shadow(state.champion, challenger, panel, Window(start, now))
    if days.is_empty():
        return state, []
    decision = decide(fits.paired(days), gate)
    if decision.verdict == WAIT:
        return state, []
    if decision.verdict == PROMOTE:
        return replace(state, champion=challenger, since=now, challenger=None), [Event(now, PROMOTED, decision.reason)]
    return replace(state, challenger=None), [Event(now, REFUSED, decision.reason)]
