"""Macro: what is special to these sources beyond the contract of every source."""

import logging
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from crypto_assets.market.errors import AuthFailedError, BadPayloadError, GeoBlockedError, NotPublishedYetError
from crypto_assets.market.time import Window
from crypto_assets.orchestration.assets.tables import switched_off
from crypto_assets.sandbox.excel import xls, xlsx
from crypto_assets.settings import Settings
from crypto_assets.sources import (
    cboe_vix,
    ecb_fixings,
    eia_oil,
    fred_series,
    lbma_metals,
    treasury_10y,
    worldbank_commodities,
    yahoo_chart,
)
from crypto_assets.sources._excel import sheet_of
from crypto_assets.sources._http import Http
from crypto_assets_tests.sources.loopback import NOW, Clock, client, market

WEEK = Window.of_days(date(2024, 10, 7), date(2024, 10, 13))
DAY = Window.of_days(date(2024, 10, 7), date(2024, 10, 7))
SECRET = "5ecret-0f-mine"


def says(body, status: int = 200, path: str = "/{rest:path}") -> Starlette:
    async def endpoint(_):
        return Response(body, status) if isinstance(body, str | bytes) else JSONResponse(body, status)

    return Starlette(routes=[Route(path, endpoint)])


def without_keys(http: Http) -> Http:
    return Http.of(http.settings.model_copy(update={"eia_key": None}), Clock(NOW))


@pytest.mark.parametrize("write", [xls, xlsx])
def test_a_workbook_comes_back_cell_by_cell(write):
    rows = [["Größe & <x>", "n"], [date(2024, 2, 29), 71.5], [None, None], [date(1986, 1, 2), -37.63], ["…", 1e6]]
    body = write({"First": [["a"]], "Data 1": rows * 300})
    found = sheet_of(body, "Data 1", "eia", "file")
    assert found[:3] == [("Größe & <x>", "n"), ("2024-02-29 00:00:00", "71.5"), (None, None)]
    assert found[3] == ("1986-01-02 00:00:00", "-37.63")
    assert len(found) == 1500
    assert float(found[-1][1]) == 1e6
    assert write({"First": [["a"]], "Data 1": rows * 300}) == body


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        (b"", NotPublishedYetError, "nothing"),
        (b"<html>busy</html>", BadPayloadError, "an HTML page"),
        (xlsx({"Other": [["a"]]}), BadPayloadError, "'Data 1'"),
        (xls({"Data 1": [["a"]] * 999})[:2048], BadPayloadError, "2048 bytes"),
        (b'{"a": 1}', BadPayloadError, "8 bytes"),
    ],
)
def test_what_is_no_workbook_is_said(body, error, words):
    with pytest.raises(error, match=words) as caught:
        sheet_of(body, "Data 1", "eia", "file")
    assert "\n" not in str(caught.value)


def test_the_dollar_index_is_that_of_the_formula():
    ones = pl.DataFrame({name: [1.0] for name in ecb_fixings.WEIGHTS})
    assert ones.select(ecb_fixings.dollar_index()).item() == pytest.approx(50.14348112)
    # Fixings of 2024-01-02 and the formula as ICE writes it, in euros and pounds.
    euro, pound = 1.0956, 1.0956 / 0.86645
    yen, canada, sweden, swiss = 155.55 / 1.0956, 1.4565 / 1.0956, 11.1655 / 1.0956, 0.9305 / 1.0956
    ice = 50.14348112 * euro**-0.576 * yen**0.136 * pound**-0.119 * canada**0.091 * sweden**0.042 * swiss**0.036
    legs = {"eur": 1 / euro, "jpy": yen, "gbp": 1 / pound, "cad": canada, "sek": sweden, "chf": swiss}
    ours = pl.DataFrame({k: [v] for k, v in legs.items()}).select(ecb_fixings.dollar_index()).item()
    assert ours == pytest.approx(ice, rel=1e-12)
    assert 101 < ours < 103


def test_the_ecb_itself_answers_where_frankfurter_does_not(caplog):
    with client() as http:
        usual = ecb_fixings.fetch(WEEK, http)
    with client(faults=["frankfurter:html always"]) as http:
        direct = ecb_fixings.fetch(WEEK, http)
    assert direct["via"].unique().to_list() == ["ecb"]
    assert "the ECB was asked instead" in caplog.text
    assert_frame_equal(direct.drop("via"), usual.drop("via"), check_exact=False, rel_tol=1e-5)


