"""Tokenizer and model of a training run, before its first step."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from transformers import (
    BertConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from features.grounding.hub import ask_hub
from model.config import ExtractorConfig
from model.contract import System
from model.encoder import TextEncoder, load_encoder
from model.hvpnet.prefixed import PrefixedEncoder
from model.systems import declared, digest_of, model_class
from pipeline.corpus.post import Post
from pipeline.errors import SettingError
from pipeline.training.batches import Pictures
from pipeline.training.config import SCRATCH, TrainConfig
from pipeline.training.encode import load_tokenizer, scratch_tokenizer
from pipeline.training.finetune import FineTuned, Pixels
from pipeline.training.heads import Head
from pipeline.training.start import Start
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
    start: Start | None = None,
    texts: Mapping[str, Any] | None = None,
) -> tuple[PreTrainedTokenizerBase, System | FineTuned]:
    """Return tokenizer and untrained model.

    posts: used to make a scratch encoder's tokenizer.
    start: a model whose tokenizer, encoder and prefix are taken; None: those of `config.encoder`.
    texts: the settings that made the pictures' texts; None: the model reads none.
    """
    tokenizer, encoder = _pretrained(posts, config, start)
    marker_ids = head.add_markers(tokenizer, declared(config.system).markers)
    if encoder is None:
        encoder_config: PreTrainedConfig = BertConfig(vocab_size=len(tokenizer), **SCRATCH_SHAPE)
    else:
        if len(tokenizer) > _rows(encoder):
            encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        encoder_config = encoder.config
    most = most_tokens(tokenizer, encoder_config)
    if texts is not None:
        _check_room(config, most)
    if not head.least_tokens <= config.max_tokens <= most:
        raise SettingError(
            f"--max-tokens: expected from {head.least_tokens} to {most} with encoder "
            f"{config.encoder_name!r}, found {config.max_tokens}"
        )
    inputs: dict[str, Any] = {}
    if pictures is not None:
        inputs = {
            "block_channels": pictures.channels,
            "grid": pictures.grid,
            "pyramids": pictures.made_by,
        }
    kind = model_class(head.name, config.system)
    model = kind(
        ExtractorConfig(
            encoder={k: v for k, v in encoder_config.to_dict().items() if k != "_name_or_path"},
            system=config.system,
            form=config.form,
            system_digest=digest_of(config.system),
            style=config.style,
            variant=config.variant,
            knowledge_tokens=0 if texts is None else config.knowledge_tokens,
            texts=None if texts is None else dict(texts),
            dropout=config.dropout,
            marker_ids=marker_ids,
            relation_head=config.relation_head,
            id2label=dict(enumerate(labels)),
            label2id={label: n for n, label in enumerate(labels)},
            **inputs,
        )
    )
    if encoder is not None:
        assert isinstance(model, TextEncoder)
        model.adopt(encoder)
    if start is not None and isinstance(model, PrefixedEncoder):
        start.fill_prefix(model)
    if isinstance(pictures, Pixels):
        return tokenizer, FineTuned(model, pictures)
    return tokenizer, model


def _check_room(config: TrainConfig, most: int) -> None:
    """Raise SettingError unless a sentence and a picture text fit into the encoder together."""
    if config.max_tokens + config.knowledge_tokens > most:
        raise SettingError(
            f"--max-tokens and --knowledge-tokens: expected at most {most} together with encoder "
            f"{config.encoder_name!r}, found {config.max_tokens} and {config.knowledge_tokens}"
        )


def _pretrained(
    posts: Iterable[Post], config: TrainConfig, start: Start | None
) -> tuple[PreTrainedTokenizerBase, PreTrainedModel | None]:
    """Return a tokenizer and its encoder; None for an encoder from scratch."""
    if start is not None:
        return start.saved.tokenizer, start.model.encoder
    name = config.encoder_name
    if name == SCRATCH:
        return scratch_tokenizer(posts), None
    tokenizer = load_tokenizer(name)
    encoder = load_encoder(name, ask_hub)
    check_vocabulary(tokenizer, encoder.config, _rows(encoder), name)
    return tokenizer, encoder


def _rows(encoder: PreTrainedModel) -> int:
    rows: int = encoder.get_input_embeddings().num_embeddings
    return rows
