"""The checks of `curated/candles` by kind of anomaly: they warn or report an error, and block nothing."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from crypto_assets.curation.candle_anomalies import DERIVATION, KINDS, MOST_WARNED, verdict
from crypto_assets.curation.candles import CuratedCandles
from crypto_assets.orchestration.access import Access
from crypto_assets.orchestration.partitions import window_of

CANDLES = dg.AssetKey(CuratedCandles.name.split("/"))
ANOMALIES = dg.AssetKey(DERIVATION.name.split("/"))
DESCRIPTIONS = {
    "spike": "returns far outside what the week before had",
    "stale": "closes that stand still",
    "zero_volume": "bars without trades",
    "gap": "missing hours",
    "duplicated": "bars that repeat the hour before",
    "disputed": "closes that another venue disagrees with",
}


def anomaly_checks() -> dg.AssetChecksDefinition:
    """One check a kind, over the days of the run."""
    specs = [
        dg.AssetCheckSpec(kind, asset=CANDLES, additional_deps=[ANOMALIES], blocking=False, description=DESCRIPTIONS[kind])
        for kind in KINDS
    ]

    @dg.multi_asset_check(name="candle_anomaly_checks", specs=specs, required_resource_keys={"access"})
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        access: Access = context.resources.access
        window = window_of(context)
        candles = access.lake.scan(CuratedCandles.name, window.start, window.end).collect()
        anomalies = access.lake.scan(DERIVATION.name, window.start, window.end).collect()
        by_day = _table(verdict(candles, anomalies))
        for kind in KINDS:
            yield result(kind, anomalies.filter(pl.col("kind") == kind), candles.height, by_day)

    return checks


def result(kind: str, found: pl.DataFrame, bars: int, by_day: dg.MetadataValue) -> dg.AssetCheckResult:
    """ERROR where the canonical candle should not be relied on, WARN where there are more than MOST_WARNED, else passed."""
    errors = found.filter(pl.col("severity") == "error")
    most = MOST_WARNED * bars
    passed = errors.is_empty() and found.height <= most
    metadata: dict[str, Any] = {
        "bars": bars,
        "found": found.height,
        "errors": errors.height,
        "warns_above": most,
        "verdict": by_day,
    }
    if not passed:
        worst = (errors if errors.height else found).sort("value").row(-1, named=True)
        where = f"worst {worst['value']:.4g} of {worst['symbol']} at the venue {worst['venue']}, {worst['ts']:%Y-%m-%d %H:%M}"
        metadata["reason"] = f"{found.height} in {bars} candles ({errors.height} errors): {DESCRIPTIONS[kind]}, {where}"
    return dg.AssetCheckResult(
        passed=passed,
        check_name=kind,
        asset_key=CANDLES,
        severity=dg.AssetCheckSeverity.ERROR if errors.height else dg.AssetCheckSeverity.WARN,
        metadata=metadata,
    )


def _table(by_day: pl.DataFrame) -> dg.MetadataValue:
    """Each day's verdict: bars, anomalies by kind, errors."""
    columns = [dg.TableColumn(c, "string" if c == "day" else "int") for c in by_day.columns]
    records = [dg.TableRecord({**row, "day": row["day"].isoformat()}) for row in by_day.iter_rows(named=True)]
    return dg.MetadataValue.table(records=records, schema=dg.TableSchema(columns))
