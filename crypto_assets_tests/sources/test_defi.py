"""DeFi and governance: what is special to them beyond the contract of every source."""

import math
from datetime import UTC, date, datetime

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from crypto_assets.lake import Lake
from crypto_assets.market.errors import BadPayloadError, NotPublishedYetError
from crypto_assets.market.time import Window
from crypto_assets.sources import (
    _capture,
    defillama_dex_volume,
    defillama_protocols,
    defillama_stablecoins,
    defillama_yields,
    dexscreener_pools,
    snapshot_governance,
)
from crypto_assets_tests.sources.loopback import NOW, Clock, client

DAY = Window.of_days(date(2024, 10, 7), date(2024, 10, 7))
SECOND = 1728259200
"""2024-10-07 00:00 UTC."""
MOMENT = Window(datetime(2024, 10, 20, 12, tzinfo=UTC), datetime(2024, 10, 20, 13, tzinfo=UTC))


def says(*answers, status: int = 200) -> Starlette:
    """A server that gives these answers in turn, the last one for ever."""
    left = list(answers)

    async def endpoint(_):
        body = left.pop(0) if len(left) > 1 else left[0]
        return Response(body, status) if isinstance(body, str) else JSONResponse(body, status)

    return Starlette(routes=[Route("/{rest:path}", endpoint, methods=["GET", "POST"])])


def protocol(**sections):
    tvl = [{"date": SECOND, "totalLiquidityUSD": 100.0}]
    return {"tvl": tvl, "chainTvls": {name: {"tokensInUsd": tokens} for name, tokens in sections.items()}}


def mix(**tokens):
    return [{"date": SECOND, "tokens": tokens}]


@pytest.mark.parametrize(
    ("sections", "share"),
    [
        ({"Ethereum": mix(USDC=1.0, WETH=3.0)}, 25.0),
        ({"Ethereum": mix(USDC=1.0, WETH=2.0), "Solana": mix(USDT=1.0)}, 50.0),
        ({"Ethereum": mix(crvUSD=1.0, DAI=1.0, WBTC=2.0)}, 50.0),
        ({"Ethereum": mix(USDC=1.0, WETH=3.0), "Ethereum-borrowed": mix(USDC=99.0), "borrowed": mix(USDC=99.0)}, 25.0),
        ({"Ethereum": mix(USDC=1.0, WETH=3.0), "staking": mix(CRV=9.0), "pool2": mix(CRV=9.0)}, 25.0),
        ({"Ethereum": None}, None),
        ({"Ethereum": mix(WETH=0.0)}, None),
        ({}, None),
    ],
)
def test_the_share_of_dollars_is_of_what_is_locked_on_chains(monkeypatch, sections, share):
    monkeypatch.setattr(defillama_protocols, "PROTOCOLS", ("curve-dex",))
    with client(application=says(protocol(**sections))) as http:
        rows = defillama_protocols.fetch(DAY, http)
    assert rows.select("tvl_usd", "stable_pct").rows() == [(100.0, share)]


def test_the_unfinished_last_point_of_a_day_gives_way_to_none_of_its_own(monkeypatch):
    monkeypatch.setattr(defillama_protocols, "PROTOCOLS", ("lido",))
    points = [{"date": SECOND, "totalLiquidityUSD": 1.0}, {"date": int(NOW.timestamp()), "totalLiquidityUSD": 2.0}]
    with client(application=says({"tvl": points, "chainTvls": {}})) as http:
        rows = defillama_protocols.fetch(Window.of_days(date(2024, 10, 1), date(2024, 10, 20)), http)
    assert rows["ts"].to_list() == [DAY.start]


def test_a_protocol_that_was_renamed_is_left_out_and_named(monkeypatch, caplog):
    monkeypatch.setattr(defillama_protocols, "PROTOCOLS", ("lido", "no-such-protocol"))
    with client() as http:
        rows = defillama_protocols.fetch(DAY, http)
    assert rows["protocol"].to_list() == ["lido"]
    assert "no-such-protocol" in caplog.text


def test_no_protocol_at_all_is_an_error(monkeypatch):
    monkeypatch.setattr(defillama_protocols, "PROTOCOLS", ("no-such-protocol",))
    with client() as http, pytest.raises(NotPublishedYetError, match="found none"):
        defillama_protocols.fetch(DAY, http)


def test_of_several_records_of_a_day_the_last_one_counts(monkeypatch):
    monkeypatch.setattr(defillama_yields, "POOLS", defillama_yields.POOLS[:1])
    record = {"tvlUsd": 1, "apy": 2.5, "apyBase": None, "apyReward": -1}
    rows = [{"timestamp": f"2024-10-07T{hour:02d}:01:15.123Z", **record, "tvlUsd": hour} for hour in (3, 23, 11)]
    with client(application=says({"status": "success", "data": rows})) as http:
        found = defillama_yields.fetch(DAY, http)
    assert found.select("tvl_usd", "apy_pct", "apy_base_pct", "apy_reward_pct").rows() == [(23.0, 2.5, None, -1.0)]


