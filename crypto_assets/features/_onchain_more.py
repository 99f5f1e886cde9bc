"""On-chain series made of several metrics or taken from further providers, for the family `onchain`.

Valuation: MVRV is the market over the realised capitalisation, and NUPL = 1 - 1/MVRV (Adamant Capital 2019); NVT is the
capitalisation over the value transferred in a day (Woo 2017); SOPR is what spent coins are worth over what they were worth when
they last moved (Shirakashi 2019); the Puell multiple is the value of a day's issuance over its mean of 365 days (Puell 2019);
the Pi cycle compares the 111-day mean price with twice the 350-day mean (Swift 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

import polars as pl

from crypto_assets.features._daily import (
    CHANGE,
    LEVEL,
    SCORE,
    STEP,
    Series,
    first_prints,
    known,
    logs,
    rolling_by,
    side_by_side,
)

Tables = Mapping[str, pl.LazyFrame]
Make = Callable[[Tables], pl.LazyFrame]
"""Makes a series' rows: (symbol,) ts, available_at, value."""
YEAR, SLOW, FAST = 365, 350, 111
KNOWN = 0.7
"""Share of the days of a long mean that must be known."""
LATE = timedelta(days=14)
"""BGeometrics publishes eight days late."""
LATEST = timedelta(days=40)
"""A free key at Santiment is 31 days behind."""
ADJUSTED = timedelta(days=20)
"""Bitcoin's difficulty is set every 2016 blocks, about two weeks."""
TARGET_S = 600
VALUE = pl.col("value")
YOUNG = ("0d_1d", "1d_1w", "1w_1m")
OLDER = ("1m_3m", "3m_6m", "6m_1y", "1y_2y", "2y_3y", "3y_4y", "4y_5y", "5y_7y", "7y_10y", "10y")


def _metric(table: str, metric: str, expr: pl.Expr) -> Make:
    """One metric of a long table, transformed."""
    return lambda tables: tables[table].filter(pl.col("metric") == metric).with_columns(value=expr)


def _ratio(table: str, names: Mapping[str, str], expr: pl.Expr, keys: tuple[str, ...] = ()) -> Make:
    """Several metrics of a table on the same day, put together by `expr`."""
    return lambda tables: side_by_side(tables[table], keys, "metric", names).with_columns(value=expr)


def _over_its_mean(tables: Tables) -> pl.LazyFrame:
    issued = first_prints(tables["onchain"].filter(pl.col("metric") == "IssTotUSD", VALUE > 0), ["symbol"])
    mean, _ = rolling_by(VALUE, timedelta(days=YEAR), round(KNOWN * YEAR), ["symbol"])
    return issued.with_columns(value=logs(VALUE / mean))


def _pi_cycle(tables: Tables) -> pl.LazyFrame:
    names = {"cap": "CapMrktCurUSD", "supply": "SplyCur"}
    both = side_by_side(tables["onchain"], ["symbol"], "metric", names).filter(pl.col("supply") > 0)
    prices = first_prints(both.with_columns(value=pl.col("cap") / pl.col("supply")), ["symbol"])

    def mean(days: int) -> pl.Expr:
        return rolling_by(VALUE, timedelta(days=days), round(KNOWN * days), ["symbol"])[0]

    return prices.with_columns(value=logs(mean(FAST) / (2 * mean(SLOW))))


def _nvt(tables: Tables) -> pl.LazyFrame:
    """Bitcoin's capitalisation from one provider, what was transferred on the same day from another."""
    cap = tables["onchain"].filter(pl.col("symbol") == "BTC", pl.col("metric") == "CapMrktCurUSD")
    both = pl.concat([rows.select("ts", "available_at", "metric", "value") for rows in (cap, tables["blockchain_com"])])
    names = {"cap": "CapMrktCurUSD", "moved": "estimated-transaction-volume-usd"}
    return side_by_side(both, [], "metric", names).with_columns(value=logs(pl.col("cap") / pl.col("moved")))


def _share(part: str, rest: str) -> pl.Expr:
    return pl.col(part) / pl.when(pl.col(part) + pl.col(rest) > 0).then(pl.col(part) + pl.col(rest))


