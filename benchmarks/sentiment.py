"""Claim: how well the scorers read texts that people have labelled: accuracy, macro-F1 and AUC, with 95 % intervals.

How: a file of texts (Parquet or CSV) and a column of labels: the words positive, neutral, negative, or a number whose sign is
the label (`--less` names a column to subtract first: votes for, less votes against). The word lists were chosen by looking at
one half of the texts, by a hash of the text; what counts is the other half, `unseen`. Scorers: VADER as it comes; VADER with
the words of the trade, the default; the transformer where its models are in the local cache. A score of 0.05 or more counts
as positive, of -0.05 or less as negative (VADER's own limits); AUC is positive against negative.

Intervals: bootstrap of the texts, percentiles, the same draws for every scorer, so that differences are paired.

    python benchmarks/sentiment.py --labels financial_phrasebank.parquet --text text --label label
    python benchmarks/sentiment.py --labels cryptopanic_votes.parquet --text title --label positive --less negative

The result is aggregates only, under the name of the file. The texts stay where they are.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from _record import keep, require

from crypto_assets.curation.scorers import scorer
from crypto_assets.curation.scorers._lexicon import LEXICON
from crypto_assets.market.errors import SettingsError

CLASSES = ("negative", "neutral", "positive")
LIMIT = 0.05
DRAWS = 1_000
Score = Callable[[list[str]], np.ndarray]


def labelled(path: Path, text: str, label: str, less: str | None) -> pl.DataFrame:
    """Columns text, label (-1, 0, 1), once a text; texts with two different labels are left out."""
    frame = pl.read_csv(path) if path.suffix == ".csv" else pl.read_parquet(path)
    if frame[label].dtype == pl.String:
        words = {"negative": -1, "neutral": 0, "positive": 1}
        sign = pl.col(label).str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Int64)
    else:
        sign = (pl.col(label) - (pl.col(less) if less else 0)).sign().cast(pl.Int64)
    rows = frame.select(pl.col(text).alias("text"), sign.alias("label"))
    require(rows["label"].null_count() == 0, f"column {label} holds other words than {CLASSES}")
    agreed = rows.unique(maintain_order=True).filter(pl.len().over("text") == 1)
    return agreed.with_columns(half=pl.col("text").map_elements(half, return_dtype=pl.String))


def half(text: str) -> str:
    """`chosen` for the half of all texts that the word lists were chosen on, else `unseen`."""
    return "unseen" if hashlib.sha256(text.encode()).digest()[-1] % 2 else "chosen"


def scorers() -> dict[str, Score]:
    """By name."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    plain = SentimentIntensityAnalyzer()
    default = scorer("vader")
    found: dict[str, Score] = {
        "vader_as_it_comes": lambda texts: np.array([plain.polarity_scores(t)["compound"] for t in texts]),
        "vader_and_words_of_the_trade": lambda texts: default.score(texts)["score"].to_numpy(),
    }
    transformer = scorer("transformers")
    try:
        transformer.score(["warm"])
    except SettingsError as error:
        print(f"left out: {error}")
    else:
        found["transformers"] = lambda texts: transformer.score(texts)["score"].to_numpy()
    return found


def measures(label: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """Accuracy and macro-F1 of three classes, AUC of positive against negative (Mann-Whitney, ties one half)."""
    said = np.where(score >= LIMIT, 1, np.where(score <= -LIMIT, -1, 0))
    f1 = []
    for one in (-1, 0, 1):
        hits = np.sum((said == one) & (label == one))
        f1.append(2 * hits / max(1, np.sum(said == one) + np.sum(label == one)))
    order = np.unique(score, return_inverse=True)[1]
    good, bad = (np.bincount(order[label == one], minlength=order.max() + 1) for one in (1, -1))
    below = np.cumsum(bad) - bad
    pairs = good.sum() * bad.sum()
    auc = float(np.sum(good * (below + bad / 2)) / pairs) if pairs else float("nan")
    return {"accuracy": float(np.mean(said == label)), "macro_f1": float(np.mean(f1)), "auc": auc}


def with_intervals(label: np.ndarray, scores: dict[str, np.ndarray]) -> dict[str, Any]:
    """By scorer and measure: value and 95 % interval; and what each adds to the first scorer."""
    rng = np.random.default_rng(0)
    drawn: dict[str, list[dict[str, float]]] = {name: [] for name in scores}
    for _ in range(DRAWS):
        rows = rng.integers(len(label), size=len(label))
        for name, score in scores.items():
            drawn[name].append(measures(label[rows], score[rows]))
    first = next(iter(scores))
    result: dict[str, Any] = {}
    for name, score in scores.items():
        point, base = measures(label, score), measures(label, scores[first])
        result[name] = {}
        for measure, value in point.items():
            draws = np.array([d[measure] for d in drawn[name]])
            result[name][measure] = _stated(value, draws)
            if name != first:
                gains = draws - np.array([d[measure] for d in drawn[first]])
                result[name][f"{measure}_gained"] = _stated(value - base[measure], gains)
    return result


def _stated(value: float, draws: np.ndarray) -> dict[str, float]:
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return {"value": round(value, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def main() -> None:
    """Measure, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True, help="Parquet or CSV file")
    parser.add_argument("--text", required=True, help="column of texts")
    parser.add_argument("--label", required=True, help="column of labels")
    parser.add_argument("--less", help="column to subtract from a label that is a number")
    given = parser.parse_args()
    rows = labelled(given.labels, given.text, given.label, given.less)
    by = scorers()
    result: dict[str, Any] = {"dataset": given.labels.stem, "words_of_the_trade": len(LEXICON)}
    if "transformers" not in by:
        result["transformers"] = "not measured: the models are not in the local cache"
    for part in ("unseen", "chosen"):
        chosen = rows.filter(pl.col("half") == part)
        label, texts = chosen["label"].to_numpy(), chosen["text"].to_list()
        scores, speed = {}, {}
        for name, score in by.items():
            score(texts[:50])
            started = time.process_time()
            scores[name] = score(texts)
            speed[name] = round(len(texts) / (time.process_time() - started))
        counts = {name: int(np.sum(label == i - 1)) for i, name in enumerate(CLASSES)}
        result[part] = {
            "texts": len(texts),
            **counts,
            "accuracy_of_the_commonest_label": round(max(counts.values()) / len(texts), 4),
            "scorers": with_intervals(label, scores),
            "texts_a_cpu_second": speed,
        }
    keep(f"sentiment_{given.labels.stem}", result)


if __name__ == "__main__":
    main()
