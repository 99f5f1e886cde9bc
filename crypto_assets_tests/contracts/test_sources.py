"""What every source promises, tried on every source that is found, against the real server."""

from datetime import UTC, date, datetime

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from crypto_assets.lake import quarantine
from crypto_assets.lake.tables import TABLES, RawTable
from crypto_assets.market.time import Window
from crypto_assets.sources import Source, discover
from crypto_assets.sources._http import Http
from crypto_assets.sources._providers import PROVIDERS
from crypto_assets_tests.sources.loopback import NOW, Clock, client, span, truth

SOURCES = discover()
MINE = (
    *("binance_candles", "binance_funding", "binance_perp_candles", "cboe_vix", "coinmetrics_onchain", "defillama_tvl"),
    *("fear_greed", "news", "treasury_10y"),
)


@pytest.fixture(scope="module")
def clock():
    return Clock(NOW)


@pytest.fixture(scope="module")
def http(clock):
    with client(clock) as found:
        yield found


@pytest.fixture(scope="module")
def weeks(http):
    return Fetched(http)


class Fetched(dict):
    """Each source's rows, fetched when first asked for."""

    def __init__(self, http: Http) -> None:
        super().__init__()
        self.http = http

    def __missing__(self, name: str) -> pl.DataFrame:
        self[name] = SOURCES[name].fetch(span(SOURCES[name]), self.http)
        return self[name]


def pytest_generate_tests(metafunc):
    if "source" in metafunc.fixturenames:
        metafunc.parametrize("source", SOURCES.values(), ids=list(SOURCES))
    if "historic" in metafunc.fixturenames:
        chosen = {name: source for name, source in SOURCES.items() if source.history.kind != "none"}
        metafunc.parametrize("historic", chosen.values(), ids=list(chosen))


def test_all_sources_are_found():
    assert set(MINE) <= set(SOURCES)


def test_one_name_everywhere(source: Source):
    assert source.name in SOURCES
    assert issubclass(source.table, RawTable)
    assert TABLES[f"raw/{source.name}"] is source.table
    assert source.provider in PROVIDERS
    assert source.pool
    assert source.terms


def test_no_row_is_quarantined(source: Source, weeks):
    rows = weeks[source.name]
    assert rows.height
    assert quarantine.split(source.table, rows).bad.is_empty()


def test_values_are_the_simulators(source: Source, weeks, http):
    assert_frame_equal(weeks[source.name], truth(source, span(source), NOW, http), check_exact=True)


def test_rows_lie_in_the_window_and_are_known_after_what_they_describe(source: Source, weeks):
    rows = weeks[source.name]
    window = span(source)
    assert rows.filter((pl.col("ts") < window.start) | (pl.col("ts") >= window.end)).is_empty()
    assert rows.filter(pl.col("available_at") < pl.col("ts")).is_empty()
    assert_frame_equal(rows.select("available_at"), rows.select(available_at=source.available_at))
    assert rows["source"].unique().to_list() == [source.provider]


def test_the_same_question_gives_the_same_rows(source: Source, weeks, http):
    assert_frame_equal(source.fetch(span(source), http), weeks[source.name])


def test_days_add_up_to_the_window(historic: Source, weeks, http):
    days = [historic.fetch(Window.of_days(day, day), http) for day in span(historic).days]
    assert_frame_equal(pl.concat(days).sort([*historic.table.key, "available_at"]), weeks[historic.name])


def test_no_row_comes_before_it_can_be_known(historic: Source, http, clock):
    window = Window.of_days(date(2024, 10, 12), date(2024, 10, 17))
    for hour, minute in ((0, 6), (1, 30), (2, 45), (6, 12), (12, 18), (23, 36)):
        with clock.at(datetime(2024, 10, 16, hour, minute, tzinfo=UTC)) as now, Http.of(http.settings, clock) as fresh:
            assert_frame_equal(historic.fetch(window, fresh), truth(historic, window, now, http), check_exact=True)


def test_a_window_in_the_future_is_empty(historic: Source, http):
    assert historic.fetch(Window.of_days(date(2024, 11, 2), date(2024, 11, 3)), http).is_empty()


def test_a_day_without_rows_is_no_error(historic: Source, http):
    sunday = Window.of_days(span(historic).days[-1], span(historic).days[-1])
    rows = historic.fetch(sunday, http)
    assert rows.schema == historic.table.schema()
    assert_frame_equal(rows, truth(historic, sunday, NOW, http), check_exact=True)
    if historic.is_core:
        assert rows.is_empty() == (historic.name in ("treasury_10y", "cboe_vix"))