def test_long_windows_are_asked_for_by_the_year():
    with client() as http:
        rows = ecb_fixings.fetch(Window.of_days(date(2022, 6, 1), date(2024, 10, 13)), http)
        asked = [path for path, _ in http.seen]
    assert len(asked) == 3
    gaps = rows["ts"].diff().drop_nulls()
    assert gaps.max() <= timedelta(days=5)
    assert rows["ts"].is_unique().all()


def test_gold_falls_back_to_its_token(caplog):
    with client() as http:
        auction = lbma_metals.fetch(WEEK, http)
    bars = [[int(ts.timestamp() * 1000), "1", "1", "1", "2650.5", "1", 0, "1", 1, "1", "1", "0"] for ts in days(WEEK)]

    async def turned_away(_):
        return Response("<html>Just a moment</html>", 403)

    async def klines(request):
        assert request.query_params["symbol"] == "PAXGUSDT"
        return JSONResponse(bars)

    routes = [Route("/lbma/{rest:path}", turned_away), Route("/binance_spot/api/v3/klines", klines)]
    with client(application=Starlette(routes=routes)) as http:
        token = lbma_metals.fetch(WEEK, http)
    assert token["via"].unique().to_list() == ["paxg"]
    assert token["gold_usd"].unique().to_list() == [2650.5]
    assert token["silver_usd"].null_count() == token.height
    assert token["ts"].to_list() == auction["ts"].to_list()
    assert (token["available_at"] - token["ts"]).unique().to_list() == [timedelta(hours=24)]
    assert (auction["available_at"] - auction["ts"]).unique().to_list() == [timedelta(hours=18)]
    assert "PAXG" in caplog.text


def days(window: Window):
    return [window.start + timedelta(days=n) for n in range(len(window.days))]


def test_the_sandbox_serves_the_token_too():
    with client(faults=["lbma:500 always"]) as http:
        token = lbma_metals.fetch(WEEK, http)
    with client() as http:
        auction = lbma_metals.fetch(WEEK, http)
    assert token["via"].unique().to_list() == ["paxg"]
    assert ((token["gold_usd"] / auction["gold_usd"] - 1).abs() < 0.01).all()


def test_both_prices_of_gold_failing_is_the_first_error():
    with client(application=says("no", 403)) as http, pytest.raises(GeoBlockedError, match=r"^lbma: "):
        lbma_metals.fetch(WEEK, http)
    assert lbma_metals.SOURCE.may_fail


def test_a_day_without_auction_has_no_row():
    eve = Window.of_days(date(2023, 12, 22), date(2023, 12, 27))
    with client() as http:
        rows = lbma_metals.fetch(eve, http)
    assert [ts.day for ts in rows["ts"]] == [22, 27]


def test_both_roads_to_the_oil_price_agree():
    with client() as http, without_keys(http) as keyless:
        by_key = eia_oil.fetch(WEEK, http)
        by_file = eia_oil.fetch(WEEK, keyless)
        asked = {path for path, _ in http.seen}
    assert_frame_equal(by_file, by_key)
    assert {"/eia/dnav/pet/hist_xls/RWTCd.xls", "/eia/v2/petroleum/pri/spt/data/"} <= asked


def test_oil_of_a_week_is_known_on_the_thursday_after():
    with client() as http:
        known = dict(eia_oil.fetch(WEEK, http).filter(pl.col("grade") == "WTI").select("ts", "available_at").iter_rows())
    monday, tuesday, friday = (datetime(2024, 10, d, tzinfo=UTC) for d in (7, 8, 11))
    assert known[monday] == datetime(2024, 10, 10, 22, tzinfo=UTC)
    assert known[tuesday] == known[friday] == datetime(2024, 10, 17, 22, tzinfo=UTC)


def test_a_month_with_more_oil_than_a_page_comes_whole(monkeypatch):
    month = Window.of_days(date(2024, 9, 1), date(2024, 9, 30))
    with client() as http:
        whole = eia_oil.fetch(month, http)
        monkeypatch.setattr(eia_oil, "PAGE_SIZE", 7)
        assert_frame_equal(eia_oil.fetch(month, http), whole)
    assert whole.height == 2 * 21