def _young(tables: Tables) -> pl.LazyFrame:
    names = {age: f"hodl-waves-supply/age_{age}" for age in (*YOUNG, *OLDER)}
    rows = side_by_side(tables["bgeometrics"], [], "metric", names)
    young, older = pl.sum_horizontal(YOUNG), pl.sum_horizontal(OLDER)
    return rows.with_columns(young=young, older=older).with_columns(value=_share("young", "older"))


_REALISED = {"cap": "CapMrktCurUSD", "mvrv": "CapMVRVCur"}
_LIQUID = {"liquid": "supply/liquid_sum", "illiquid": "supply/illiquid_sum"}
_HOLDERS = {"long": "long-term-hodler-supply-btc", "short": "short-term-hodler-supply-btc"}
_BLOCKS = {"all": "n-transactions", "each": "n-transactions-per-block"}
VALUATION: tuple[tuple[Series, Make], ...] = (
    (
        Series("realised_cap", "the realised capitalisation"),
        _ratio("onchain", _REALISED, logs(pl.col("cap") / pl.col("mvrv")), ("symbol",)),
    ),
    (
        Series("nupl", "net unrealised profit over capitalisation (NUPL)", (LEVEL, CHANGE), "fraction"),
        _metric("onchain", "CapMVRVCur", 1 - 1 / pl.when(VALUE > 0).then(VALUE)),
    ),
    (
        Series(
            "puell", "issuance in USD over its mean of 365 days (Puell multiple)", (LEVEL, CHANGE), made_of=timedelta(days=YEAR)
        ),
        _over_its_mean,
    ),
    (
        Series(
            "pi_cycle",
            "111-day mean price over twice the 350-day mean (Pi cycle)",
            (LEVEL, CHANGE),
            made_of=timedelta(days=SLOW),
        ),
        _pi_cycle,
    ),
)
BY_COIN: tuple[tuple[Series, Make], ...] = (
    *VALUATION,
    (
        Series("nvt", "capitalisation over value transferred, NVT (Glassnode)", (LEVEL, CHANGE, SCORE)),
        _metric("glassnode", "indicators/nvt", logs(VALUE)),
    ),
    (
        Series("sopr", "worth of spent coins over what they last moved at, SOPR (Glassnode)", (LEVEL, CHANGE, SCORE)),
        _metric("glassnode", "indicators/sopr", logs(VALUE)),
    ),
    (
        Series("liquid_supply", "the liquid share of the supply", (CHANGE, SCORE), "fraction"),
        _ratio("glassnode", _LIQUID, _share("liquid", "illiquid"), ("symbol",)),
    ),
    (
        Series("largest_holders", "the share of the largest hundredth of addresses", (CHANGE, SCORE), "fraction"),
        _metric("glassnode", "distribution/balance_1pct_holders", VALUE),
    ),
    (
        Series("large_addresses", "addresses with a thousand coins and more", (CHANGE, SCORE)),
        _metric("glassnode", "addresses/min_1k_count", logs(VALUE)),
    ),
    (
        Series("in_profit", "the share of the supply in profit", (LEVEL, CHANGE), "fraction"),
        _metric("glassnode", "supply/profit_relative", VALUE),
    ),
    (
        Series("whale_transactions", "1 + transactions above 100,000 USD", (CHANGE, SCORE), max_age=LATEST),
        _metric("santiment", "whale_transaction_count_100k_usd_to_inf", VALUE.log1p()),
    ),
    (
        Series("new_addresses", "1 + addresses seen for the first time", (CHANGE, SCORE), max_age=LATEST),
        _metric("santiment", "network_growth", VALUE.log1p()),
    ),
)
"""Of each coin that a provider covers."""

