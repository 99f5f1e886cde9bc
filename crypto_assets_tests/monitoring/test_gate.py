"""Planted challengers: better ones are promoted, worse ones refused, equal ones promoted no more often than is allowed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from crypto_assets.market.errors import SettingsError
from crypto_assets.monitoring.gate import PROMOTE, REFUSE, WAIT, Gate, Paired, decide

SPREAD = 0.01
"""Standard deviation of a day's difference, nats: about that of eight coins an hour ahead."""


def planted(rng, days: int, gain: float, other: float = 0.0) -> dict[str, Paired]:
    """The challenger is better by `gain` a day at 1h and by `other` at 24h_relative."""
    rows = np.full(days, 192)

    def pair(mean):
        champion = 0.69 + 0.005 * rng.standard_normal(days)
        return Paired(champion, champion - mean - SPREAD * rng.standard_normal(days), rows)

    return {"1h": pair(gain), "24h_relative": pair(other)}


def verdicts(gain: float, days: int = 40, runs: int = 400, other: float = 0.0) -> Counter:
    rng = np.random.default_rng(11)
    return Counter(decide(planted(rng, days, gain, other)).verdict for _ in range(runs))


def test_a_better_challenger_is_promoted():
    assert verdicts(1.2 * SPREAD)[PROMOTE] > 0.95 * 400


def test_a_worse_challenger_is_never_promoted_and_refused_early():
    rng = np.random.default_rng(1)
    decisions = [decide(planted(rng, 40, -1.2 * SPREAD)) for _ in range(200)]
    assert {d.verdict for d in decisions} == {REFUSE}
    assert np.mean([d.days for d in decisions]) < 16


def test_equal_challengers_are_promoted_as_rarely_as_stated():
    assert verdicts(0.0)[PROMOTE] / 400 <= 0.05 + 2.33 * np.sqrt(0.05 * 0.95 / 400)


def test_equal_challengers_with_heavy_tails_and_autocorrelated_days_are_too():
    rng, promoted = np.random.default_rng(3), 0
    for _ in range(400):
        noise = rng.standard_t(4, 41) * SPREAD
        drifting = noise[1:] + 0.2 * noise[:-1]
        base = np.full(40, 0.69)
        promoted += decide({"1h": Paired(base, base + drifting, np.full(40, 192))}).verdict == PROMOTE
    assert promoted / 400 <= 0.08


def test_asking_every_day_gives_the_verdict_of_asking_once():
    rng = np.random.default_rng(4)
    for gain in (0.0, 0.5 * SPREAD, SPREAD):
        full = planted(rng, 40, gain)
        asked = [decide({t: Paired(*(x[:n] for x in p)) for t, p in full.items()}) for n in range(1, 41)]
        first = next(d for d in asked if d.verdict != WAIT)
        if first.verdict == PROMOTE:
            assert first == decide(full)
            assert first.days in Gate().looks


def test_the_p_value_is_that_of_the_one_sided_t_test():
    pair = planted(np.random.default_rng(5), 14, 0.9 * SPREAD)["1h"]
    found = decide({"1h": pair})
    assert found.p == pytest.approx(ttest_1samp(pair.champion - pair.challenger, 0, alternative="greater").pvalue, rel=1e-6)


def test_better_at_one_hour_and_worse_over_a_day_is_refused():
    found = decide(planted(np.random.default_rng(6), 28, 2 * SPREAD, other=-4 * SPREAD))
    assert found.verdict == REFUSE
    assert set(found.harmed) == {"24h_relative"}


def test_before_the_first_look_it_waits_however_good_it_looks():
    found = decide(planted(np.random.default_rng(7), 13, 5 * SPREAD))
    assert found.verdict == WAIT
    assert "decided at 14" in found.reason
    nothing = {"1h": Paired(np.empty(0), np.empty(0), np.empty(0))}
    assert decide(nothing).verdict == WAIT


def test_after_the_last_look_it_has_had_its_time():
    base = np.full(30, 0.69)
    wobble = SPREAD * np.tile([1.0, -1.0], 15)
    found = decide({"1h": Paired(base, base + wobble, np.full(30, 192))})
    assert (found.verdict, found.days) == (REFUSE, 28)
    assert "not better" in found.reason


def test_identical_forecasts_are_refused_at_the_end():
    base = np.full(30, 0.69)
    assert decide({"1h": Paired(base, base, np.full(30, 192))}).verdict == REFUSE


def test_bad_questions_are_answered_with_what_is_expected():
    with pytest.raises(SettingsError, match="which decides"):
        decide({})
    with pytest.raises(SettingsError, match="growing"):
        Gate(looks=(20, 14))
