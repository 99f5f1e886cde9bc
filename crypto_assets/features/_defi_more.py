"""Yields, protocols, stablecoins, volume of decentralised exchanges, votes and pools, for the family `defi`.

Where there are several pools, protocols or spaces, each is compared with its own past and the mean of them is taken, so that
one that comes or goes moves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

from crypto_assets.features._as_known import as_known
from crypto_assets.features._daily import CHANGE, LEVEL, SCORE, Series, across, known, logs, mean_of_week
from crypto_assets.features._family import Column
from crypto_assets.features._totals import means

Tables = Mapping[str, pl.LazyFrame]
CHAINS = {"ETH": "Ethereum", "SOL": "Solana", "POL": "Polygon", "ADA": "Cardano"}
"""Coin -> chain whose native coin it is."""
PROTOCOLS = {"UNI": "uniswap-v3", "AAVE": "aave-v3", "MKR": "sky-lending"}
"""Coin -> the protocol it governs."""
SPACES = {"UNI": "uniswapgovernance.eth", "AAVE": "aavedao.eth", "ARB": "arbitrumfoundation.eth"}
"""Coin -> where its holders vote."""
TOKENS = {
    "WETH": "ETH",
    "ETH": "ETH",
    "WBTC": "BTC",
    "SOL": "SOL",
    "WPOL": "POL",
    "WMATIC": "POL",
    "LINK": "LINK",
    "UNI": "UNI",
}
"""Token of a pool -> coin."""
TOTAL = "Total"
SNAPSHOT_AGE = timedelta(hours=3)
DAY = 24

STAKED = Series("ether_yield", "the yield of staked ether (mean of pools)", (LEVEL, CHANGE, SCORE), "per cent a year")
LENT = Series("dollar_yield", "the yield of dollars lent or saved (mean of pools)", (LEVEL, CHANGE, SCORE), "per cent a year")
LOCKED = Series("protocols", "the value locked in large protocols (mean of them)")
STABLE = Series(
    "stable_share", "the share of dollar tokens in what is locked (mean of protocols)", (LEVEL, CHANGE, SCORE), "per cent"
)
COINS = Series("stablecoins", "the supply of dollar stablecoins")
PEG = Series("stablecoin_peg", "the price of a dollar of stablecoins less 1", (LEVEL, SCORE), "fraction")
VOLUME = Series("dex_volume", "the volume of all decentralised exchanges")
VOTES = Series("votes", "1 + votes a day (7-day mean, mean of spaces)", (CHANGE, SCORE), made_of=timedelta(days=7))
PROPOSALS = Series("proposals", "1 + proposals a day (7-day mean, mean of spaces)", (CHANGE, SCORE), made_of=timedelta(days=7))
OWN_VOLUME = Series("chain_dex_volume", "the volume of decentralised exchanges on the coin's chain")
OWN_LOCKED = Series("own_protocol", "the value locked in the protocol the coin governs")
OWN_VOTES = Series(
    "own_votes", "1 + votes a day of the coin's holders (7-day mean)", (CHANGE, SCORE), made_of=timedelta(days=7)
)
OF_ALL = (STAKED, LENT, LOCKED, STABLE, COINS, PEG, VOLUME, VOTES, PROPOSALS)
OF_COIN = (OWN_VOLUME, OWN_LOCKED, OWN_VOTES)
POOLS = {
    "pool_share": Column("share of the coin in its pools' value less a half, mean of pools", "fraction", SNAPSHOT_AGE),
    "pool_share_change_24h": Column("its change over 24 h", "fraction", SNAPSHOT_AGE + timedelta(hours=DAY)),
    "pool_liquidity_change_24h": Column(
        "log change over 24 h of the value in the coin's pools, mean of pools", "log", SNAPSHOT_AGE + timedelta(hours=DAY)
    ),
}

COLUMNS = {n: c for series in (*OF_ALL, *OF_COIN) for n, c in series.columns().items()} | POOLS


def of_all(hours: pl.DataFrame, tables: Tables) -> pl.DataFrame:
    """The columns that are the same for every coin at each ts of a grid that is sorted by it, beside ts."""
    pools, locked = tables["yields"].with_columns(value=pl.col("apy_pct")), tables["protocols"]
    votes = tables["governance"]
    coins, usd = pl.col("circulating"), pl.col("circulating_usd")
    stable = tables["stablecoins"]
    found = [
        across(pools.filter(pl.col("pool_symbol").str.contains("ETH")), hours, STAKED, "pool"),
        across(pools.filter(pl.col("pool_symbol").str.contains("USD")), hours, LENT, "pool"),
        across(locked.with_columns(value=logs(pl.col("tvl_usd"))), hours, LOCKED, "protocol"),
        across(locked.filter(pl.col("stable_pct").is_not_null()).with_columns(value="stable_pct"), hours, STABLE, "protocol"),
        across(mean_of_week(votes, ["space"], pl.col("votes")), hours, VOTES, "space"),
        across(mean_of_week(votes, ["space"], pl.col("proposals")), hours, PROPOSALS, "space"),
    ]
    rows = pl.concat(
        [
            hours.select("ts"),
            known(stable.with_columns(value=logs(coins)), hours, COINS),
            known(stable.filter(coins > 0).with_columns(value=usd / coins - 1), hours, PEG),
            known(_of(tables["dex"], "chain", {TOTAL: TOTAL}, logs(pl.col("volume_usd"))), hours, VOLUME),
        ],
        how="horizontal",
    )
    for part in found:
        rows = rows.join(part, on="ts", how="left", maintain_order="left")
    return rows


def of_coins(grid: pl.DataFrame, hours: pl.DataFrame, tables: Tables) -> pl.DataFrame:
    """The columns of OF_COIN and POOLS at each symbol and ts of a grid that is sorted by them, beside these two."""
    votes = mean_of_week(tables["governance"], ["space"], pl.col("votes"))
    volume = _of(tables["dex"], "chain", CHAINS, logs(pl.col("volume_usd")))
    locked = _of(tables["protocols"], "protocol", PROTOCOLS, logs(pl.col("tvl_usd")))
    parts = [
        known(volume, grid, OWN_VOLUME, ["symbol"]),
        known(locked, grid, OWN_LOCKED, ["symbol"]),
        known(_of(votes, "space", SPACES, pl.col("value")), grid, OWN_VOTES, ["symbol"]),
    ]
    rows = pl.concat([grid, *parts], how="horizontal")
    return rows.join(_pools(tables["pools"], hours), on=["symbol", "ts"], how="left", maintain_order="left")


def _of(rows: pl.LazyFrame, column: str, names: Mapping[str, str], value: pl.Expr) -> pl.LazyFrame:
    """Rows of the coins' own chain, protocol or space, with `symbol` and `value`."""
    coin_of = {name: coin for coin, name in names.items()}
    mine = rows.filter(pl.col(column).is_in(list(coin_of)))
    return mine.with_columns(symbol=pl.col(column).replace(coin_of), value=value)