CASES = {
    "tvl without a date": (defillama_protocols, {"tvl": [{"totalLiquidityUSD": 1}], "chainTvls": {}}, "'date'"),
    "protocol without chains": (defillama_protocols, {"tvl": [{"date": SECOND, "totalLiquidityUSD": 1}]}, "chainTvls"),
    "tokens that are a list": (defillama_protocols, protocol(Ethereum=[{"date": SECOND, "tokens": [1]}]), "'tokens'"),
    "token without a number": (defillama_protocols, protocol(Ethereum=mix(USDC=None)), "'tokens'"),
    "pool without data": (defillama_yields, {"status": "error"}, "'data'"),
    "pool with a time of another shape": (defillama_yields, {"data": [{"timestamp": 1, "tvlUsd": 1}]}, "'timestamp'"),
    "pool without a value": (defillama_yields, {"data": [{"timestamp": "2024-10-07T23:01:15.123Z"}]}, "'tvlUsd'"),
    "supply without its peg": (
        defillama_stablecoins,
        [{"date": f"{SECOND}", "totalCirculating": {"peggedEUR": 1}}],
        "Circulating",
    ),
    "supply that is a number": (defillama_stablecoins, [{"date": f"{SECOND}", "totalCirculating": 5}], "Circulating"),
    "volume without a chart": (defillama_dex_volume, {"total24h": 5}, "totalDataChart"),
    "volume that is a text": (defillama_dex_volume, {"totalDataChart": [[SECOND, "many"]]}, "'volume'"),
    "pair without tokens": (dexscreener_pools, {"pairs": [{"chainId": "ethereum", "pairAddress": "0x1"}]}, "'baseToken'"),
    "pairs that are no list": (dexscreener_pools, {"pairs": {}}, "expected a list"),
    "html with status 200": (defillama_stablecoins, "<html>busy</html>", "HTML"),
    "governance refused": (snapshot_governance, {"errors": [{"message": "unknown field"}], "data": None}, "unknown field"),
    "governance without data": (snapshot_governance, {"message": "no"}, "'data'"),
    "vote without a space": (snapshot_governance, {"data": {"proposals": [{"id": "0x1", "created": SECOND}]}}, "'space'"),
}


@pytest.mark.parametrize("case", CASES)
def test_another_shape_is_named(case):
    module, answer, words = CASES[case]
    window = MOMENT if module is dexscreener_pools else DAY
    with client(application=says(answer)) as http, pytest.raises(BadPayloadError, match=words):
        module.fetch(window, http)


def test_a_pool_without_liquidity_keeps_its_price():
    with client() as http:
        rows = dexscreener_pools.fetch(MOMENT, http)
    unknown = rows.filter(pl.col("liquidity_usd").is_null())
    assert unknown["chain"].to_list() == ["polygon"]
    assert unknown.select("base_pct", "liquidity_base", "liquidity_quote").row(0) == (None, None, None)
    assert unknown["price_usd"][0] > 0


def test_both_sides_of_a_pool_add_up_to_its_value():
    with client() as http:
        rows = dexscreener_pools.fetch(MOMENT, http).filter(pl.col("quote") == "USDC").drop_nulls()
    for row in rows.iter_rows(named=True):
        base, quote = row["liquidity_base"] * row["price_usd"], row["liquidity_quote"]
        assert base + quote == pytest.approx(row["liquidity_usd"], rel=1e-6)
        assert row["base_pct"] == pytest.approx(100 * base / (base + quote), rel=1e-6)


def test_captured_snapshots_make_the_day(tmp_path):
    clock = Clock(NOW)
    lake = Lake(tmp_path)
    with client(clock) as http:
        for minute in (20, 21, 50):
            with clock.at(NOW.replace(minute=minute)):
                assert _capture.capture(dexscreener_pools.SOURCE, http, lake) == 9
    day = _capture.read(lake, dexscreener_pools.SOURCE, Window.of_days(NOW.date(), NOW.date()))
    assert day["ts"].unique().sort().dt.minute().to_list() == [20, 21, 50]


def test_a_day_with_more_votes_than_a_page_comes_whole(monkeypatch):
    with client() as http:
        whole = snapshot_governance.fetch(DAY, http)
        monkeypatch.setattr(snapshot_governance, "PAGE_SIZE", 37)
        http.seen.clear()
        assert_frame_equal(snapshot_governance.fetch(DAY, http), whole)
        pages = len(http.seen)
    votes = int(whole["votes"].sum())
    assert votes > 500
    assert pages >= math.ceil(votes / 37)


def test_pages_that_lead_nowhere_are_an_error(monkeypatch):
    monkeypatch.setattr(snapshot_governance, "PAGE_SIZE", 2)
    rows = [{"id": f"0x{n}", "created": SECOND, "voter": "0x", "space": {"id": "ens.eth"}} for n in range(2)]
    with client(application=says({"data": {"proposals": rows}})) as http, pytest.raises(BadPayloadError, match="in the second"):
        snapshot_governance.fetch(DAY, http)


def test_a_quiet_day_has_zeros():
    answers = [{"data": {"proposals": []}}, {"data": {"votes": []}}]
    with client(application=says(*answers)) as http:
        rows = snapshot_governance.fetch(DAY, http)
    assert rows.height == len(snapshot_governance.SPACES)
    assert rows.select(pl.sum("proposals", "votes", "voters")).row(0) == (0, 0, 0)


def test_who_votes_twice_is_one_voter():
    vote = {"created": SECOND + 5, "voter": "0xa", "space": {"id": "ens.eth"}}
    answers = [{"data": {"proposals": []}}, {"data": {"votes": [{"id": "0x1", **vote}, {"id": "0x2", **vote}]}}]
    with client(application=says(*answers)) as http:
        rows = snapshot_governance.fetch(DAY, http).filter(pl.col("space") == "ens.eth")
    assert rows.select("votes", "voters").row(0) == (2, 1)


def test_the_hub_refuses_a_query_it_does_not_know():
    with client() as http:
        answer = http.post_json("snapshot", "/graphql", {"query": "{ spaces { id } }"})
    assert "expected proposals" in answer["errors"][0]["message"]
