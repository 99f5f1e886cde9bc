"""The on-chain sources: each provider's traps, its own way of refusing, and that they agree with each other."""

import itertools
import json
import logging
import math
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.coins import COINS
from crypto_assets.market.errors import (
    AuthFailedError,
    BadPayloadError,
    NotPublishedYetError,
    PlanRestrictedError,
    RateLimitedError,
    SourceError,
)
from crypto_assets.market.time import DAY, Window
from crypto_assets.sandbox.daily import FIRST_DAY
from crypto_assets.sources import (
    bgeometrics_onchain,
    blockchain_com_charts,
    blockscout_stats,
    coinmetrics_onchain,
    etherscan_stats,
    glassnode_metrics,
    mempool_fees,
    mempool_mining,
    santiment_metrics,
    sentora_metrics,
)
from crypto_assets_tests.sources.loopback import NOW, client

MODULES = {
    m.SOURCE.name: m
    for m in (
        *(bgeometrics_onchain, blockchain_com_charts, blockscout_stats, etherscan_stats, glassnode_metrics),
        *(mempool_fees, mempool_mining, santiment_metrics, sentora_metrics),
    )
}
AUGUST = Window.of_days(date(2024, 8, 1), date(2024, 8, 31))
DAY_ONE = Window.of_days(date(2024, 8, 1), date(2024, 8, 1))
PRESENT = Window(NOW - timedelta(minutes=5), NOW + timedelta(minutes=5))
STAMP = 1_722_470_400
SECRET = "s3cr3t-of-the-paid-plan"


@pytest.fixture(scope="module")
def http():
    with client() as found:
        yield found


def saying(*answers: str, status: int = 200) -> Starlette:
    """A server that gives these bodies in turn, the last one for ever."""
    left = list(answers)

    async def endpoint(_):
        return Response(left.pop(0) if len(left) > 1 else left[0], status, media_type="application/json")

    return Starlette(routes=[Route("/{rest:path}", endpoint, methods=["GET", "POST"])])


def values(rows: pl.DataFrame, metric: str, symbol: str | None = None) -> pl.DataFrame:
    kept = rows.filter(pl.col("metric") == metric)
    return (kept.filter(pl.col("symbol") == symbol) if symbol else kept).select("ts", "value").sort("ts")


# Agreement between providers


def test_what_several_providers_report_is_the_same(http):
    simulated = coinmetrics_onchain.fetch(AUGUST, http)
    charts = blockchain_com_charts.fetch(AUGUST, http)
    mining = mempool_mining.fetch(AUGUST, http)
    sold = glassnode_metrics.fetch(AUGUST, http)
    crowd = santiment_metrics.fetch(AUGUST, http)
    ether = blockscout_stats.fetch(AUGUST, http)
    btc = {m: values(simulated, m, "BTC") for m in ("AdrActCnt", "TxCnt", "HashRate", "CapMVRVCur", "SplyCur", "FlowInExNtv")}
    pairs = [
        (values(charts, "n-unique-addresses"), btc["AdrActCnt"]),
        (values(charts, "n-transactions"), btc["TxCnt"]),
        (values(charts, "hash-rate"), btc["HashRate"]),
        (values(charts, "total-bitcoins"), btc["SplyCur"]),
        (values(charts, "mvrv"), btc["CapMVRVCur"]),
        (values(sold, "market/mvrv", "BTC"), btc["CapMVRVCur"]),
        (values(sold, "transactions/transfers_volume_to_exchanges_sum", "BTC"), btc["FlowInExNtv"]),
        (values(crowd, "daily_active_addresses", "BTC"), btc["AdrActCnt"]),
        (values(crowd, "exchange_inflow", "BTC"), btc["FlowInExNtv"]),
        (values(ether, "newTxns"), values(simulated, "TxCnt", "ETH")),
        (values(mining, "hash_rate").with_columns(pl.col("value") / 1e12), btc["HashRate"]),
    ]
    for found, expected in pairs:
        assert_frame_equal(found, expected, rel_tol=1e-12)


