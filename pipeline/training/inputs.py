"""Posts -> a model's inputs, as its system reads them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from model.config import ExtractorConfig
from model.systems import declared, encoding_style, system_class
from pipeline.corpus.post import Post
from pipeline.grounding.dependencies import Edges, dependency_edges
from pipeline.training import knowledge
from pipeline.training.batches import Collator, Tensors
from pipeline.training.encode import Encoded
from pipeline.training.heads import Head
from pipeline.training.knowledge import Texts


def encode(
    head: Head,
    posts: Mapping[int, Post],
    tokenizer: PreTrainedTokenizerBase,
    labels: Sequence[str],
    longest: int,
    config: ExtractorConfig,
) -> list[Encoded]:
    """Encode numbered posts for a model, without picture texts; see `Head.encode`.

    config: the model's.
    """
    system = declared(config.system)
    style = encoding_style(head.name, config.system, config.style)
    markers = None if system.reads_words else config.marker_ids
    encoded = head.encode(posts, tokenizer, labels, longest, style, markers)
    if not system.prepares:
        return encoded
    prepare = system_class(config.system).prepare
    sentences = list(dict.fromkeys(posts[post.number].tokens for post in encoded))
    edges: list[Edges] = dependency_edges(sentences) if system.parses else [[] for _ in sentences]
    edges_of = dict(zip(sentences, edges, strict=True))
    prepared = []
    for post in encoded:
        words = posts[post.number].tokens
        own = prepare(config, words, post.owners, edges_of[words])
        prepared.append(replace(post, prepared=own))
    return prepared


def with_texts(
    encoded: Sequence[Encoded],
    texts: Texts,
    tokenizer: PreTrainedTokenizerBase,
    config: ExtractorConfig,
) -> list[Encoded]:
    """Put the pictures' texts behind encoded posts; see `knowledge.with_texts`."""
    split = words_of if declared(config.system).reads_words else str.split
    return knowledge.with_texts(encoded, texts, tokenizer, config.knowledge_tokens, split)


def words_of(text: str) -> list[str]:
    """Return the words of a text, without punctuation, for systems on words."""
    return re.findall(r"\w+", text)


def collator(
    head: Head,
    tokenizer: PreTrainedTokenizerBase,
    config: ExtractorConfig,
    pictures: Tensors | None,
) -> Collator:
    """Return what makes a model's batches. config: the model's. pictures: None for text-only."""
    prepares = declared(config.system).prepares
    own = system_class(config.system).collate if prepares else None
    return Collator(tokenizer.pad_token_id, head.collate, pictures, own)
