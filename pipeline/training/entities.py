"""Entities: tags aligned with word pieces, and read back from the CRF."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from model.hvpnet.variants import PAPER, RELEASED
from model.ner import EntityTagger
from pipeline.corpus.labels import OUTSIDE, clean_tags
from pipeline.corpus.post import Post
from pipeline.training.batches import IGNORED, padded
from pipeline.training.encode import Encoded, number_of, tokenize
from pipeline.training.heads import Head
from pipeline.training.possible import repeated
from pipeline.training.score import entity_scores

# The published code's labels beside the tags: of padding, later pieces, and the two ends.
PAD, LATER, START, END = "PAD", "X", "[CLS]", "[SEP]"


def entity_labels(known: Sequence[str], style: str) -> list[str]:
    """The CRF's labels for tags that begin with O: these, or the published code's too."""
    return [PAD, *known, LATER, START, END] if style == RELEASED else list(known)


def encode_entities(
    posts: Mapping[int, Post],
    tokenizer: PreTrainedTokenizerBase,
    labels: Sequence[str],
    longest: int,
    style: str = PAPER,
) -> list[Encoded]:
    """Numbered posts -> word pieces, and a label for each token of the CRF.

    labels: as `entity_labels` gives them. Tokens are the words, at their first pieces; in style
    released all pieces, the two ends too. A word beyond `longest` pieces, or one that the tokenizer
    drops, has no token: it is tagged O. Raises DataError for a tag that is not in `labels`.
    """
    number = {label: place for place, label in enumerate(labels)}
    encoded = []
    pieces = tokenize([post.tokens for post in posts.values()], tokenizer, longest)
    for (n, post), (ids, owners) in zip(posts.items(), pieces, strict=True):
        first: dict[int, int] = {}  # word -> place of its first piece
        for place, word in enumerate(owners):
            if word is not None:
                first.setdefault(word, place)
        # Without any word the CRF still needs a sequence: the first piece, taught as O.
        positions = [*range(len(ids))] if style == RELEASED else [*first.values()] or [0]
        token = {place: n for n, place in enumerate(positions)}
        words = [token[first[word]] if word in first else -1 for word in range(len(post.tokens))]
        found: list[int] = []
        if post.tags is not None:
            named = _token_labels(len(ids), positions, first, post.tags, style)
            found = [number_of(label, number, post) for label in named]
        encoded.append(Encoded(n, ids, positions, found, words))
    return encoded


def _token_labels(
    pieces: int, positions: Sequence[int], first: Mapping[int, int], tags: Sequence[str], style: str
) -> list[str]:
    """The CRF's label for each token. first: word -> place of its first piece."""
    at = {place: tags[word] for word, place in first.items()}
    if style == RELEASED:
        at = {0: START, pieces - 1: END} | at
    return [at.get(place, LATER if style == RELEASED else OUTSIDE) for place in positions]


class Entities(Head):
    """A tag for each word, by a CRF."""

    name = "ner"
    model = EntityTagger
    least_tokens = 3  # two ends, one word
    labels = staticmethod(entity_labels)
    encode = staticmethod(encode_entities)
    scores = staticmethod(entity_scores)

    def gold(self, post: Post) -> list[str] | None:
        return None if post.tags is None else list(post.tags)

    def add_markers(self, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
        return ()

    def collate(self, posts: Sequence[Encoded]) -> dict[str, Tensor]:
        """words (B, W): places of the CRF's tokens; labels (B, W): what they are taught."""
        batch = {"words": padded([post.positions for post in posts], -1)}
        if all(post.labels for post in posts):
            batch["labels"] = padded([post.labels for post in posts], IGNORED)
        return batch

    def read(
        self, answers: np.ndarray, encoded: Sequence[Encoded], labels: Sequence[str]
    ) -> list[list[str]]:
        """answers: (posts, W) labels by number. Words that the model never saw are O."""
        return [
            [labels[answer[token]] if token >= 0 else OUTSIDE for token in post.words]
            for post, answer in zip(encoded, answers, strict=True)
        ]

    def readable(self, posts: Sequence[Post], split: str) -> dict[int, Post]:
        repeats = repeated(posts)
        own = super().readable(posts, split)
        return {number: post for number, post in own.items() if number not in repeats}

    def unread(self, post: Post) -> list[str]:
        return [OUTSIDE] * len(post.tokens)

    def as_fields(self, answer: Sequence[str]) -> dict[str, Any]:
        return {"predicted_tags": clean_tags(answer)}
