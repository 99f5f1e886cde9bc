"""Alerts reach a real server on loopback: once, again when worse or after the cooldown, and when they are over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from crypto_assets.lake import Lake
from crypto_assets.market.errors import LakeError, SettingsError
from crypto_assets.market.time import DAY, HOUR
from crypto_assets.monitoring.alerts import COOLDOWN, Alert, Desk
from crypto_assets_tests.monitoring.lakes import webhook

NOW = datetime(2024, 3, 1, tzinfo=UTC)
STALE = Alert("stale", "warning", "candles are stale", "two days")


@pytest.fixture
def desk(tmp_path):
    with webhook() as (url, got):
        yield Desk(Lake(tmp_path), url), got


def test_a_new_alert_is_told_once_with_title_severity_and_body(desk):
    told, again = desk[0].tell([STALE], NOW), desk[0].tell([STALE], NOW + HOUR)
    assert [a.key for a in told.sent] == ["stale"]
    assert again.sent == ()
    (message,) = desk[1]
    assert message["title"] == "[warning] candles are stale"
    assert message["message"] == "two days"
    assert message["type"] == "warning"


def test_it_is_told_again_after_its_cooldown_and_by_another_process_too(desk, tmp_path):
    desk[0].tell([STALE], NOW)
    other = Desk(Lake(tmp_path), ",".join(desk[0].urls))
    assert other.tell([STALE], NOW + COOLDOWN["warning"] - timedelta(seconds=1)).sent == ()
    assert other.tell([STALE], NOW + COOLDOWN["warning"]).sent == (STALE,)
    assert other.open()["stale"]["since"] == NOW.isoformat()


def test_what_becomes_worse_is_told_at_once_and_what_becomes_better_is_not(desk):
    worse = Alert("stale", "critical", "candles are stale", "a week")
    desk[0].tell([STALE], NOW)
    assert desk[0].tell([worse], NOW + HOUR).sent == (worse,)
    assert desk[0].tell([STALE], NOW + 2 * HOUR).sent == ()


def test_what_is_over_is_told_once(desk):
    desk[0].tell([STALE], NOW)
    assert desk[0].tell([], NOW + HOUR).over == ("stale",)
    assert desk[0].tell([], NOW + 2 * HOUR).over == ()
    assert [m["title"] for m in desk[1]] == ["[warning] candles are stale", "[info] over: candles are stale"]


def test_an_event_is_not_over_and_not_repeated_within_its_cooldown(desk):
    assert desk[0].note("ingest", "critical", "job ingest failed", "x", NOW)
    assert not desk[0].note("ingest", "critical", "job ingest failed", "x", NOW + HOUR)
    assert desk[0].tell([], NOW + HOUR).over == ()
    assert desk[0].note("ingest", "critical", "job ingest failed", "x", NOW + DAY)


def test_what_could_not_be_delivered_is_told_the_next_time(tmp_path):
    with webhook(status=500) as (url, _):
        assert Desk(Lake(tmp_path), url).tell([STALE], NOW).failed
    with webhook() as (url, got):
        assert Desk(Lake(tmp_path), url).tell([STALE], NOW + HOUR).sent == (STALE,)
    assert len(got) == 1


def test_without_an_address_what_is_open_is_kept(tmp_path):
    desk = Desk(Lake(tmp_path), None)
    assert desk.tell([STALE], NOW).sent == (STALE,)
    assert list(desk.open()) == ["stale"]


def test_an_unknown_address_is_named_by_its_place_and_not_by_its_secret(tmp_path):
    with pytest.raises(SettingsError, match="address 1") as error:
        Desk(Lake(tmp_path), "carrier-pigeon://secret-token@roof").tell([STALE], NOW)
    assert "secret-token" not in str(error.value)


def test_a_damaged_file_and_an_unknown_severity_say_what_to_do(tmp_path):
    desk = Desk(Lake(tmp_path), None)
    desk.path.parent.mkdir(parents=True)
    desk.path.write_text("{")
    with pytest.raises(LakeError, match="delete it"):
        desk.open()
    with pytest.raises(SettingsError, match="expected one of info"):
        Alert("x", "bad", "", "")
