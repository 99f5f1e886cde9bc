"""Adding a source is one file: the template, copied and renamed, is found and fetches."""

import re
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from crypto_assets import sources
from crypto_assets.lake import quarantine
from crypto_assets.lake.tables import TABLES
from crypto_assets.market.time import Window
from crypto_assets.sandbox import endpoints
from crypto_assets.sources import _template, discover
from crypto_assets.sources._providers import PROVIDERS
from crypto_assets_tests.sources.loopback import NOW, client, truth

PAGE = Path(__file__).parents[2] / "docs" / "add-a-source.md"


@pytest.fixture
def added(tmp_path, monkeypatch):
    text = Path(_template.__file__).read_text()
    text = (
        text.replace("raw/template", "raw/page_views").replace('"template"', '"pages"').replace("RawTemplate", "RawPageViews")
    )
    (tmp_path / "page_views.py").write_text(text)
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(tmp_path)])
    yield discover()["page_views"]
    for registry, key in ((sys.modules, "crypto_assets.sources.page_views"), (TABLES, "raw/page_views"), (PROVIDERS, "pages")):
        registry.pop(key)


def test_a_copied_template_is_a_source(added):
    async def views(request):
        first = datetime.fromisoformat(request.query_params["from"]).replace(tzinfo=UTC)
        return JSONResponse({"rows": [{"day": int(first.timestamp()), "views": 8123}]})

    window = Window.of_days(date(2024, 10, 7), date(2024, 10, 8))
    with client(application=Starlette(routes=[Route("/pages/v1/daily", views)]), symbols="BTC,ETH") as http:
        rows = added.fetch(window, http)
    split = quarantine.split(added.table, rows)
    assert split.bad.is_empty()
    assert split.good.select("symbol", "views", "source").rows() == [("BTC", 8123.0, "pages"), ("ETH", 8123.0, "pages")]
    assert rows["available_at"].unique().to_list() == [datetime(2024, 10, 8, 6, tzinfo=UTC)]


@pytest.fixture
def documented(tmp_path, monkeypatch):
    """The two files of docs/add-a-source.md, put where the page says."""
    source, endpoint = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    for package, name, text in ((sources, "page_views", source), (endpoints, "pages", endpoint)):
        folder = tmp_path / package.__name__
        folder.mkdir()
        (folder / f"{name}.py").write_text(text)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    yield discover()["page_views"], source
    sys.modules.pop("crypto_assets.sandbox.endpoints.pages", None)
    for registry, key in ((sys.modules, "crypto_assets.sources.page_views"), (TABLES, "raw/page_views"), (PROVIDERS, "pages")):
        registry.pop(key)


def test_the_page_followed_literally_adds_a_source(documented):
    source, text = documented
    assert len(text.splitlines()) < 60
    window = Window.of_days(date(2024, 10, 7), date(2024, 10, 13))
    with client(symbols="BTC,ETH") as http:
        rows = source.fetch(window, http)
        assert_frame_equal(rows, truth(source, window, NOW, http), check_exact=True)
    assert rows.height == 14
    assert quarantine.split(source.table, rows).bad.is_empty()


def test_the_template_itself_is_no_source():
    assert "_template" not in discover()
    assert "template" not in discover()