def test_difficulty_is_the_last_adjustment_and_fits_the_hash_rate(http):
    window = Window.of_days(date(2024, 6, 1), date(2024, 9, 30))
    mining, charts = mempool_mining.fetch(window, http), blockchain_com_charts.fetch(window, http)
    changes = values(mining, "difficulty")
    daily = values(charts, "difficulty").with_columns(end=pl.col("ts") + DAY)
    joined = daily.join_asof(changes.rename({"value": "last", "ts": "at"}), left_on="end", right_on="at").drop_nulls()
    assert joined.height > 100
    assert joined["value"].to_list() == joined["last"].to_list()
    ratios = values(mining, "difficulty_ratio")["value"].to_list()
    steps = changes["value"].to_list()
    assert [round(b / a, 6) for a, b in itertools.pairwise(steps)] == ratios[1:]
    rates = values(mining, "hash_rate")["value"].mean()
    assert math.isclose(rates / (2**32 / 600), changes["value"].mean(), rel_tol=0.05)  # ten minutes a block


def test_supplies_of_holders_add_up(http):
    held = bgeometrics_onchain.fetch(AUGUST, http)
    supply = values(blockchain_com_charts.fetch(AUGUST, http), "total-bitcoins")["value"].to_list()
    both = held.filter(pl.col("metric").str.ends_with("hodler-supply-btc")).group_by("ts").agg(pl.col("value").sum()).sort("ts")
    waves = (
        held.filter(pl.col("metric").str.starts_with("hodl-waves"))
        .group_by("ts")
        .agg(pl.len(), pl.col("value").sum())
        .sort("ts")
    )
    assert both["value"].to_list() == pytest.approx(supply, abs=0.02)
    assert waves["value"].to_list() == pytest.approx(supply, abs=0.2)
    assert set(waves["len"]) == {13}


# Traps of single providers


def test_long_charts_are_not_thinned_and_cost_one_call_each(http):
    asked = len(http.seen)
    window = Window.of_days(FIRST_DAY, date(2024, 10, 18))
    rows = blockchain_com_charts.fetch(window, http)
    queries = [query for _, query in http.seen[asked:]]
    assert len(queries) == len(blockchain_com_charts.CHARTS)
    assert all("sampled=false" in query for query in queries)
    assert set(rows.group_by("metric").len()["len"]) == {len(window.days)}
    thinned = http.get_json("blockchain_com", "/charts/total-bitcoins", {"timespan": "all"})["values"]
    assert len(thinned) <= 1500


def test_the_last_point_of_a_day_is_its_value():
    points = [{"x": STAMP + 900 * n, "y": n} for n in range(97)]
    with client(application=saying(json.dumps({"status": "ok", "values": points}))) as http:
        rows = blockchain_com_charts.fetch(DAY_ONE, http)
    assert rows.filter(pl.col("metric") == "mempool-size")["value"].to_list() == [95.0]
    assert rows["available_at"].unique().to_list() == [datetime(2024, 8, 2, 12, tzinfo=UTC)]


def test_hash_rates_beyond_64_bits_belong_to_the_day_that_ends_at_their_stamp():
    rates = [(STAMP, "899999999999999999999"), (STAMP + 86_400, "1.02e+21"), (STAMP + 172_800, "2e+21")]
    body = ",".join(f'{{"timestamp":{at},"avgHashrate":{rate}}}' for at, rate in rates)
    adjustments = f"[[{STAMP + 500_000},2016,3.0e14,1.5],[{STAMP + 3_600},1,2.0e14,0.9]]"
    with client(application=saying(f'{{"hashrates":[{body}],"difficulty":[]}}', adjustments)) as http:
        rows = mempool_mining.fetch(DAY_ONE, http)
    assert rows.select("metric", "value").rows() == [("difficulty", 2.0e14), ("difficulty_ratio", 0.9), ("hash_rate", 1.02e21)]
    lags = rows.select((pl.col("available_at") - pl.col("ts")).dt.total_hours()).to_series().to_list()
    assert lags == [2, 2, 27]


def test_a_thinned_hash_rate_is_refused():
    body = ",".join(f'{{"timestamp":{STAMP + 7 * 86_400 * n},"avgHashrate":1e20}}' for n in range(9))
    with client(application=saying(f'{{"hashrates":[{body}]}}')) as http, pytest.raises(BadPayloadError, match="a point a day"):
        mempool_mining.fetch(DAY_ONE, http)


def test_old_days_of_hash_rate_come_from_the_whole_history(http):
    window = Window.of_days(date(2023, 3, 1), date(2023, 3, 10))
    asked = len(http.seen)
    assert values(mempool_mining.fetch(window, http), "hash_rate").height == 10
    assert [path.rsplit("/", 1)[1] for path, _ in http.seen[asked:]] == ["all", "all"]


