"""Time travel: the loop lives through months of the simulated market, whose break is known to the hour, or through none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crypto_assets.fusion.checkpoint import FusionCheckpoint
from crypto_assets.market.errors import CheckpointError
from crypto_assets.market.time import DAY, HOUR, Window
from crypto_assets.monitoring import challenger as fits
from crypto_assets.monitoring.gate import Gate
from crypto_assets.monitoring.loop import PROMOTED, REFUSED, RETRAIN, State, known, live_through, served, step
from crypto_assets.monitoring.triggers import Policy, cooling
from crypto_assets_tests.monitoring import timetravel as tt

SEED = 4
QUIET = Policy(routine=None)


@pytest.fixture(scope="module")
def lived():
    """(first champion, events, last state) of 100 days with a break on the 40th."""
    state, panel, now = tt.begin(SEED, True)
    events, last = [], state
    for last, happened in live_through(state, panel, now, 100, policy=Policy(), gate=Gate()):
        events += happened
    return state.champion, events, last


def test_the_break_is_seen_and_asked_for_within_three_weeks(lived):
    asked = next(e for e in lived[1] if e.kind == RETRAIN and "routine" not in e.said)
    assert 0 < (asked.at - tt.BREAK) / DAY < 21
    assert asked.said.startswith("decay")


def test_the_challenger_is_fitted_on_what_came_since_the_break(lived):
    asked = next(e for e in lived[1] if e.kind == RETRAIN and "routine" not in e.said)
    assert f"fitted from {tt.BREAK:%Y-%m}" in asked.said


def test_it_is_promoted_and_skill_recovers(lived):
    first, events, last = lived
    assert any(e.kind == PROMOTED for e in events)
    end = tt.BREAK + 75 * DAY
    before = tt.kappa(first, SEED, True, Window(tt.BREAK - 15 * DAY, tt.BREAK))
    lost = tt.kappa(first, SEED, True, Window(end - 15 * DAY, end))
    regained = tt.kappa(last.champion, SEED, True, Window(end - 15 * DAY, end))
    assert lost < -0.5
    assert before > 0
    assert regained - lost > 0.5 * (before - lost)


def test_nothing_is_fitted_or_promoted_on_what_is_not_known_yet(lived):
    """Every verdict hangs on closed labels: the same events come from a panel that ends at the last day lived through."""
    state, panel, now = tt.begin(SEED, True)
    cut = known(panel, now + 65 * DAY)
    events = [e for _, es in live_through(state, cut, now, 65, policy=Policy(), gate=Gate()) for e in es]
    assert events == [e for e in lived[1] if e.at < now + 65 * DAY]


def months_without_a_break(seed: int) -> list:
    state, panel, now = tt.begin(seed, False)
    return [e for _, es in live_through(state, panel, now, 60, policy=QUIET, gate=Gate()) for e in es]


def test_sixty_days_without_a_break_raise_no_retrain():
    assert months_without_a_break(SEED) == []


@pytest.mark.slow
def test_false_alarms_are_rare_on_other_seeds():
    """The level allows 1.2 % a run of sixty days; the hidden regime, which lasts a fortnight and no champion here knows, adds
    to it. One of these eight runs has an alarm (seed 204), none of the twenty of the benchmark."""
    assert sum(bool(months_without_a_break(seed)) for seed in range(201, 209)) <= 1


@pytest.fixture(scope="module")
def bad() -> State:
    """A champion as it should be, and a challenger that learnt from labels turned upside down."""
    state, panel, now = tt.begin(SEED, False)
    turned = tt.replace_labels(panel, lambda name, v: 1 - v if name == "above_median_24h" else -v if "ret" in name else v)
    return State(state.champion, now, tt.champion(turned, now - DAY), now)


def test_a_bad_challenger_is_refused_before_its_shadow_is_over(bad):
    panel = tt.world(SEED, False)
    events = [e for _, es in live_through(bad, panel, bad.since, 28, policy=QUIET, gate=Gate()) for e in es]
    event = events[0]
    assert event.kind == REFUSED
    assert "worse" in event.said


def test_a_challenger_in_shadow_stays_until_it_is_decided(bad):
    panel = tt.world(SEED, False)
    now = bad.since + 5 * DAY
    after, events = step(bad, known(panel, now), now, policy=Policy(cooldown=DAY, routine=DAY), gate=Gate())
    assert events == []
    assert after.challenger is bad.challenger


def test_the_champions_fusion_goes_with_no_other_members(bad):
    now = bad.since
    fusion = FusionCheckpoint(now - 30 * DAY, dict(bad.champion.versions), {}, None, {}, {}, {})
    panel = known(tt.world(SEED, False), now)
    (found,) = fits.candidates(replace(bad.champion, fusion=fusion), panel, now - DAY, preset="debug", seed=0)
    assert found.bundle.fusion is None
    assert found.bundle.members.keys() == bad.champion.members.keys()


def test_the_shadow_begins_where_both_are_out_of_sample(bad):
    for bundle in (bad.champion, bad.challenger):
        start = fits.shadow_start(bundle)
        assert start - max(c.trained_until for c in bundle.members.values()) >= DAY
        assert start.hour == 0


def test_shadow_losses_are_those_of_the_rows_both_forecast(bad):
    panel = known(tt.world(SEED, False), bad.since + 4 * DAY)
    days = fits.shadow(bad.champion, bad.challenger, panel, Window(bad.since, bad.since + 4 * DAY))
    one = days.filter(target="1h")
    assert one["day"].to_list() == [(bad.since + n * DAY).date() for n in range(3)]  # the fourth day's labels are still open
    assert one["rows"].to_list() == [24 * 8] * 3
    rows = served(bad.champion, panel, bad.since + DAY).closed()
    assert one["champion"][0] == pytest.approx(rows.loss.mean(), rel=1e-9)


def test_a_fit_up_to_now_keeps_the_purges():
    fold = fits.fold_until(tt.START, tt.START + 100 * DAY)
    assert fold.valid.start - fold.train.end == DAY
    assert fold.test.start - fold.valid.end == DAY
    with pytest.raises(CheckpointError, match="at least 9 days"):
        fits.fold_until(tt.START, tt.START + 8 * DAY)


def test_what_is_known_at_a_moment_has_no_later_hour_and_no_open_label():
    panel, now = tt.world(SEED, False), tt.START + 30 * DAY
    seen = known(panel, now)
    assert seen.ts[-1] == np.datetime64(now.replace(tzinfo=None), "us")
    for name, hours in (("ret_1h", 1), ("ret_4h", 4), ("ret_24h", 24), ("rv_24h", 24)):
        assert np.isnan(seen.labels[name][-hours:]).all()
        assert np.isfinite(seen.labels[name][-hours - 1]).all()


def test_a_request_waits_for_the_cooldown():
    now = tt.START
    assert cooling(None, now) == 0 * HOUR
    assert cooling(now - 3 * DAY, now) == 4 * DAY
    assert cooling(now - 8 * DAY, now) == 0 * HOUR
