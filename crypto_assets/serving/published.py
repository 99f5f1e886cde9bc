"""What is served about one closed hour by one bundle: made once, never changed, replaced whole."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from crypto_assets.dataset.panel import Panel
from crypto_assets.evaluation.champion import Bundle, join
from crypto_assets.fusion.fused import Fused
from crypto_assets.lake import Lake
from crypto_assets.market.errors import CheckpointError, SchemaError
from crypto_assets.market.time import HORIZONS
from crypto_assets.models._base import Forecast
from crypto_assets.serving.answers import Record, features_hash, member_records, of_fusion, record, spoken, weights_of
from crypto_assets.serving.ensemble import Ensemble, Row, Runtime
from crypto_assets.serving.fusing import FusionNow, fusion_now

RETURN = "return_1h"


@dataclass(frozen=True)
class Question:
    """One coin and horizon, with a row of the matrix in place of the last one."""

    published: Published
    symbol: str
    timeframe: str
    features: Mapping[str, float | None]


@dataclass(frozen=True)
class Published:
    """`answers` by (symbol, timeframe), and each as the bytes that are sent. `closes`: the last two days of a coin's closes."""

    at: datetime
    number: int
    ensemble: Ensemble
    panel: Panel = field(repr=False)
    closes: Mapping[str, list[float]]
    fusion: FusionNow | None = field(repr=False)
    answers: dict[tuple[str, str], Record]
    bodies: dict[tuple[str, str], bytes]
    made_at: float = field(default_factory=time.time)

    @property
    def runtime(self) -> Runtime:
        """The bundle and its sessions."""
        return self.ensemble.runtime

    @classmethod
    def make(cls, lake: Lake, runtime: Runtime, number: int, panel: Panel, closes: Mapping[str, list[float]]) -> Published:
        """Forecast every coin that has a bar in the panel's last hour."""
        panel = chosen(panel, runtime.bundle)
        ensemble = Ensemble(runtime, panel)
        fusion = fusion_now(lake, runtime.bundle, ensemble.at, ensemble.members)
        made = cls(ensemble.at, number, ensemble, panel, closes, fusion, {}, {})
        listed = [s for n, s in enumerate(runtime.bundle.symbols) if panel.listed_TN[-1, n]]
        said = ensemble.members
        combined = made.combined(said)
        for symbol in listed:
            for timeframe in HORIZONS:
                answer = made.answer(symbol, timeframe, combined, said)
                made.answers[symbol, timeframe] = answer
                made.bodies[symbol, timeframe] = json.dumps(answer, separators=(",", ":")).encode()
        return made

    def combined(self, members: Mapping[str, Forecast]) -> Forecast | Fused:
        """The members' forecasts of the hour as the bundle combines them."""
        return join(self.runtime.bundle, members) if self.fusion is None else self.fusion.of(members)

    def answer(
        self,
        symbol: str,
        timeframe: str,
        said: Forecast | Fused,
        members: Mapping[str, Forecast],
        features: str | None = None,
    ) -> Record:
        """One answer from forecasts of the hour, `said` and `members` about the same coins."""
        combined = said.forecast if isinstance(said, Fused) else said
        bundle, n = self.runtime.bundle, combined.symbols.index(symbol)
        day = timeframe == "24h"
        beats, rv = (float(a[0, n]) for a in (combined.p_beats_median_TN, combined.realised_var_TN))
        extra = {
            "p_beats_median": beats if day and np.isfinite(beats) else None,
            "realised_var": rv if day and np.isfinite(rv) else None,
        }
        closes = self.closes.get(symbol)
        weights = weights_of(said, timeframe) if isinstance(said, Fused) else None
        return record(
            of_fusion(said, timeframe, n) if isinstance(said, Fused) else spoken(said, timeframe, n),
            bundle=bundle,
            number=self.number,
            symbol=symbol,
            horizon=timeframe,
            at=self.at,
            price=closes[-1] if closes else None,
            members=member_records(bundle, members, timeframe, n, weights),
            extra=extra,
            features=features,
        )

    def row(self, symbol: str, features: Mapping[str, float | None]) -> Row:
        """A sent row as the ensemble takes it. Raises SchemaError, naming columns, where they are not the bundle's."""
        columns = self.runtime.bundle.columns
        known = set(columns)
        unknown, missing = sorted(features.keys() - known - {RETURN}), sorted(known - features.keys())
        if unknown or missing:
            raise SchemaError(
                f"features must be one row of features/matrix: {len(missing)} of {len(columns)} columns are missing"
                f"{_few(missing)}, {len(unknown)} are unknown{_few(unknown)}; GET /model lists them"
            )
        sent_F = np.array([features[c] for c in columns], dtype=np.float64)  # None is NaN
        given = features.get(RETURN, float(self.panel.r_TN[-1, self.runtime.bundle.symbols.index(symbol)]))
        r = float("nan") if given is None else float(given)
        return Row(symbol, sent_F.astype(np.float32), r, features_hash(sent_F, r))

    def last_row(self, symbol: str) -> dict[str, float | None]:
        """The coin's row of features/matrix for this hour: what may be sent back, changed, as `features`."""
        bundle = self.runtime.bundle
        n = bundle.symbols.index(symbol)
        values = {c: float(v) for c, v in zip(bundle.columns, self.panel.x_TNF[-1, n], strict=True)}
        return {k: v if np.isfinite(v) else None for k, v in {**values, RETURN: float(self.panel.r_TN[-1, n])}.items()}


def chosen(panel: Panel, bundle: Bundle) -> Panel:
    """The panel with the bundle's columns and coins, in its order. Raises CheckpointError naming what there is not."""
    missing = [c for c in bundle.columns if c not in panel.columns] + [s for s in bundle.symbols if s not in panel.symbols]
    if missing:
        raise CheckpointError(f"bundle {bundle.version} reads what is not made here{_few(missing)}: train it again")
    if (panel.columns, panel.symbols) == (bundle.columns, bundle.symbols):
        return panel
    places = {c: f for f, c in enumerate(panel.columns)}, {s: n for n, s in enumerate(panel.symbols)}
    f, n = [places[0][c] for c in bundle.columns], [places[1][s] for s in bundle.symbols]
    return replace(
        panel,
        symbols=bundle.symbols,
        columns=bundle.columns,
        x_TNF=panel.x_TNF[:, n][:, :, f],
        r_TN=panel.r_TN[:, n],
        listed_TN=panel.listed_TN[:, n],
        labels={k: v[:, n] for k, v in panel.labels.items()},
    )


def answer_all(questions: Sequence[Question]) -> list[Record | Exception]:
    """Answer a batch; questions about different hours or bundles, as around a swap, are answered by what they were asked of."""
    found: list[Record | Exception | None] = [None] * len(questions)
    groups: dict[int, list[int]] = {}
    for i, question in enumerate(questions):
        groups.setdefault(id(question.published), []).append(i)
    for group in groups.values():
        published = questions[group[0]].published
        rows: dict[int, Row] = {}
        for i in group:
            try:
                rows[i] = published.row(questions[i].symbol, questions[i].features)
            except SchemaError as error:
                found[i] = error
        good = list(rows)
        for batch in published.ensemble.batches([rows[i] for i in good]):
            chosen = [good[b] for b in batch]
            members = published.ensemble.asked([rows[i] for i in chosen])
            combined = published.combined(members)
            for i in chosen:
                q = questions[i]
                found[i] = published.answer(q.symbol, q.timeframe, combined, members, rows[i].digest)
    return [a if a is not None else SchemaError("not answered") for a in found]


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f" ({shown})" if names else ""