def test_eight_calls_serve_any_number_of_windows():
    with client() as http:
        for day in range(1, 6):
            bgeometrics_onchain.fetch(Window.of_days(date(2024, 9, day), date(2024, 9, day)), http)
        assert len(http.seen) == 8 == bgeometrics_onchain.PROVIDER.quotas[0][0]


def test_metrics_outside_the_plan_are_left_out_with_a_warning(caplog):
    names = [*bgeometrics_onchain.METRICS, bgeometrics_onchain.WAVES]

    async def endpoint(request):
        name = request.path_params["name"]
        if name != "sopr":
            return Response('{"status":403,"error":"Forbidden"}', 403, media_type="application/json")
        return Response('[{"d":"2024-08-01","unixTs":"1722470400","sopr":"1.0123"},{"d":"2024-08-02","sopr":null}]')

    with (
        client(application=Starlette(routes=[Route("/bgeometrics/v1/{name}", endpoint)])) as http,
        caplog.at_level(logging.WARNING),
    ):
        rows = bgeometrics_onchain.fetch(AUGUST, http)
    assert rows.select("metric", "value").rows() == [("sopr", 1.0123)]
    assert sum("left out" in record.message for record in caplog.records) == len(names) - 1
    with (
        client(application=saying('{"status":403,"error":"Forbidden"}', status=403)) as http,
        pytest.raises(PlanRestrictedError),
    ):
        bgeometrics_onchain.fetch(AUGUST, http)


def test_a_day_that_is_not_over_is_left_out():
    shown = [("2024-08-01", "12", False), ("2024-08-02", "3", True)]
    chart = [{"date": d, "date_to": d, "value": v, "is_approximate": a} for d, v, a in shown] + [
        {"date": "2024-08-03", "value": "14"}
    ]
    with client(application=saying(json.dumps({"chart": chart, "info": {}}))) as http:
        rows = blockscout_stats.fetch(AUGUST, http)
    assert values(rows, "newTxns")["value"].to_list() == [12.0, 14.0]


def test_a_snapshot_of_fees_is_of_this_minute_and_ordered(http):
    rows = mempool_fees.fetch(PRESENT, http)
    assert rows["ts"].to_list() == [NOW.replace(second=0, microsecond=0)]
    fees = [rows[column][0] for column in mempool_fees.FEES]
    assert fees == sorted(fees, reverse=True)
    assert mempool_fees.fetch(AUGUST, http).is_empty()


# Keyed providers


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("Max calls per sec rate limit reached (3/sec)", RateLimitedError),
        ("Max daily rate limit reached. 110000 (100%) of 100000 day/limit", RateLimitedError),
        ("Invalid API Key (#err2)|" + SECRET, AuthFailedError),
        ("Missing/Invalid API Key", AuthFailedError),
        (
            "Sorry, it looks like you are trying to access an API Pro endpoint. Contact us to upgrade to API Pro.",
            PlanRestrictedError,
        ),
        ("Free API access is not supported for this chain. Please upgrade your api plan.", PlanRestrictedError),
        ("Missing or unsupported chainid parameter (required for v2 api)", BadPayloadError),
        ("Error! Missing Or invalid Action name", BadPayloadError),
    ],
)
def test_etherscan_refuses_with_status_200(result, expected):
    body = json.dumps({"status": "0", "message": "NOTOK", "result": result})
    with client(application=saying(body), etherscan_key=SECRET) as http, pytest.raises(expected) as caught:
        etherscan_stats.fetch(AUGUST, http)
    assert type(caught.value) is expected
    assert SECRET not in str(caught.value)
    assert any(f"apikey={SECRET}" in query for _, query in http.seen)


def test_etherscans_no_records_are_no_error_before_they_are_due():
    body = '{"status":"0","message":"No records found","result":[]}'
    with client(application=saying(body)) as http:
        today = Window.of_days(NOW.date(), NOW.date())
        assert etherscan_stats.fetch(today, http).is_empty()
        with pytest.raises(NotPublishedYetError, match="2024-08-01"):
            etherscan_stats.fetch(AUGUST, http)


def test_restricted_metrics_come_31_days_late(http):
    cut = (NOW - 31 * DAY).date()
    rows = santiment_metrics.fetch(Window.of_days(cut - 2 * DAY, NOW.date()), http)
    newest = dict(rows.group_by("metric").agg(pl.col("ts").max()).iter_rows())
    assert {newest[m].date() for m in santiment_metrics.OPEN} == {(NOW - DAY).date()}
    assert {newest[m].date() for m in santiment_metrics.RESTRICTED} == {cut}


