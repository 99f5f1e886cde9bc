"""Two tiny encoders with random weights and a tokenizer, made on the spot in the folders that the transformer scorer reads."""

from __future__ import annotations

from pathlib import Path

SENTIMENT = ("negative", "neutral", "positive")
EMOTION = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")


def encoder(folder: Path, labels: tuple[str, ...], seed: int = 0) -> str:
    """A RoBERTa of two layers for these labels; returns the folder's name."""
    import torch
    import transformers

    tokenizer = _tokenizer()
    torch.manual_seed(seed)
    config = transformers.RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=66,
        initializer_range=0.5,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    transformers.RobertaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def _tokenizer():
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    bytewise = Tokenizer(models.BPE(unk_token="<unk>"))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bytewise.train_from_iterator(
        ["bitcoin rallies", "ethereum falls"],
        trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    bytewise.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    names = dict(zip(("bos", "pad", "eos", "unk", "mask"), special, strict=True))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=bytewise, **{f"{name}_token": token for name, token in names.items()}
    )
