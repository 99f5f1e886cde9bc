"""The page in a real browser: what it shows, live, in both themes and on a phone; and nothing for axe to complain about."""

from __future__ import annotations

from collections.abc import Iterator
from shutil import which

import httpx
import pytest

from crypto_assets_tests.serving.conftest import SYMBOLS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=which("chromium"), args=["--no-sandbox"])
        yield found
        found.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_it_shows_every_coin_and_passes_axe(browser, url, scheme, width):
    from axe_playwright_python.sync_playwright import Axe

    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    problems, asked = [], []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    page.wait_for_selector(".coin")
    page.locator("#badge").wait_for(state="visible")
    assert page.locator(".coin h2").all_text_contents() == list(SYMBOLS)
    assert page.locator(".spark").count() == len(SYMBOLS)
    shown = page.locator(".coin .big").first.text_content()
    p_up = httpx.post(f"{url}/predict", json={"symbol": SYMBOLS[0]}).json()["p_up"]
    assert shown == f"{100 * p_up:.1f} % up"
    page.locator("label:has(input[value='24h'])").click()
    assert page.locator("text=Beats the median coin").count() == len(SYMBOLS)
    page.locator(".coin summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.locator("#theme").click()
    assert page.evaluate("document.documentElement.dataset.theme") != scheme
    assert problems == []
    assert all(address.startswith(url) or address.startswith("data:") for address in asked)
    page.close()