def test_what_a_free_key_no_longer_sees_is_absent_and_long_ranges_are_asked_in_parts(http):
    asked = len(http.seen)
    rows = santiment_metrics.fetch(Window.of_days(date(2023, 1, 1), date(2024, 9, 30)), http)
    assert len(http.seen) - asked == 2  # 639 days
    oldest = dict(rows.group_by("metric").agg(pl.col("ts").min()).iter_rows())
    assert {oldest[m] for m in santiment_metrics.OPEN} == {datetime(2023, 1, 1, tzinfo=UTC)}
    assert min(oldest[m] for m in santiment_metrics.RESTRICTED) > NOW - 400 * DAY


def graphql(metric: str, message: str) -> str:
    point = [
        {"datetime": "2024-08-01T00:00:00Z", "data": [{"slug": "bitcoin", "value": 7}, {"slug": "ethereum", "value": None}]}
    ]
    others = [m for m in (*santiment_metrics.OPEN, *santiment_metrics.RESTRICTED) if m != metric]
    data = {m: {"timeseriesDataPerSlugJson": json.dumps(point)} for m in others} | {metric: None}
    return json.dumps({"data": data, "errors": [{"message": message, "path": [metric]}]})


@pytest.mark.parametrize(
    "message",
    [
        "The metric 'dev_activity' is not supported or is mistyped.",
        "metric dev_activity is not included in the currently used plan",
    ],
)
def test_a_withdrawn_metric_is_left_out_with_a_warning(message, caplog):
    with client(application=saying(graphql("dev_activity", message))) as http, caplog.at_level(logging.WARNING):
        rows = santiment_metrics.fetch(DAY_ONE, http)
    assert rows.height == 7
    assert set(rows["symbol"]) == {"BTC"}
    assert "dev_activity left out" in caplog.text


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (f"Apikey '{SECRET}' is not valid", AuthFailedError),
        ("API Rate Limit Reached. Try again in 30 seconds", RateLimitedError),
        ("Operation getMetric is too complex: complexity is 90000 and maximum is 50000", BadPayloadError),
        ("Internal server error", BadPayloadError),
    ],
)
def test_santiment_refuses_in_errors_with_status_200(message, expected):
    with (
        client(application=saying(graphql("dev_activity", message)), santiment_key=SECRET) as http,
        pytest.raises(SourceError) as caught,
    ):
        santiment_metrics.fetch(DAY_ONE, http)
    assert type(caught.value) is expected
    assert SECRET not in str(caught.value)


def test_a_key_that_sees_nothing_is_an_error():
    message = "is not accessible with the currently used SANAPI FREE subscription"
    errors = [{"message": message, "path": [m]} for m in (*santiment_metrics.OPEN, *santiment_metrics.RESTRICTED)]
    body = json.dumps({"data": {}, "errors": errors})
    with client(application=saying(body)) as http, pytest.raises(PlanRestrictedError):
        santiment_metrics.fetch(DAY_ONE, http)


def test_glassnode_fits_the_light_plan_and_sends_its_key_in_a_header_only():
    headers = []

    async def endpoint(request):
        headers.append(request.headers.get("x-api-key"))
        return Response(f'[{{"t":{STAMP},"v":0.5}},{{"t":{STAMP + 86_400},"v":null}}]', media_type="application/json")

    with client(application=Starlette(routes=[Route("/{rest:path}", endpoint)]), glassnode_key=SECRET) as http:
        rows = glassnode_metrics.fetch(AUGUST, http)
    assert len(headers) <= 50
    assert set(headers) == {SECRET}
    assert not any(SECRET in query for _, query in http.seen)
    assert rows.height == len(headers)
    with client(symbols="ADA,SOL") as http:
        assert glassnode_metrics.fetch(AUGUST, http).is_empty()
        assert http.seen == []


def test_holding_times_that_are_null_are_absent(http):
    rows = sentora_metrics.fetch(PRESENT, http)
    assert rows.filter(pl.col("symbol") == "POL", pl.col("metric").str.starts_with("byTime")).is_empty()
    assert rows.filter(pl.col("symbol") == "BTC").height == 7


@pytest.mark.parametrize("name", ["etherscan_stats", "santiment_metrics", "glassnode_metrics", "sentora_metrics"])
def test_the_sandbox_wants_a_key_as_the_provider_does(name, http):
    from crypto_assets.sources._http import Http

    keyless = http.settings.model_copy(update={key: None for key in MODULES[name].SOURCE.keys})
    with Http.of(keyless, http.now) as without, pytest.raises(AuthFailedError):
        MODULES[name].fetch(PRESENT if name == "sentora_metrics" else DAY_ONE, without)


