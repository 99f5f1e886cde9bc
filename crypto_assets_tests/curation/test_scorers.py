"""Every scorer keeps the protocol; VADER and its word lists against cases whose answer is plain; what is missing is named."""

from __future__ import annotations

import sys
import time

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from crypto_assets.curation._urgency import urgency
from crypto_assets.curation.scorers import EMOTIONS, MOST_CHARACTERS, SCHEMA, Scorer, scorer
from crypto_assets.curation.scorers._emotions import EMOTION_OF
from crypto_assets.curation.scorers._lexicon import LEXICON, PICTURES
from crypto_assets.curation.scorers.transformer import SENTIMENT_MODEL, TransformerScorer
from crypto_assets.curation.scorers.vader import VaderScorer, emotions, score
from crypto_assets.market.errors import SettingsError
from crypto_assets.sandbox import texts as sandbox
from crypto_assets_tests.curation import tiny

TEXTS = [
    "Bitcoin soars to a record 🚀",
    "Panic as exchange is hacked, users furious",
    "",
    " \t ",
    "The committee met on Tuesday",
    "Биткоин растёт — 比特币 上涨 📈 ₿",
    "é́🏳️‍🌈\u200d\ufeff\x00",
    "!!!???",
    "@someone https://example.com/a $BTC",
    "word " * 50,
]
LONG = "Bitcoin does not crash, but users worry and rejoice! " * 2_000


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[str, str]:
    root = tmp_path_factory.mktemp("models")
    return tiny.encoder(root / "mood", tiny.SENTIMENT), tiny.encoder(root / "emotion", tiny.EMOTION, seed=1)


@pytest.fixture(params=["vader", "transformers"])
def any_scorer(request) -> Scorer:
    if request.param == "vader":
        return VaderScorer()
    return TransformerScorer(*request.getfixturevalue("folders"))


def test_a_row_a_text_within_bounds(any_scorer):
    found = any_scorer.score(TEXTS)
    assert isinstance(any_scorer, Scorer)
    assert found.schema == SCHEMA
    assert found.height == len(TEXTS)
    assert found.null_count().sum_horizontal().item() == 0
    assert found["score"].is_between(-1, 1).all()
    shares = found.select(EMOTIONS)
    assert shares.min_horizontal().min() >= 0
    assert shares.sum_horizontal().max() <= 1 + 1e-3


def test_a_text_is_read_by_itself(any_scorer):
    """Neither the other texts of the call nor their order matter, and the same is said twice."""
    together = any_scorer.score(TEXTS)
    assert_frame_equal(any_scorer.score(TEXTS), together, check_exact=True)
    assert_frame_equal(any_scorer.score(TEXTS[::-1]).reverse(), together, abs_tol=1.01e-4)
    assert_frame_equal(pl.concat(any_scorer.score([text]) for text in TEXTS), together, abs_tol=1.01e-4)


def test_nothing_to_read(any_scorer):
    assert_frame_equal(any_scorer.score([]), pl.DataFrame(schema=SCHEMA))


def test_what_lies_behind_the_limit_is_not_read_and_costs_little(any_scorer):
    any_scorer.score(["warm"])
    started = time.process_time()
    whole = any_scorer.score([LONG])
    assert time.process_time() - started < 5
    assert_frame_equal(whole, any_scorer.score([LONG[:MOST_CHARACTERS]]), check_exact=True)


def test_the_version_says_what_made_the_numbers(any_scorer):
    assert any_scorer.name in ("vader", "transformers")
    assert any_scorer.version == any_scorer.version
    assert len(any_scorer.version) >= 8


# VADER and the word lists


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("Bitcoin is bullish", "Bitcoin is not bullish"),
        ("Bitcoin did not crash", "Bitcoin crashed"),
        ("No hack at the exchange", "Hack at the exchange"),
        ("Bitcoin soars", "Bitcoin rises slightly"),
        ("Bitcoin 🚀", "Bitcoin"),
        ("Bitcoin 📈", "Bitcoin 📉"),
        ("Bitcoin 🌕🚀", "Bitcoin 🚀"),
        ("BULLISH on bitcoin", "bullish on bitcoin"),
        ("Bitcoin rallies!!!", "Bitcoin rallies"),
        ("Losses, but bitcoin rallies", "Bitcoin rallies, but losses"),
        ("wagmi", "ngmi"),
        ("BTC up 5% since Monday", "BTC down 5% since Monday"),
        ("Hodlers are happy :)", "Hodlers are sad :("),
    ],
)
def test_better_news_scores_higher(better, worse):
    assert score(better) > score(worse)


def test_a_word_means_what_the_list_says():
    """One word alone: VADER's compound is v / sqrt(v^2 + 15)."""
    for word, strength in LEXICON.items():
        assert score(word) == pytest.approx(strength / np.sqrt(strength**2 + 15), abs=5e-5), word
    assert all(LEXICON[word] for word in PICTURES.values())


def test_the_simulated_headlines_are_read_with_vaders_own_words_only():
    """What the sandbox plants is measured with everyday words: no word list here may move it."""
    plain = SentimentIntensityAnalyzer()
    wordings = [w.format("Solana") + end for level in sandbox.TEMPLATES for w in level for end in sandbox.ENDINGS]
    for text in (*wordings, *sandbox.MARKET):
        assert score(text) == plain.polarity_scores(text)["compound"], text


