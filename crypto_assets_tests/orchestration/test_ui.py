"""`crypto-assets ui` in a real browser: the lineage, an asset's page, MLflow's runs, the report.

With PICTURES=docs/images and PICTURES_LAKE=<a lake of the demo> the pictures of the README are taken anew.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
GROUPS = ("raw", "curated", "features", "labels", "models", "forecasts", "fusion", "backtests", "monitoring")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = Path(os.environ.get("PICTURES", "") or tmp_path_factory.mktemp("pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def servers(request, tmp_path_factory):
    """The command as a user starts it; stopped as a user stops it."""
    kept = os.environ.get("PICTURES_LAKE")
    lake = Path(kept) if kept else request.getfixturevalue("built").lake
    ports = free_port(), free_port(), free_port()
    log = tmp_path_factory.mktemp("ui") / "ui.log"
    env = {k: v for k, v in os.environ.items() if not k.startswith("CRYPTO_ASSETS_") and k != "DAGSTER_HOME"}
    command = [sys.executable, "-m", "crypto_assets.cli", "ui", "--lake", str(lake)]
    command += ["--port", str(ports[0]), "--mlflow-port", str(ports[1]), "--api-port", str(ports[2])]
    with log.open("w") as out:
        # a shell has its background jobs ignore Ctrl-C, and so would all they start
        heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        process = subprocess.Popen(command, stdout=out, stderr=out, env=env, preexec_fn=heeding)
        deadline = time.monotonic() + 240
        while "Ctrl-C stops all of them" not in log.read_text():
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", lake, f"http://127.0.0.1:{ports[2]}"
        process.send_signal(signal.SIGINT)
        assert process.wait(240) == 0, log.read_text()[-3000:]
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, "a server outlived its command"


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, "no Chromium: install Debian's chromium"
    with sync_playwright() as driver:
        shown = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield shown
        shown.close()


def page_of(browser, url: str, width: int = 1600, height: int = 1000):
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(90_000)
    page.goto(url, timeout=120_000)
    return page


def skip_greeting(page) -> None:
    """Dagster asks newcomers to join its community, once."""
    page.wait_for_timeout(5_000)
    skip = page.get_by_role("button", name="Skip")
    if skip.count():
        skip.click()


def test_the_page_of_the_forecasts_is_up_and_waits_for_a_stream(servers, browser):
    page = page_of(browser, servers[3])
    page.get_by_text("run `crypto-assets stream` for this lake").wait_for()
    page.close()


def test_the_lineage_shows_every_layer_and_its_assets_open(servers, browser, pictures):
    page = page_of(browser, f"{servers[0]}/asset-groups", 1500, 560)
    for group in GROUPS:
        page.get_by_text(group, exact=True).first.wait_for()
    skip_greeting(page)
    page.wait_for_timeout(2_000)
    page.screenshot(path=pictures / "lineage.png")
    assert "error" not in page.inner_text("body").lower()
    for asset in ("curated/text_scores", "features/cross_asset", "models/lightgbm"):
        page.goto(f"{servers[0]}/assets/{asset}?view=overview")
        page.get_by_text(asset.split("/")[1], exact=True).first.wait_for()
    page.close()


def test_an_assets_page_shows_columns_and_green_checks(servers, browser, pictures):
    page = page_of(browser, f"{servers[0]}/assets/raw/binance_perp_candles?view=overview")
    skip_greeting(page)
    for text in ("taker_buy_volume", "Row count", "Binance", "non-nullable"):
        page.get_by_text(text).first.wait_for()
    page.wait_for_timeout(2_000)
    page.screenshot(path=pictures / "asset.png")
    page.goto(f"{servers[0]}/assets/raw/binance_perp_candles?view=checks")
    page.get_by_text("schema").first.wait_for()
    page.get_by_text("rows_by_day").first.wait_for()
    page.close()


def test_partitions_are_all_there(servers, browser):
    page = page_of(browser, f"{servers[0]}/assets/features/matrix?view=partitions")
    skip_greeting(page)
    page.get_by_text(re.compile("Materialized")).first.wait_for()
    page.close()


def test_the_report_opens_from_the_assets_metadata(servers, browser):
    page = page_of(browser, f"{servers[0]}/assets/backtests/report?view=events")
    skip_greeting(page)
    page.get_by_text("latest.html").first.wait_for()
    page.close()


def test_mlflow_lists_the_runs(servers, browser, pictures):
    page = page_of(browser, f"{servers[1]}/#/experiments/1/runs")
    page.get_by_text("transformer").first.wait_for()
    page.wait_for_timeout(2_000)
    page.screenshot(path=pictures / "mlflow.png")
    page.close()


def test_monitoring_judges_and_its_checks_show_pictures(servers, browser):
    """`crypto-assets monitor --judge` beside the running UI; then a check's picture is drawn in its dialog."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("CRYPTO_ASSETS_") and k != "DAGSTER_HOME"}
    command = [sys.executable, "-m", "crypto_assets.cli", "monitor", "--judge", "--lake", str(servers[2])]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Freshness" in done.stdout
    page = page_of(browser, f"{servers[0]}/assets/monitoring/drift?view=checks&checkDetail=features")
    skip_greeting(page)
    page.get_by_text("Show Markdown").first.click()
    picture = page.locator("img[src^='data:image/svg+xml']").first
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") > 300
    page.close()


@pytest.mark.parametrize(("width", "name"), [(1400, "report.png"), (390, "report-phone.png")])
def test_the_report_is_readable_without_a_network(servers, browser, pictures, width, name):
    report = (servers[2] / "reports" / "latest.html").resolve()
    page = browser.new_page(viewport={"width": width, "height": 1500})
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_timeout(4_000)
    page.screenshot(path=pictures / name)
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert page.locator(".plotly, .js-plotly-plot").count() >= 5
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    page.close()
