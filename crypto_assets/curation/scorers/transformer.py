"""The scorer of two transformer encoders, one of sentiment and one of emotion; needs the extra `[nlp]`.

Sentiment: `cardiffnlp/twitter-roberta-base-sentiment-latest` (Loureiro et al., "TimeLMs", ACL 2022; 124 M tweets, fine-tuned on
TweetEval); score = P(positive) - P(negative). Emotion: `j-hartmann/emotion-english-distilroberta-base` (Hartmann 2022; six
corpora of general English); its probabilities as they are, disgust and neutral left out. Neither has seen labels about crypto.

A batch always has the same shape for texts of a length (rows and tokens padded), so that the numbers of a text do not depend on
the others of the batch; they are kept to four digits. Models come from the local cache of Hugging Face (`HF_HOME`) or a folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from crypto_assets.curation.scorers import EMOTIONS, MOST_CHARACTERS, SCHEMA
from crypto_assets.market.errors import SettingsError

SENTIMENT_MODEL = "cardiffnlp/twitter-roberta-base-sentiment-latest"
EMOTION_MODEL = "j-hartmann/emotion-english-distilroberta-base"
LENGTHS = (16, 32, 64, 128, 256, 512)
"""Tokens a text is padded to."""
TOKENS_A_BATCH = {"cpu": 1024, "cuda": 32_768}
_LIKE = {"bullish": "positive", "bearish": "negative", "pos": "positive", "neg": "negative"}
"""What other models call the same."""


@dataclass(frozen=True)
class TransformerScorer:
    """Names or folders of the two models; `download` allows fetching them from the hub. On a GPU, if there is one, in bf16."""

    sentiment: str = SENTIMENT_MODEL
    emotion: str = EMOTION_MODEL
    download: bool = False
    name = "transformers"

    @property
    def version(self) -> str:
        """The models, with the revisions that were loaded. Raises like `score`."""
        return " ".join(f"{name}@{_load(name, self.download).revision}" for name in (self.sentiment, self.emotion))

    def score(self, texts: Sequence[str]) -> pl.DataFrame:
        """One row a text, in order, with the columns of SCHEMA.

        Raises SettingsError, saying what to install or download, where transformers or a model is missing, and for a model
        without the labels that are read.
        """
        if not texts:
            return pl.DataFrame(schema=SCHEMA)
        plain = [_plain(text[:MOST_CHARACTERS]) for text in texts]
        mood = _probabilities(_load(self.sentiment, self.download), plain, ("negative", "positive"))
        emotion = _probabilities(_load(self.emotion, self.download), plain, EMOTIONS)
        columns = np.column_stack([mood[:, 1] - mood[:, 0], emotion]).astype(np.float64)
        return pl.DataFrame(np.round(columns, 4), schema=SCHEMA)


@dataclass(frozen=True)
class _Model:
    name: str
    revision: str
    tokenizer: Any
    encoder: Any
    labels: tuple[str, ...]
    most_tokens: int


@lru_cache(maxsize=4)
def _load(name: str, download: bool) -> _Model:
    try:
        import transformers
    except ImportError as error:
        raise SettingsError(
            f"text_scorer transformers: the package is missing ({error}): pip install 'crypto_assets[nlp]', or use vader"
        ) from None
    import torch

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, local_files_only=not download)
        encoder = transformers.AutoModelForSequenceClassification.from_pretrained(name, local_files_only=not download)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"text_scorer transformers: expected the model {name} in the local cache, found none ({_first_line(error)}): "
            f"fetch it with `hf download {name}`, or allow it with CRYPTO_ASSETS_ALLOW_MODEL_DOWNLOAD=true"
        ) from None
    on_gpu = torch.cuda.is_available()
    encoder = encoder.eval().to("cuda" if on_gpu else "cpu", torch.bfloat16 if on_gpu else torch.float32)
    config = encoder.config
    labels = tuple(_LIKE.get(label.lower(), label.lower()) for _, label in sorted(config.id2label.items()))
    # RoBERTa counts positions from its padding index on, so that many are not for tokens.
    positions = config.max_position_embeddings - ((config.pad_token_id or 0) + 1)
    most = min(LENGTHS[-1], tokenizer.model_max_length, positions)
    return _Model(name, _revision(name, config), tokenizer, encoder, labels, most)


def _revision(name: str, config: Any) -> str:
    """The hub's commit, or for a folder a digest of its weights."""
    digest = hashlib.sha256()
    for path in sorted(Path(name).glob("*.safetensors")):
        digest.update(path.read_bytes())
    return (getattr(config, "_commit_hash", None) or digest.hexdigest())[:8]


def _probabilities(model: _Model, texts: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """`[text, wanted label]`, float32."""
    import torch

    missing = [label for label in wanted if label not in model.labels]
    if missing:
        raise SettingsError(f"the model {model.name} has the labels {model.labels}, not {missing}: choose another model")
    columns = [model.labels.index(label) for label in wanted]
    ids = model.tokenizer(list(texts), truncation=True, max_length=model.most_tokens)["input_ids"]
    out = np.empty((len(texts), len(wanted)), dtype=np.float32)
    for rows, tokens, mask in _batches(ids, model):
        with torch.inference_mode():
            logits = model.encoder(input_ids=tokens, attention_mask=mask).logits
        out[rows] = logits.float().softmax(-1)[: len(rows), columns].cpu().numpy()
    return out


def _batches(ids: list[list[int]], model: _Model) -> Iterator[tuple[list[int], Any, Any]]:
    """Which texts, and their tokens and mask `[row, token]` on the model's device, shortest texts first."""
    import torch

    device = model.encoder.device
    for length, members in _by_length(ids, model.most_tokens):
        size = max(1, TOKENS_A_BATCH[device.type] // length)
        for start in range(0, len(members), size):
            rows = members[start : start + size]
            tokens = torch.full((size, length), model.encoder.config.pad_token_id or 0, dtype=torch.long)
            mask = torch.zeros((size, length), dtype=torch.long)
            mask[:, 0] = 1  # a row of padding attends to one token, so that its softmax is defined
            for i, row in enumerate(rows):
                tokens[i, : len(ids[row])] = torch.tensor(ids[row])
                mask[i, : len(ids[row])] = 1
            yield rows, tokens.to(device), mask.to(device)


def _by_length(ids: list[list[int]], most: int) -> Iterable[tuple[int, list[int]]]:
    lengths = [*(n for n in LENGTHS if n < most), most]
    fitting: dict[int, list[int]] = {n: [] for n in lengths}
    for row, tokens in enumerate(ids):
        fitting[next(n for n in lengths if n >= len(tokens))].append(row)
    return fitting.items()


def _plain(text: str) -> str:
    """The text as the sentiment model was trained to see it: `@user` for names, `http` for addresses."""
    words = text.split()
    return " ".join("@user" if w[0] == "@" and len(w) > 1 else "http" if w.startswith("http") else w for w in words)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
