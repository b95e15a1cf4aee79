"""Entities: align tags with word pieces, and read tags from the CRF."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from model.contract import System
from model.hvpnet.variants import PAPER, RELEASED
from model.marginals import Chain
from model.ner import EntityHead
from pipeline.corpus.labels import OUTSIDE, clean_tags, entities_of
from pipeline.corpus.post import Post
from pipeline.training.batches import IGNORED, padded
from pipeline.training.calibration import Item
from pipeline.training.encode import Encoded, number_of, tokenize
from pipeline.training.heads import DIGITS, Head, Scored
from pipeline.training.possible import repeated
from pipeline.training.score import entity_scores

# The published CRF's labels beside the tags: padding, later pieces of a word, and the two ends.
PAD, LATER, START, END = "PAD", "X", "[CLS]", "[SEP]"


def entity_labels(known: Sequence[str], style: str) -> list[str]:
    """Return the CRF's labels: the tags, O first; in style released also the published extras."""
    return [PAD, *known, LATER, START, END] if style == RELEASED else list(known)


def encode_entities(
    posts: Mapping[int, Post],
    tokenizer: PreTrainedTokenizerBase,
    labels: Sequence[str],
    longest: int,
    style: str = PAPER,
    markers: Sequence[int] | None = (),
) -> list[Encoded]:
    """Encode numbered posts as word pieces, with a label for each token of the CRF.

    A token of the CRF is a word, at its first piece; in style released, every piece, including the
    two ends. A word beyond `longest` pieces, or dropped by the tokenizer, has no token: it is
    tagged O.

    labels: from `entity_labels`.
    longest: word pieces per post, including special pieces.
    markers: none.

    Raises DataError for a tag that is not in `labels`.
    """
    number = {label: place for place, label in enumerate(labels)}
    encoded = []
    pieces = tokenize([post.tokens for post in posts.values()], tokenizer, longest)
    for (n, post), (ids, owners) in zip(posts.items(), pieces, strict=True):
        first: dict[int, int] = {}  # word -> place of its first piece
        for place, word in enumerate(owners):
            if word is not None:
                first.setdefault(word, place)
        # The CRF needs at least one token: without words it is the first piece, labelled O.
        positions = [*range(len(ids))] if style == RELEASED else [*first.values()] or [0]
        token = {place: n for n, place in enumerate(positions)}
        words = [token[first[word]] if word in first else -1 for word in range(len(post.tokens))]
        numbers: list[int] = []
        if post.tags is not None:
            names = _token_labels(len(ids), positions, first, post.tags, style)
            numbers = [number_of(name, number, post) for name in names]
        numbers_of_words = [-1 if word is None else word for word in owners]
        encoded.append(Encoded(n, ids, positions, numbers, words, owners=numbers_of_words))
    return encoded


def _token_labels(
    pieces: int, positions: Sequence[int], first: Mapping[int, int], tags: Sequence[str], style: str
) -> list[str]:
    """Return the CRF's label of each token. first: word -> place of its first piece."""
    at = {place: tags[word] for word, place in first.items()}
    if style == RELEASED:
        at = {0: START, pieces - 1: END} | at
    return [at.get(place, LATER if style == RELEASED else OUTSIDE) for place in positions]


@dataclass(frozen=True)
class ScoredEntity:
    """A predicted entity at words [start, end), with its probability (0-1) as score."""

    label: str
    start: int
    end: int
    score: float


def scored_entities(
    tags: Sequence[str], words: Sequence[int], labels: Sequence[str], chain: Chain
) -> list[ScoredEntity]:
    """Return the entities of a post's predicted tags, each with its probability under the CRF.

    The probability is that of the exact labelled span: the sum over all tag sequences from which
    `entities_of` reads this entity.

    tags: one per word.
    words: the token of each word; -1 if it has none.
    labels: of the CRF, by number.
    chain: the CRF over the post's tokens.
    """
    return [
        ScoredEntity(label, start, end, _probability(label, start, end, words, labels, chain))
        for label, start, end in entities_of(tags)
    ]


def _probability(
    kind: str, start: int, end: int, words: Sequence[int], labels: Sequence[str], chain: Chain
) -> float:
    """Return an entity's probability: the sum over two disjoint cases.

    Either the first word is B-; or it is I- and opens the entity, because the word before is
    neither B- nor I- of this type. In both cases the other words are I- and the next word is not.
    """
    begins = np.array([label == f"B-{kind}" for label in labels])
    continues = np.array([label == f"I-{kind}" for label in labels])
    after = {words[word]: continues for word in range(start + 1, end)}
    # A neighbouring word without a token is O, so it needs no constraint.
    if end < len(words) and words[end] >= 0:
        after[words[end]] = ~continues
    before = {}
    if start > 0 and words[start - 1] >= 0:
        before = {words[start - 1]: ~(begins | continues)}
    first = words[start]
    with_b = chain.probability({first: begins, **after})
    with_i = chain.probability({**before, first: continues, **after})
    return min(with_b + with_i, 1.0)


class Entities(Head):
    """The entity task: a tag for each word, by a CRF."""

    name = "ner"
    least_tokens = 3  # two ends and a word
    labels = staticmethod(entity_labels)
    encode = staticmethod(encode_entities)
    scores = staticmethod(entity_scores)

    def gold(self, post: Post) -> list[str] | None:
        return None if post.tags is None else list(post.tags)

    def classes(self, post: Post) -> set[str]:
        return {label for label, _, _ in entities_of(post.tags or ())}

    def add_markers(
        self, tokenizer: PreTrainedTokenizerBase, own: Sequence[str] = ()
    ) -> tuple[int, ...]:
        return ()

    def collate(self, posts: Sequence[Encoded]) -> dict[str, Tensor]:
        """Return words (B, W): places of the CRF's tokens, and labels (B, W) of these tokens."""
        batch = {"words": padded([post.positions for post in posts], -1)}
        if all(post.labels for post in posts):
            batch["labels"] = padded([post.labels for post in posts], IGNORED)
        return batch

    def read(
        self, answers: np.ndarray, encoded: Sequence[Encoded], labels: Sequence[str]
    ) -> list[list[str]]:
        """Return the tags of each post; words without a token are O.

        answers: (posts, W) numbers of labels.
        """
        return [
            [labels[answer[token]] if token >= 0 else OUTSIDE for token in post.words]
            for post, answer in zip(encoded, answers, strict=True)
        ]

    def read_scored(
        self,
        outputs: Any,
        encoded: Sequence[Encoded],
        labels: Sequence[str],
        model: System,
    ) -> list[Scored]:
        """Return the tags of each post, with a `ScoredEntity` for each entity.

        outputs: numbers of labels (posts, W) and emissions (posts, W, K), padded.
        """
        assert isinstance(model, EntityHead)
        answers, emissions = outputs
        predicted = self.read(answers, encoded, labels)
        scored = []
        for tags, post, row in zip(predicted, encoded, emissions, strict=True):
            chain = model.chain(row[: len(post.positions)])
            scored.append(Scored(tags, scored_entities(tags, post.words, labels, chain)))
        return scored

    def readable(self, posts: Sequence[Post], split: str) -> dict[int, Post]:
        repeats = repeated(posts)
        chosen = super().readable(posts, split)
        return {number: post for number, post in chosen.items() if number not in repeats}

    def unread(self, post: Post) -> list[str]:
        return [OUTSIDE] * len(post.tokens)

    def items(self, gold: Sequence[str], predicted: Scored) -> list[Item]:
        """Return the predicted entities; correct: a gold entity has the same label, start, end."""
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