def _pools(pools: pl.LazyFrame, hours: pl.DataFrame) -> pl.DataFrame:
    """symbol, ts and the columns of POOLS. A pool counts for its base token's coin, or else for its quote token's."""
    base, quote = (pl.col(c).replace_strict(TOKENS, default=None, return_dtype=pl.String) for c in ("base", "quote"))
    share = pl.when(base.is_not_null()).then(pl.col("base_pct")).otherwise(100 - pl.col("base_pct")) / 100 - 0.5
    rows = pools.with_columns(symbol=pl.coalesce(base, quote), share=share, liquidity=logs(pl.col("liquidity_usd")))
    rows = rows.filter(pl.col("symbol").is_not_null())
    keys = ["symbol", "chain", "pool"]
    members = rows.select(keys).unique().collect().sort(keys)
    grid = members.join(hours.select("ts"), how="cross", maintain_order="left_right")
    found = as_known(rows, grid.lazy(), by=keys, max_age=SNAPSHOT_AGE, columns=["share", "liquidity"])

    def moved(name: str) -> pl.Expr:
        return pl.col(name) - pl.col(name).shift(DAY).over(keys)

    forms = {
        "pool_share": pl.col("share"),
        "pool_share_change_24h": moved("share"),
        "pool_liquidity_change_24h": moved("liquidity"),
    }
    each = found.with_columns(**forms).collect()
    return means(each, ["symbol", "ts"], list(forms))
