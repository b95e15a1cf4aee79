"""Entities: tags aligned with word pieces, and read back from the CRF."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from model.encoder import PrefixedEncoder
from model.hvpnet.variants import PAPER, RELEASED
from model.marginals import Chain
from model.ner import EntityTagger
from pipeline.corpus.labels import OUTSIDE, clean_tags, entities_of
from pipeline.corpus.post import Post
from pipeline.training.batches import IGNORED, padded
from pipeline.training.calibration import Item
from pipeline.training.encode import Encoded, number_of, tokenize
from pipeline.training.heads import DIGITS, Head, Scored
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


@dataclass(frozen=True)
class ScoredEntity:
    """A predicted entity in words [start, end), and its probability (0-1)."""

    label: str
    start: int
    end: int
    score: float


def scored_entities(
    tags: Sequence[str], words: Sequence[int], labels: Sequence[str], chain: Chain
) -> list[ScoredEntity]:
    """The entities of a post's predicted tags, each with its probability under the CRF.

    The probability is that of the exact labelled span: summed over all tag sequences of which
    `entities_of` reads this entity. tags: one a word. words: each word's token, -1 without one.
    labels: the CRF's, by number. chain: the CRF over the post's tokens.
    """
    return [
        ScoredEntity(label, start, end, _probability(label, start, end, words, labels, chain))
        for label, start, end in entities_of(tags)
    ]


def _probability(
    kind: str, start: int, end: int, words: Sequence[int], labels: Sequence[str], chain: Chain
) -> float:
    """Probability of an entity: the sum over two disjoint cases.

    Its first word is B-; or its first word is I- and opens the entity, because the word before is
    neither B- nor I- of this type. In both, its other words are I- and the next word is not.
    """
    begins = np.array([label == f"B-{kind}" for label in labels])
    continues = np.array([label == f"I-{kind}" for label in labels])
    rest = {words[word]: continues for word in range(start + 1, end)}
    # A neighbour without a token is O: it needs no constraint.
    if end < len(words) and words[end] >= 0:
        rest[words[end]] = ~continues
    before = {}
    if start > 0 and words[start - 1] >= 0:
        before = {words[start - 1]: ~(begins | continues)}
    first = words[start]
    with_b = chain.probability({first: begins, **rest})
    with_i = chain.probability({**before, first: continues, **rest})
    return min(with_b + with_i, 1.0)


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

    def read_scored(
        self,
        outputs: Any,
        encoded: Sequence[Encoded],
        labels: Sequence[str],
        model: PrefixedEncoder,
    ) -> list[Scored]:
        """outputs: labels by number (posts, W) and emissions (posts, W, K), padded.

        The scores are a `ScoredEntity` for each entity of the tags.
        """
        assert isinstance(model, EntityTagger)
        answers, emissions = outputs
        predicted = self.read(answers, encoded, labels)
        scored = []
        for tags, post, row in zip(predicted, encoded, emissions, strict=True):
            chain = model.chain(row[: len(post.positions)])
            scored.append(Scored(tags, scored_entities(tags, post.words, labels, chain)))
        return scored

    def readable(self, posts: Sequence[Post], split: str) -> dict[int, Post]:
        repeats = repeated(posts)
        own = super().readable(posts, split)
        return {number: post for number, post in own.items() if number not in repeats}

    def unread(self, post: Post) -> list[str]:
        return [OUTSIDE] * len(post.tokens)

    def items(self, gold: Sequence[str], predicted: Scored) -> list[Item]:
        """The predicted entities; one is correct if a gold entity has its label, start and end."""
        expected = set(entities_of(gold))
        return [
            Item(entity.score, (entity.label, entity.start, entity.end) in expected)
            for entity in predicted.scores or ()
        ]

    def asked(self, gold: Sequence[str]) -> int:
        return len(entities_of(gold))

    def as_fields(self, predicted: Scored) -> dict[str, Any]:
        fields: dict[str, Any] = {"predicted_tags": clean_tags(predicted.answer)}
        if predicted.scores is not None:
            fields["predicted_entities"] = [
                asdict(entity) | {"score": round(entity.score, DIGITS)}
                for entity in predicted.scores
            ]
        return fields