BITCOIN: tuple[tuple[Series, Make], ...] = (
    (Series("btc_nvt", "capitalisation over value transferred, NVT", (LEVEL, CHANGE, SCORE)), _nvt),
    (
        Series("btc_transferred", "the estimated value transferred"),
        _metric("blockchain_com", "estimated-transaction-volume-usd", logs(VALUE)),
    ),
    (
        Series("btc_sopr", "worth of spent coins over what they last moved at, SOPR", (LEVEL, CHANGE, SCORE), max_age=LATE),
        _metric("bgeometrics", "sopr", logs(VALUE)),
    ),
    (
        Series("btc_sth_sopr", "SOPR of short-term holders (under 155 days)", (LEVEL, CHANGE, SCORE), max_age=LATE),
        _metric("bgeometrics", "sth-sopr", logs(VALUE)),
    ),
    (
        Series("btc_long_term_supply", "the supply's share with long-term holders", (LEVEL, CHANGE, SCORE), "fraction", LATE),
        _ratio("bgeometrics", _HOLDERS, _share("long", "short")),
    ),
    (
        Series("btc_young_supply", "the share of the supply that moved in the last month", (LEVEL, CHANGE), "fraction", LATE),
        _young,
    ),
    (
        Series("btc_difficulty_ratio", "the difficulty over that before its last adjustment", (LEVEL,), max_age=ADJUSTED),
        _metric("mempool", "difficulty_ratio", logs(VALUE)),
    ),
    (
        Series("btc_block_time", "the mean time between blocks over ten minutes", (LEVEL, CHANGE)),
        _ratio("blockchain_com", _BLOCKS, logs(86_400 / TARGET_S * pl.col("each") / pl.col("all"))),
    ),
    (
        Series("btc_miner_revenue", "the miners' revenue in USD"),
        _metric("blockchain_com", "miners-revenue", logs(VALUE)),
    ),
    (
        Series("btc_mempool", "the bytes that wait to be confirmed"),
        _metric("blockchain_com", "mempool-size", logs(VALUE)),
    ),
)
ETHER: tuple[tuple[Series, Make], ...] = (
    (Series("eth_gas_price", "the mean gas price"), _metric("blockscout", "averageGasPrice", logs(VALUE))),
    (Series("eth_active_accounts", "active accounts"), _metric("blockscout", "activeAccounts", logs(VALUE))),
    (Series("eth_new_accounts", "new accounts"), _metric("blockscout", "newAccounts", logs(VALUE))),
    (Series("eth_new_contracts", "new contracts"), _metric("blockscout", "newContracts", logs(VALUE))),
    (
        Series("eth_utilisation", "the share of the blocks' gas that is used", (LEVEL, STEP, SCORE), "per cent"),
        _metric("blockscout", "networkUtilization", VALUE),
    ),
)
"""Of one chain, the same for every coin."""

FOR_ALL = ("realised_cap_change_7d", "nupl", "nupl_change_7d", "puell", "pi_cycle")
"""Bitcoin's valuation, which every coin gets as `btc_...`."""
LEADER = "BTC"
_OF_BITCOIN = {n: c for series, _ in VALUATION for n, c in series.columns("Bitcoin: ").items()}

COLUMNS = {
    **{n: c for series, _ in BY_COIN for n, c in series.columns().items()},
    **{f"btc_{n}": _OF_BITCOIN[n] for n in FOR_ALL},
    **{n: c for series, _ in BITCOIN for n, c in series.columns("Bitcoin: ").items()},
    **{n: c for series, _ in ETHER for n, c in series.columns("Ethereum: ").items()},
}


def of_coins(grid: pl.DataFrame, tables: Tables) -> pl.DataFrame:
    """The columns of BY_COIN at each symbol and ts of a grid that is sorted by them, beside these two."""
    return pl.concat([grid, *(known(make(tables), grid, s, ["symbol"]) for s, make in BY_COIN)], how="horizontal")


def of_chains(hours: pl.DataFrame, tables: Tables) -> pl.DataFrame:
    """The columns that are the same for every coin at each ts of a grid that is sorted by it, beside ts."""
    leader = hours.select(pl.lit(LEADER).alias("symbol"), "ts")
    valuation = pl.concat([known(make(tables), leader, s, ["symbol"]) for s, make in VALUATION], how="horizontal")
    shared = valuation.select(pl.col(c).alias(f"btc_{c}") for c in FOR_ALL)
    return pl.concat(
        [hours.select("ts"), shared, *(known(make(tables), hours, s) for s, make in (*BITCOIN, *ETHER))], how="horizontal"
    )