@pytest.mark.parametrize(
    ("text", "emotion"),
    [
        ("Panic and fear as contagion spreads", "fear"),
        ("😱😱", "fear"),
        ("Euphoria: hodlers celebrate 🎉", "joy"),
        ("To the moon 🚀 lambo", "joy"),
        ("Users furious over fraud", "anger"),
        ("🤬", "anger"),
        ("Bagholders cry after painful losses 😢", "sadness"),
        ("Shock: unexpected twist stuns traders 🤯", "surprise"),
    ],
)
def test_the_emotion_that_is_meant_is_the_strongest(text, emotion):
    found = dict(zip(EMOTIONS, emotions(text), strict=True))
    assert max(found, key=found.__getitem__) == emotion
    assert found[emotion] >= 0.5


def test_emotions_are_shares():
    assert emotions("The committee met") == (0.0,) * len(EMOTIONS)
    assert emotions("panic") == (0.5, 0, 0, 0, 0)
    assert emotions("panic, panic and outrage") == (0.5, 0, 0.25, 0, 0)
    assert emotions("Crash") == (0.5, 0, 0, 0, 0)


@pytest.mark.parametrize("text", ["No panic at all", "Traders don't fear rates", "traders don’t fear rates", "never angry"])
def test_a_denied_emotion_does_not_count(text):
    assert emotions(text) == (0.0,) * len(EMOTIONS)


def test_the_word_lists_are_words():
    assert set().union(*EMOTION_OF.values()) == set(EMOTIONS)
    assert all(word == word.lower() for word in EMOTION_OF)
    assert all(len(set(of)) == len(of) for of in EMOTION_OF.values())


# Urgency


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ("BREAKING: bitcoin halts", "Breaking: bitcoin halts"),
        ("Breaking: bitcoin halts", "Bitcoin halts"),
        ("🚨 Bitcoin", "Bitcoin"),
        ("Withdraw IMMEDIATELY from the exchange", "Withdraw immediately from the exchange"),
        ("Bitcoin!", "Bitcoin"),
        ("Last chance: 2 hours left", "Last chance"),
    ],
)
def test_more_urgent(more, less):
    assert 0 <= urgency(less) < urgency(more) < 1


@pytest.mark.parametrize(
    "text", ["", "Bitcoin trades flat", "USDT and THETA listed", "ETH, SOL, LINK", "Record-breaking, developing alertness"]
)
def test_not_urgent_at_all(text):
    assert urgency(text) == 0


def test_a_headline_all_in_capitals_shouts_no_louder_than_one_word():
    assert urgency("BITCOIN MARKETS REMAIN RATHER QUIET TODAY") == urgency("Markets remain rather QUIET today") == 1 / 3


# What the settings name


class Constant:
    """A scorer of one's own."""

    name = "constant"
    version = "1"

    def score(self, texts):
        return pl.DataFrame([[0.5, *[0.0] * len(EMOTIONS)] for _ in texts], schema=SCHEMA, orient="row")


constant = Constant()
not_a_scorer = 3


def test_the_settings_name_a_scorer():
    assert scorer("vader").name == "vader"
    assert scorer("transformers").name == "transformers"
    assert scorer(f"{__name__}:constant") is constant


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("bert", "expected vader, transformers, or package.module:OBJECT"),
        ("no_such_package_here:x", "cannot be imported"),
        (f"{__name__}:absent", "cannot be imported"),
        (f"{__name__}:not_a_scorer", "found 3"),
    ],
)
def test_any_other_name_is_refused(name, says):
    with pytest.raises(SettingsError, match=says):
        scorer(name)


def test_a_model_that_is_not_there_is_named_with_what_to_do(tmp_path, folders):
    with pytest.raises(
        SettingsError, match=r"local cache, found none .*hf download .*missing.*CRYPTO_ASSETS_ALLOW_MODEL_DOWNLOAD"
    ):
        TransformerScorer(str(tmp_path / "missing"), folders[1]).score(["a"])


def test_a_model_of_other_labels_is_refused(folders):
    with pytest.raises(SettingsError, match=r"not \['negative', 'positive'\]"):
        TransformerScorer(folders[1], folders[1]).score(["a"])


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SettingsError, match=r"pip install 'crypto_assets\[nlp\]'"):
        TransformerScorer(f"{SENTIMENT_MODEL}-of-a-test").score(["a"])


def test_the_transformers_numbers_are_the_models(folders):
    """Against the model run on one text at a time, without padding."""
    import torch
    import transformers

    found = TransformerScorer(*folders).score(TEXTS)
    for folder, labels, columns in ((folders[0], tiny.SENTIMENT, None), (folders[1], tiny.EMOTION, EMOTIONS)):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
        for row, text in enumerate(TEXTS):
            if "@" in text:
                text = "@user http $BTC"
            inputs = tokenizer(" ".join(text.split()), return_tensors="pt", truncation=True, max_length=64)
            with torch.inference_mode():
                p = dict(zip(labels, model(**inputs).logits.softmax(-1)[0].tolist(), strict=True))
            wanted = [p["positive"] - p["negative"]] if columns is None else [p[c] for c in columns]
            assert list(found.select(columns or "score").row(row)) == pytest.approx(wanted, abs=2e-4), text
