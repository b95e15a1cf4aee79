"""Tokenizer and model of a training run, before its first step."""

from collections.abc import Iterable, Sequence
from typing import Any

from transformers import BertConfig, PreTrainedTokenizerBase

from features.grounding.hub import ask_hub
from model.config import ExtractorConfig
from model.encoder import PrefixedEncoder, load_encoder
from pipeline.corpus.post import Post
from pipeline.errors import SettingError
from pipeline.training.batches import Pictures
from pipeline.training.config import SCRATCH, TrainConfig
from pipeline.training.encode import load_tokenizer, scratch_tokenizer
from pipeline.training.finetune import FineTuned, Pixels
from pipeline.training.heads import Head
from pipeline.training.vocabulary import check_vocabulary, most_tokens

SCRATCH_SHAPE = {
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 256,
}


def build(
    head: Head,
    posts: Iterable[Post],
    labels: Sequence[str],
    config: TrainConfig,
    pictures: Pictures | None,
) -> tuple[PreTrainedTokenizerBase, PrefixedEncoder | FineTuned]:
    """Return tokenizer and untrained model. posts: used to make a scratch encoder's tokenizer."""
    encoder = None
    if config.encoder == SCRATCH:
        tokenizer: PreTrainedTokenizerBase = scratch_tokenizer(posts)
        marker_ids = head.add_markers(tokenizer)
        encoder_config = BertConfig(vocab_size=len(tokenizer), **SCRATCH_SHAPE)
    else:
        tokenizer = load_tokenizer(config.encoder)
        encoder = load_encoder(config.encoder, ask_hub)
        encoder_config = encoder.config
        rows = encoder.get_input_embeddings().num_embeddings
        check_vocabulary(tokenizer, encoder_config, rows, config.encoder)
        marker_ids = head.add_markers(tokenizer)
        if len(tokenizer) > rows:
            encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    most = most_tokens(tokenizer, encoder_config)
    if not head.least_tokens <= config.max_tokens <= most:
        raise SettingError(
            f"--max-tokens: expected from {head.least_tokens} to {most} with encoder "
            f"{config.encoder!r}, found {config.max_tokens}"
        )
    inputs: dict[str, Any] = {}
    if pictures is not None:
        inputs = {
            "block_channels": pictures.channels,
            "grid": pictures.grid,
            "pyramids": pictures.made_by,
        }
    model = head.model(
        ExtractorConfig(
            encoder={k: v for k, v in encoder_config.to_dict().items() if k != "_name_or_path"},
            style=config.style,
            variant=config.variant,
            dropout=config.dropout,
            marker_ids=marker_ids,
            relation_head=config.relation_head,
            id2label=dict(enumerate(labels)),
            label2id={label: n for n, label in enumerate(labels)},
            **inputs,
        )
    )
    if encoder is not None:
        model.adopt(encoder)
    if isinstance(pictures, Pixels):
        return tokenizer, FineTuned(model, pictures)
    return tokenizer, model
