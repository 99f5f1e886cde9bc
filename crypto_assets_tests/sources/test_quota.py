"""Quotas on disk: kept over objects and processes, refused before a call leaves, readable whatever the file holds."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from crypto_assets.market.errors import RateLimitedError
from crypto_assets.sandbox.server import serving
from crypto_assets.settings import load
from crypto_assets.sources import _quota
from crypto_assets.sources._http import Http
from crypto_assets.sources._providers import PROVIDERS, Provider, provide
from crypto_assets.sources._quota import Quota

LIMITS = ((8, 3600.0), (14, 86_400.0))


@pytest.fixture
def at(monkeypatch):
    """Sets the clock."""

    def set_to(seconds: float) -> None:
        monkeypatch.setattr(_quota.time, "time", lambda: 1_700_000_000.0 + seconds)

    set_to(0)
    return set_to


def taken(quota: Quota) -> int:
    """How many calls leave until it refuses."""
    for count in range(100):
        try:
            quota.take()
        except RateLimitedError:
            return count
    return 100


def test_both_limits_hold_in_any_hour_and_any_day(at, tmp_path):
    assert taken(Quota("few", LIMITS, tmp_path)) == 8
    at(3599)
    assert taken(Quota("few", LIMITS, tmp_path)) == 0
    at(3601)
    assert Quota("few", LIMITS, tmp_path).left() == 6  # the day's limit is the narrower one now
    assert taken(Quota("few", LIMITS, tmp_path)) == 6
    at(86_399)
    assert taken(Quota("few", LIMITS, tmp_path)) == 0
    at(86_401)
    assert taken(Quota("few", LIMITS, tmp_path)) == 8


def test_the_wait_is_to_the_moment_the_next_call_may_leave(at, tmp_path):
    quota = Quota("few", LIMITS, tmp_path)
    for n in range(8):
        at(60.0 * n)
        quota.take()
    at(600)
    with pytest.raises(RateLimitedError, match="8 calls in 1 h are spent: ask again in 50 min") as caught:
        quota.take()
    assert caught.value.retry_after == 3000
    at(3600.5)
    quota.take()


def test_a_broken_file_and_a_clock_set_back_do_not_lock_out(at, tmp_path):
    (tmp_path / "few.txt").write_bytes(b"\xff\xfe not a time\nnan\n1e400\n\n9999999999.0\n")
    quota = Quota("few", LIMITS, tmp_path)
    assert quota.left() == 8
    quota.take()
    assert quota.left() == 7


def test_processes_at_the_same_time_share_one_count(tmp_path):
    code = (
        "import sys; from pathlib import Path; from crypto_assets.sources._quota import Quota\n"
        "from crypto_assets.market.errors import RateLimitedError\n"
        "quota, done = Quota('few', ((8, 3600.0),), Path(sys.argv[1])), 0\n"
        "for _ in range(5):\n"
        "    try: quota.take(); done += 1\n"
        "    except RateLimitedError: pass\n"
        "print(done)"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert sum(int(p.communicate()[0]) for p in started) == 8


def test_only_calls_without_a_key_in_world_live_are_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    asked = []

    async def endpoint(request):
        asked.append(request.headers.get("x-key"))
        return JSONResponse([])

    with serving(Starlette(routes=[Route("/{rest:path}", endpoint)])) as url:
        whom = Provider("tiny", url, 1000, 1, quotas=((2, 3600.0),), secret="bgeometrics_key", secret_header="X-Key")
        try:
            provide(whom)
            for settings in (load(world="live", bgeometrics_key="k"), load(world="sandbox", sandbox_url=url)):
                with Http.of(settings, lambda: datetime.now(UTC)) as http:
                    for _ in range(3):
                        http.get_json("tiny", "/a")
            with Http.of(load(world="live")) as http:
                http.get_json("tiny", "/a")
                http.get_json("tiny", "/b")
                with pytest.raises(RateLimitedError, match="tiny: 2 calls in 1 h are spent"):
                    http.get_json("tiny", "/c")
        finally:
            PROVIDERS.pop("tiny", None)
    assert asked == ["k"] * 3 + [None] * 5
    assert (tmp_path / "crypto_assets" / "quota" / "tiny.txt").exists()
