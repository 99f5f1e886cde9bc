"""Every daily series of the families against its definition in plain Python, at random bars of a random market."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest

from crypto_assets.features import _defi_more, _onchain_more, attention, built_in, macro
from crypto_assets.features._daily import Series, side_by_side
from crypto_assets.lake import Frames, derive
from crypto_assets.market.time import Window
from crypto_assets_tests.features.market import random_market
from crypto_assets_tests.features.published import DAY, Print, forms, mean_forms, prints, rows_of, together

SYMBOLS = ("BTC", "ETH", "SOL", "UNI")
WINDOW = Window.of_days(date(2024, 4, 1), date(2024, 4, 10))
CHARTS, HELD, MINED = "raw/blockchain_com_charts", "raw/bgeometrics_onchain", "raw/mempool_mining"
GLASS, CROWD, CHAIN, COINS = "raw/glassnode_metrics", "raw/santiment_metrics", "raw/blockscout_stats", "raw/coinmetrics_onchain"


def log(column: str = "value") -> Callable:
    return lambda row: math.log(row[column])


def count(column: str = "value") -> Callable:
    return lambda row: None if row[column] is None else math.log1p(row[column])


def plain(column: str = "value") -> Callable:
    return lambda row: row[column]


def share(a: str, b: str) -> Callable:
    return lambda row: row[a] / (row[a] + row[b])


ONE_METRIC: dict[str, tuple[str, str, Callable]] = {
    "nvt": (GLASS, "indicators/nvt", log()),
    "sopr": (GLASS, "indicators/sopr", log()),
    "largest_holders": (GLASS, "distribution/balance_1pct_holders", plain()),
    "large_addresses": (GLASS, "addresses/min_1k_count", log()),
    "in_profit": (GLASS, "supply/profit_relative", plain()),
    "whale_transactions": (CROWD, "whale_transaction_count_100k_usd_to_inf", count()),
    "new_addresses": (CROWD, "network_growth", count()),
    "nupl": (COINS, "CapMVRVCur", lambda row: 1 - 1 / row["value"]),
    "btc_transferred": (CHARTS, "estimated-transaction-volume-usd", log()),
    "btc_sopr": (HELD, "sopr", log()),
    "btc_sth_sopr": (HELD, "sth-sopr", log()),
    "btc_difficulty_ratio": (MINED, "difficulty_ratio", log()),
    "btc_miner_revenue": (CHARTS, "miners-revenue", log()),
    "btc_mempool": (CHARTS, "mempool-size", log()),
    "eth_gas_price": (CHAIN, "averageGasPrice", log()),
    "eth_active_accounts": (CHAIN, "activeAccounts", log()),
    "eth_new_accounts": (CHAIN, "newAccounts", log()),
    "eth_new_contracts": (CHAIN, "newContracts", log()),
    "eth_utilisation": (CHAIN, "networkUtilization", plain()),
    "social_volume": (CROWD, "social_volume_total", count()),
    "weighted_sentiment": (CROWD, "sentiment_weighted_total", plain()),
    "development": (CROWD, "dev_activity", count()),
}
SEVERAL: dict[str, tuple[str, dict[str, str], Callable]] = {
    "realised_cap": (COINS, {"a": "CapMrktCurUSD", "b": "CapMVRVCur"}, lambda row: math.log(row["a"] / row["b"])),
    "liquid_supply": (GLASS, {"a": "supply/liquid_sum", "b": "supply/illiquid_sum"}, share("a", "b")),
    "btc_long_term_supply": (
        HELD,
        {"a": "long-term-hodler-supply-btc", "b": "short-term-hodler-supply-btc"},
        share("a", "b"),
    ),
    "btc_block_time": (
        CHARTS,
        {"all": "n-transactions", "each": "n-transactions-per-block"},
        lambda row: math.log(86_400 / (row["all"] / row["each"]) / 600),
    ),
    "btc_young_supply": (
        HELD,
        {age: f"hodl-waves-supply/age_{age}" for age in (*_onchain_more.YOUNG, *_onchain_more.OLDER)},
        lambda row: sum(row[age] for age in ("0d_1d", "1d_1w", "1w_1m")) / sum(v for v in row.values() if isinstance(v, float)),
    ),
}
WHOLE_TABLE: dict[str, tuple[str, dict[str, str], Callable]] = {
    "views": ("raw/wikimedia_pageviews", {}, count("views")),
    "posts": ("raw/arctic_shift_counts", {}, count("posts")),
    "comments": ("raw/arctic_shift_counts", {}, count("comments")),
    "talk": ("raw/arctic_shift_counts", {}, lambda r: None if r["posts"] is None else math.log1p(r["posts"] + r["comments"])),
    "x_posts": ("raw/x_counts", {}, count("posts")),
    "tone": ("raw/gdelt_tone", {}, plain("tone")),
    "news_volume": ("raw/gdelt_tone", {}, log("volume_pct")),
    "dollar": ("raw/ecb_fixings", {}, log("dxy_ecb")),
    "gold": ("raw/lbma_metals", {}, log("gold_usd")),
    "gold_silver": (
        "raw/lbma_metals",
        {},
        lambda r: None if r["silver_usd"] is None else math.log(r["gold_usd"] / r["silver_usd"]),
    ),
    "oil": ("raw/eia_oil", {"grade": "WTI"}, log("price_usd")),
    "energy": ("raw/worldbank_commodities", {"series": "Energy"}, log()),
    "commodities": ("raw/worldbank_commodities", {"series": "Non-energy"}, log()),
    "stablecoins": ("raw/defillama_stablecoins", {}, log("circulating")),
    "stablecoin_peg": ("raw/defillama_stablecoins", {}, lambda r: r["circulating_usd"] / r["circulating"] - 1),
    "dex_volume": ("raw/defillama_dex_volume", {"chain": "Total"}, log("volume_usd")),
}
MEMBERS: dict[str, tuple[str, str, Callable, Callable]] = {
    "ether_yield": ("raw/defillama_yields", "pool", lambda r: "ETH" in r["pool_symbol"], plain("apy_pct")),
    "dollar_yield": ("raw/defillama_yields", "pool", lambda r: "USD" in r["pool_symbol"], plain("apy_pct")),
    "protocols": ("raw/defillama_protocols", "protocol", lambda r: True, log("tvl_usd")),
    "stable_share": ("raw/defillama_protocols", "protocol", lambda r: r["protocol"] != "lido", plain("stable_pct")),
}
BY_CHAIN = {"ETH": "Ethereum", "SOL": "Solana"}


def series_of() -> dict[str, tuple[str, Series]]:
    """Name -> family and series, of every daily series."""
    chain = [s for s, _ in (*_onchain_more.BY_COIN, *_onchain_more.BITCOIN, *_onchain_more.ETHER)]
    crowd = [s for s, *_ in (*attention.BY_COIN, *attention.BY_REPO)]
    world = [*(s for s, *_ in macro.FURTHER), *macro.INDICES.values()]
    groups = {"onchain": chain, "attention": crowd, "macro": world, "defi": [*_defi_more.OF_ALL, *_defi_more.OF_COIN]}
    return {s.name: (family, s) for family, group in groups.items() for s in group}


ALL = series_of()


@pytest.fixture(scope="module")
def tables():
    return random_market(SYMBOLS, date(2024, 3, 1), 42, seed=11, before=420)


@pytest.fixture(scope="module")
def found(tables):
    @cache
    def of(family: str) -> pl.DataFrame:
        return derive(built_in()[family].derivation(), Frames(tables), WINDOW)

    return of


def bars_of(rows: pl.DataFrame, n: int = 24) -> list[dict]:
    """Random bars, at which the values are compared."""
    rng = np.random.default_rng(2)
    return rows[sorted(rng.choice(rows.height, n, replace=False))].to_dicts()


def same(bar: dict, series: Series, wanted: dict[str, float | None]) -> int:
    """Compare the kept columns of a bar; how many had a value."""
    for form in series.keep:
        value = bar[series.column(form)]
        assert value == (None if wanted[form] is None else pytest.approx(wanted[form], rel=1e-7, abs=1e-9)), (
            bar["symbol"],
            bar["ts"],
            series.column(form),
        )
    return sum(bar[series.column(form)] is not None for form in series.keep)


def compare(found, name: str, published: Callable[[str], list[Print]]) -> None:
    """At each bar the columns are what `published(symbol)` says."""
    family, series = ALL[name]
    of = cache(published)
    assert sum(same(bar, series, forms(of(bar["symbol"]), bar["ts"], series.max_age)) for bar in bars_of(found(family)))


@pytest.mark.parametrize("name", ONE_METRIC)
def test_one_metric(name, tables, found):
    table, metric, value = ONE_METRIC[name]

    def published(symbol: str) -> list[Print]:
        own = {"symbol": symbol} if "symbol" in tables[table].columns else {}
        return prints(rows_of(tables[table], metric=metric, **own), value)

    compare(found, name, published)


@pytest.mark.parametrize("name", SEVERAL)
def test_several_metrics_of_a_day(name, tables, found):
    table, names, value = SEVERAL[name]

    def published(symbol: str) -> list[Print]:
        own = {"symbol": symbol} if "symbol" in tables[table].columns else {}
        return prints(together(rows_of(tables[table], **own), "metric", names), value)

    compare(found, name, published)


@pytest.mark.parametrize("name", WHOLE_TABLE)
def test_a_column_of_a_table(name, tables, found):
    table, where, value = WHOLE_TABLE[name]

    def published(symbol: str) -> list[Print]:
        own = {"symbol": symbol} if "symbol" in tables[table].columns else {}
        return prints(rows_of(tables[table], **where, **own), value)

    compare(found, name, published)


@pytest.mark.parametrize("name", MEMBERS)
def test_the_mean_of_members(name, tables, found):
    table, member, chosen, value = MEMBERS[name]
    family, series = ALL[name]
    members = {
        key[0]: [r for r in part.to_dicts() if chosen(r)]
        for key, part in tables[table].partition_by(member, as_dict=True).items()
    }
    published = [prints(rows, value) for rows in members.values() if rows]
    assert len(published) > 1
    for bar in bars_of(found(family)):
        assert same(bar, series, mean_forms(published, bar["ts"], series.max_age))


def weekly(rows: list[dict], column: str) -> list[Print]:
    """Log of 1 + the mean of the seven days that end with each print, five of them known."""
    days = prints(rows, plain(column))
    past = {p: [q.value for q in days if p.ts - 7 * DAY < q.ts <= p.ts] for p in days}
    return [p._replace(value=math.log1p(np.mean(past[p]))) for p in days if len(past[p]) >= 5]


@pytest.mark.parametrize("name", ["commits", "authors"])
def test_commits_are_means_of_a_week_and_of_repositories(name, tables, found):
    family, series = ALL[name]
    table = tables["raw/github_commits"]
    repos = {s: table.filter(symbol=s)["repo"].unique().to_list() for s in SYMBOLS}
    published = {s: [weekly(rows_of(table, symbol=s, repo=r), name) for r in repos[s]] for s in SYMBOLS}
    assert {len(r) for r in repos.values()} == {1, 2}
    for bar in bars_of(found(family)):
        assert same(bar, series, mean_forms(published[bar["symbol"]], bar["ts"], series.max_age))


@pytest.mark.parametrize("name", ["votes", "proposals"])
def test_governance_is_the_mean_of_spaces(name, tables, found):
    family, series = ALL[name]
    table = tables["raw/snapshot_governance"]
    published = [weekly(rows_of(table, space=s), name) for s in table["space"].unique()]
    for bar in bars_of(found(family)):
        assert same(bar, series, mean_forms(published, bar["ts"], series.max_age))


def test_a_coins_own_chain_protocol_and_votes(tables, found):
    uni = {"own_protocol": prints(rows_of(tables["raw/defillama_protocols"], protocol="uniswap-v3"), log("tvl_usd"))}
    uni["own_votes"] = weekly(rows_of(tables["raw/snapshot_governance"], space="uniswapgovernance.eth"), "votes")
    dex = tables["raw/defillama_dex_volume"]
    volume = {coin: prints(rows_of(dex, chain=chain), log("volume_usd")) for coin, chain in BY_CHAIN.items()}
    for bar in bars_of(found("defi"), 40):
        for name, published in uni.items():
            series = ALL[name][1]
            same(bar, series, forms(published if bar["symbol"] == "UNI" else [], bar["ts"], series.max_age))
        series = ALL["chain_dex_volume"][1]
        same(bar, series, forms(volume.get(bar["symbol"], []), bar["ts"], series.max_age))


def test_nvt_is_the_capitalisation_over_what_was_transferred_the_same_day(tables, found):
    names = {"cap": "CapMrktCurUSD", "moved": "estimated-transaction-volume-usd"}
    rows = [*rows_of(tables[COINS], symbol="BTC", metric=names["cap"]), *rows_of(tables[CHARTS], metric=names["moved"])]
    published = prints(together(rows, "metric", names), lambda row: math.log(row["cap"] / row["moved"]))
    compare(found, "btc_nvt", lambda symbol: published)


def over_mean(days: list[Print], n: int) -> dict[datetime, float | None]:
    """Mean of the n days that end with each print; None where less than 70 % are known."""
    past = {p.ts: [q.value for q in days if p.ts - n * DAY < q.ts <= p.ts] for p in days}
    return {ts: float(np.mean(values)) if len(values) >= round(0.7 * n) else None for ts, values in past.items()}


def test_puell_multiple_and_pi_cycle(tables, found):
    @cache
    def puell(symbol: str) -> list[Print]:
        days = prints(rows_of(tables[COINS], symbol=symbol, metric="IssTotUSD"), plain())
        mean = over_mean(days, 365)
        return [p._replace(value=math.log(p.value / mean[p.ts])) for p in days if mean[p.ts]]

    @cache
    def pi_cycle(symbol: str) -> list[Print]:
        names = {"cap": "CapMrktCurUSD", "supply": "SplyCur"}
        days = prints(together(rows_of(tables[COINS], symbol=symbol), "metric", names), lambda r: r["cap"] / r["supply"])
        fast, slow = over_mean(days, 111), over_mean(days, 350)
        return [p._replace(value=math.log(fast[p.ts] / (2 * slow[p.ts]))) for p in days if fast[p.ts] and slow[p.ts]]

    compare(found, "puell", puell)
    compare(found, "pi_cycle", pi_cycle)


def test_bitcoins_valuation_is_given_to_every_coin(found):
    rows = found("onchain")
    btc = rows.filter(symbol="BTC").select("ts", pl.col(_onchain_more.FOR_ALL).name.suffix("_wanted"))
    others = rows.filter(pl.col("symbol") != "BTC").join(btc, on="ts")
    for name in _onchain_more.FOR_ALL:
        assert others[f"btc_{name}"].equals(others[f"{name}_wanted"], null_equal=True), name
        assert others[f"btc_{name}"].null_count() < others.height, name


def test_every_series_is_compared_here():
    alone = {"btc_nvt", "puell", "pi_cycle", "commits", "authors", "votes", "proposals", *(s.name for s in _defi_more.OF_COIN)}
    assert set(ALL) == {*ONE_METRIC, *SEVERAL, *WHOLE_TABLE, *MEMBERS, *alone}


def test_a_day_counts_when_the_last_of_its_metrics_is_known():
    at = datetime(2024, 1, 1, tzinfo=UTC)
    rows = pl.DataFrame(
        {
            "metric": ["a", "b", "a", "a", "b"],
            "ts": [at, at, at, at + DAY, at],
            "available_at": [at + timedelta(hours=h) for h in (27, 36, 50, 51, 60)],
            "value": [1.0, 2.0, 9.0, 5.0, 8.0],
        }
    )
    found = side_by_side(rows.lazy(), [], "metric", {"x": "a", "y": "b"}).collect()
    assert found.rows() == [(at, at + timedelta(hours=36), 1.0, 2.0)]


def test_pools_by_the_coin_in_them(tables, found):
    """The coin's share is that of the base token, or of the quote token where only that is a coin."""
    pools = tables["raw/dexscreener_pools"]
    of = {"ETH": ("p", 1), "SOL": ("r", -1)}

    def last(pool: str, at: datetime) -> dict | None:
        seen = pools.filter(pl.col("pool") == pool, pl.col("available_at") <= at)
        return seen.row(-1, named=True) if seen.height and at - seen["ts"][-1] <= timedelta(hours=3) else None

    for bar in bars_of(found("defi"), 40):
        if bar["symbol"] not in of:
            assert bar["pool_share"] is None
            continue
        pool, sign = of[bar["symbol"]]
        now, before = last(pool, bar["ts"]), last(pool, bar["ts"] - DAY)
        assert bar["pool_share"] == pytest.approx(sign * (now["base_pct"] / 100 - 0.5), abs=1e-12)
        if before:
            moved = sign * (now["base_pct"] - before["base_pct"]) / 100
            assert bar["pool_share_change_24h"] == pytest.approx(moved, abs=1e-12)
            flow = math.log(now["liquidity_usd"] / before["liquidity_usd"])
            assert bar["pool_liquidity_change_24h"] == pytest.approx(flow, abs=1e-12)