def test_an_unknown_eia_key_is_said_without_it():
    refusal = {"error": {"code": "API_KEY_INVALID", "message": f"An invalid api_key {SECRET} was supplied."}}
    with client(application=says(refusal, 403), eia_key=SecretStr(SECRET)) as http, pytest.raises(AuthFailedError) as caught:
        eia_oil.fetch(WEEK, http)
    assert "CRYPTO_ASSETS_EIA_KEY" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_an_oil_workbook_of_another_series_is_refused():
    other = xls({"Data 1": [["", "Data 1: x"], ["Sourcekey", "EER"], ["Date", "x"], [date(2024, 10, 7), 1.0]]})
    with (
        client(application=says(other)) as http,
        without_keys(http) as keyless,
        pytest.raises(BadPayloadError, match="Sourcekey RWTC"),
    ):
        eia_oil.fetch(WEEK, keyless)


def test_a_month_is_released_on_the_fifth_business_day_of_the_next():
    released = worldbank_commodities.released
    assert released(date(2024, 9, 1)) == date(2024, 10, 7)
    assert released(date(2024, 12, 1)) == date(2025, 1, 8)
    assert released(date(2024, 5, 1)) == date(2024, 6, 7)


def test_the_pink_sheet_is_read_by_the_names_of_its_columns():
    with client() as http:
        rows = worldbank_commodities.fetch(DAY, http)
    assert rows["month"].unique().to_list() == ["2024-09"]
    assert set(rows["series"]) == {name for names in worldbank_commodities.SHEETS.values() for name in names}
    by_name = dict(rows.select("series", "value").iter_rows())
    gold = market_mean("gold")
    assert by_name["Gold"] == pytest.approx(gold, abs=1e-3)
    assert by_name["Natural gas, US"] < 10 < by_name["Metals & Minerals"]


def market_mean(column: str) -> float:
    from crypto_assets.sandbox import macro

    frame = macro.metals(market(), date(2024, 10, 7)).filter(pl.col("ts").dt.strftime("%Y-%m") == "2024-09")
    return frame[column].mean()


def test_a_page_without_the_link_is_said():
    moved = says("<html><body>We have moved</body></html>")
    with client(application=moved) as http, pytest.raises(BadPayloadError, match="expected a link"):
        worldbank_commodities.fetch(DAY, http)


def test_a_link_to_another_host_is_not_followed():
    page = '<a href="https://evil.example/en/doc/x/related/CMO-Historical-Data-Monthly.xlsx">Monthly prices</a>'
    with client(application=says(page)) as http:
        with pytest.raises(BadPayloadError, match="expected a link"):
            worldbank_commodities.fetch(DAY, http)
        assert len(http.seen) == 1


def test_every_version_of_a_value_is_a_row():
    with client() as http:
        rows = fred_series.fetch(Window.of_days(date(2024, 8, 1), date(2024, 9, 30)), http)
    broad = rows.filter(pl.col("series") == "DTWEXBGS")
    versions = broad.group_by("ts").agg(pl.len(), pl.col("value").n_unique().alias("values"), pl.col("vintage").diff().max())
    corrected = versions.filter(pl.col("len") == 2)
    assert corrected.height > 3
    assert corrected["values"].unique().to_list() == [2]
    assert corrected["vintage"].unique().to_list() == [timedelta(days=10)]
    assert (rows["available_at"] - rows["vintage"]).unique().to_list() == [timedelta(hours=30)]


def test_a_long_past_is_asked_for_in_pieces_and_seams_make_no_versions(monkeypatch):
    month = Window.of_days(date(2024, 8, 1), date(2024, 8, 31))
    with client() as http:
        whole = fred_series.fetch(month, http)
        calls = len(http.seen)
        monkeypatch.setattr(fred_series, "PIECE", timedelta(days=11))
        monkeypatch.setattr(fred_series, "PAGE_SIZE", 9)
        assert_frame_equal(fred_series.fetch(month, http), whole)
        assert len(http.seen) > 8 * calls


def test_ten_years_and_vix_are_those_of_their_publishers():
    with client() as http:
        rows = fred_series.fetch(WEEK, http)
        ten, vix = treasury_10y.fetch(WEEK, http), cboe_vix.fetch(WEEK, http)
    ours = {name: rows.filter(pl.col("series") == name)["value"].to_list() for name in ("DGS10", "VIXCLS")}
    assert ours == {"DGS10": ten["yield_pct"].to_list(), "VIXCLS": vix["close"].to_list()}