def test_every_coin_has_its_own_slug():
    assert len({coin.name_at("santiment") for coin in COINS.values()}) == len(COINS)


def test_paid_and_dead_providers_name_their_substitutes():
    for name in ("etherscan_stats", "santiment_metrics", "glassnode_metrics", "sentora_metrics"):
        source = MODULES[name].SOURCE
        assert source.keys
        assert "coinmetrics_onchain" in source.substitute


# Answers of another shape


RATES = f'{{"hashrates":[{{"timestamp":{STAMP},"avgHashrate":1e20}}]}}'
NASTY = {
    "chart without values": ("blockchain_com_charts", '{"status":"ok"}', "'values'"),
    "chart that is not found": ("blockchain_com_charts", '{"status":"not-found","values":[]}', "not-found"),
    "chart in milliseconds": ("blockchain_com_charts", f'{{"values":[{{"x":{STAMP}000,"y":1}}]}}', "'x'"),
    "chart with words": ("blockchain_com_charts", f'{{"values":[{{"x":{STAMP},"y":"high"}}]}}', "'y'"),
    "rate without a time": ("mempool_mining", '{"hashrates":[{"avgHashrate":1}]}', "'timestamp'"),
    "rate that is null": ("mempool_mining", RATES.replace("1e20", "null"), "'avgHashrate'"),
    "fees without an hour": ("mempool_fees", '{"fastestFee":1,"halfHourFee":1}', "'hourFee'"),
    "fees as a list": ("mempool_fees", "[1,2]", "expected an object"),
    "metric without its field": ("bgeometrics_onchain", '[{"d":"2024-08-01","value":"1"}]', "'sopr'"),
    "metric with another date": ("bgeometrics_onchain", '[{"d":"01/08/2024","sopr":"1"}]', "'d'"),
    "metric with a message": ("bgeometrics_onchain", '{"message":"try later"}', "expected a list"),
    "line without a chart": ("blockscout_stats", '{"info":{}}', "'chart'"),
    "line with a word": ("blockscout_stats", '{"chart":[{"date":"2024-08-01","value":"many"}]}', "'value'"),
    "statistic that is no object": ("etherscan_stats", '"OK"', "expected status"),
    "statistic without its field": (
        "etherscan_stats",
        f'{{"status":"1","message":"OK","result":[{{"unixTimeStamp":"{STAMP}"}}]}}',
        "'transactionCount'",
    ),
    "data that is null": ("santiment_metrics", '{"data":null}', "expected a list"),
    "slug nobody asked for": (
        "santiment_metrics",
        json.dumps(
            {
                "data": {
                    m: {
                        "timeseriesDataPerSlugJson": [
                            {"datetime": "2024-08-01T00:00:00Z", "data": [{"slug": "dogecoin", "value": 1}]}
                        ]
                    }
                    for m in (*santiment_metrics.OPEN, *santiment_metrics.RESTRICTED)
                }
            }
        ),
        "'slug'",
    ),
    "series as an object": ("glassnode_metrics", '{"t":1}', "expected a list"),
    "value with parts": ("glassnode_metrics", f'[{{"t":{STAMP},"o":{{"a":1}}}}]', "'v'"),
    "overview without concentration": ("sentora_metrics", '{"inOutOfTheMoney":null}', "'concentration'"),
    "overview with half a group": (
        "sentora_metrics",
        '{"concentration":0.1,"inOutOfTheMoney":{"in":1}}',
        "inOutOfTheMoney/between",
    ),
}


@pytest.mark.parametrize("case", NASTY)
def test_the_field_is_named(case):
    name, body, named = NASTY[case]
    module = MODULES[name]
    with client(application=saying(body)) as http, pytest.raises(BadPayloadError) as caught:
        module.fetch(PRESENT if module.SOURCE.history.kind == "none" else DAY_ONE, http)
    assert named in str(caught.value)
    assert str(caught.value).startswith(f"{module.SOURCE.provider}: ")


@pytest.mark.parametrize("name", MODULES)
def test_a_page_with_status_200_is_no_data(name):
    module = MODULES[name]
    with client(application=saying("<html>Just a moment...</html>")) as http, pytest.raises(BadPayloadError, match="HTML"):
        module.fetch(PRESENT if module.SOURCE.history.kind == "none" else DAY_ONE, http)
