"""Reading Excel workbooks strictly: one sheet as rows of text, whatever the format (.xls or .xlsx) inside."""

from __future__ import annotations

import io

from crypto_assets.market.errors import BadPayloadError, NotPublishedYetError
from crypto_assets.sources._errors import snippet

Rows = list[tuple[str | None, ...]]


def sheet_of(body: bytes, sheet: str, provider: str, where: str) -> Rows:
    """The rows of one sheet from its first cell on: texts, numbers in text, dates as `YYYY-MM-DD 00:00:00`, blanks None.

    Numbers keep nine digits behind the point. Raises NotPublishedYetError for no body, BadPayloadError for one that is no
    workbook or has no such sheet.
    """
    if not body:
        raise NotPublishedYetError(provider, f"{where}: expected an Excel file, found nothing: ask again later")
    import fastexcel
    import polars as pl

    try:
        frame = pl.read_excel(
            io.BytesIO(body),
            sheet_name=sheet,
            engine="calamine",
            has_header=False,
            infer_schema_length=0,  # everything as text
            drop_empty_rows=False,
            drop_empty_cols=False,
        )
    except (fastexcel.FastExcelError, pl.exceptions.PolarsError, ValueError) as error:
        kind = "an HTML page" if body.lstrip()[:1] == b"<" else f"{len(body)} bytes"
        expected = f"expected an Excel file with the sheet {sheet!r}"
        raise BadPayloadError(provider, f"{where}: {expected}, found {kind} ({snippet(str(error))}): ask again later") from None
    return frame.rows()