def test_an_unknown_fred_key_is_said_without_it():
    refusal = {"error_code": 400, "error_message": f"Bad Request.  The value for variable api_key {SECRET} is not registered."}
    with client(application=says(refusal, 400), fred_key=SecretStr(SECRET)) as http, pytest.raises(AuthFailedError) as caught:
        fred_series.fetch(WEEK, http)
    assert SECRET not in str(caught.value)


def test_sources_whose_terms_bar_them_are_off_in_world_live():
    fred, yahoo = fred_series.SOURCE, yahoo_chart.SOURCE
    live = Settings(world="live", fred_key=SecretStr(SECRET))
    assert "CRYPTO_ASSETS_FRED_KEY" in switched_off(fred, Settings(world="live", accept_fred_terms=True))
    assert "CRYPTO_ASSETS_ACCEPT_FRED_TERMS=true" in switched_off(fred, live)
    assert "machine learning" in switched_off(fred, live)
    assert switched_off(fred, live.model_copy(update={"accept_fred_terms": True})) is None
    assert "CRYPTO_ASSETS_ACCEPT_YAHOO_TERMS=true" in switched_off(yahoo, live)
    assert switched_off(yahoo, Settings(world="sandbox")) is None
    assert SECRET not in f"{live!r} {switched_off(fred, live)}"


def test_days_of_yahoo_are_those_of_new_york_in_summer_and_winter():
    with client() as http:
        rows = yahoo_chart.fetch(Window.of_days(date(2023, 12, 18), date(2024, 7, 12)), http)
    days_of = set(rows.filter(pl.col("ticker") == "GC=F")["ts"])
    assert {datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 7, 5, tzinfo=UTC)} <= days_of
    assert not {day.weekday() for day in days_of} & {5, 6}
    assert not days_of & {datetime(2023, 12, 24, tzinfo=UTC), datetime(2024, 7, 4, tzinfo=UTC)}


def test_a_session_without_prices_is_left_out():
    with client() as http:
        rows = yahoo_chart.fetch(Window.of_days(date(2022, 12, 19), date(2024, 12, 31)), http)
    assert not {(ts.month, ts.day) for ts in rows["ts"]} & {(12, 24)}


CHART = {"meta": {"exchangeTimezoneName": "America/New_York"}, "timestamp": [1728273600], "indicators": {"quote": [{}]}}
CASES = {
    "rates that are a list": (ecb_fixings, {"rates": []}, "'rates'"),
    "day without a currency": (ecb_fixings, {"rates": {"2024-10-07": {"EUR": 0.9}}}, "'JPY'"),
    "rate of a day that is none": (
        ecb_fixings,
        {"rates": {"yesterday": dict.fromkeys(("EUR", "JPY", "GBP", "CAD", "SEK", "CHF"), 1)}},
        "'date'",
    ),
    "fred without observations": (fred_series, {"count": 1}, "'observations'"),
    "fred with a number": (
        fred_series,
        {"count": 1, "observations": [{"date": "2024-10-07", "realtime_start": "2024-10-08", "value": 4.1}]},
        "'value'",
    ),
    "oil of another series": (
        eia_oil,
        {"response": {"total": "1", "data": [{"period": "2024-10-07", "series": "X", "value": "1"}]}},
        "'series'",
    ),
    "oil without a total": (eia_oil, {"response": {"data": [{"period": "2024-10-07"}]}}, "'total'"),
    "oil without a response": (eia_oil, {"data": []}, "'data'"),
    "chart with an error": (yahoo_chart, {"chart": {"result": None, "error": {"code": "Unauthorized"}}}, "Unauthorized"),
    "chart without prices": (yahoo_chart, {"chart": {"result": [CHART], "error": None}}, "'open'"),
    "chart that is a text": (yahoo_chart, {"finance": "no"}, "'chart'"),
}


@pytest.mark.parametrize("case", CASES)
def test_another_shape_is_named(case):
    module, answer, words = CASES[case]
    with client(application=says(answer)) as http, pytest.raises(BadPayloadError, match=words):
        module.fetch(DAY, http)


def test_no_key_is_logged(caplog):
    caplog.set_level(logging.DEBUG)
    with client(eia_key=SecretStr(SECRET), fred_key=SecretStr(SECRET)) as http:
        eia_oil.fetch(DAY, http)
        fred_series.fetch(DAY, http)
        assert any(SECRET in query for _, query in http.seen)
    assert SECRET not in caplog.text
