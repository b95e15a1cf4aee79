"""Probabilities of entities, compared with sums over all tag sequences."""

import itertools
import math

import numpy as np
import pytest
import torch

from model.hvpnet.variants import PAPER, RELEASED
from model.marginals import Chain
from model.ner import IGNORED, EntityTagger
from pipeline.corpus.labels import OUTSIDE, entities_of
from pipeline.training.encode import Encoded
from pipeline.training.entities import Entities, entity_labels, scored_entities
from pipeline.training.heads import Scored
from tests.tiny import extractor_config

KNOWN = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def random_chain(tokens: int, tags: int) -> Chain:
    draw = np.random.default_rng(tokens)
    shapes = ((tags,), (tags, tags), (tags,), (tokens, tags))
    return Chain(*(draw.normal(size=shape) for shape in shapes))


def brute_force(
    words: list[int], labels: list[str], chain: Chain
) -> dict[tuple[str, int, int], float]:
    """Return entity -> its probability, by summing over all tag sequences that contain it."""
    weights: dict[tuple[str, int, int], float] = {}
    total = 0.0
    for tags in itertools.product(range(len(labels)), repeat=len(chain.emissions)):
        score = chain.start[tags[0]] + chain.end[tags[-1]]
        score += sum(chain.emissions[place, tag] for place, tag in enumerate(tags))
        score += sum(chain.transitions[pair] for pair in itertools.pairwise(tags))
        weight = math.exp(score)
        total += weight
        read = [labels[tags[token]] if token >= 0 else OUTSIDE for token in words]
        for entity in entities_of(read):
            weights[entity] = weights.get(entity, 0.0) + weight
    return {entity: weight / total for entity, weight in weights.items()}


def tags_with(entity: tuple[str, int, int], words: int) -> list[str]:
    """Return tags that are read as exactly this entity."""
    label, start, end = entity
    inside = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
    return [*[OUTSIDE] * start, *inside, *[OUTSIDE] * (words - end)]


@pytest.mark.parametrize(
    ("style", "tokens", "words"),
    [
        (PAPER, 1, [0]),
        (PAPER, 4, [0, 1, 2, 3]),
        (PAPER, 3, [-1, 0, 1, -1, 2]),  # words that the tokenizer drops
        (PAPER, 3, [0, 1, 2, -1, -1]),  # a text that is cut
        (RELEASED, 4, [1, 2]),  # [CLS], two words, [SEP]
        (RELEASED, 4, [0, 2, 3]),  # the first word has two pieces
        (RELEASED, 4, [1, -1, 3]),
    ],
)
def test_every_entity_by_brute_force(style: str, tokens: int, words: list[int]) -> None:
    labels = entity_labels(KNOWN, style)
    chain = random_chain(tokens, len(labels))
    expected = brute_force(words, labels, chain)
    scored = {}
    for entity in expected:
        [result] = scored_entities(tags_with(entity, len(words)), words, labels, chain)
        assert (result.label, result.start, result.end) == entity
        scored[entity] = result.score
    assert len(scored) >= 2
    assert scored == pytest.approx(expected, rel=1e-10)


def test_all_entities_of_a_sentence_are_scored_in_their_order() -> None:
    chain = random_chain(4, len(KNOWN))
    expected = brute_force([0, 1, 2, 3], KNOWN, chain)
    scored = scored_entities(["I-LOC", "B-LOC", "I-PER", "I-PER"], [0, 1, 2, 3], KNOWN, chain)
    entities = [("LOC", 0, 1), ("LOC", 1, 2), ("PER", 2, 4)]
    assert [(entity.label, entity.start, entity.end) for entity in scored] == entities
    assert [entity.score for entity in scored] == pytest.approx([expected[e] for e in entities])


def test_labels_that_are_not_tags_give_no_entities() -> None:
    labels = entity_labels(KNOWN, RELEASED)
    assert scored_entities(["X", "[SEP]"], [0, 1], labels, random_chain(2, len(labels))) == []


def test_padding_changes_no_score() -> None:
    """The Trainer pads outputs to the longest post."""
    torch.manual_seed(0)
    model = EntityTagger(extractor_config(labels=len(KNOWN)))
    encoded = [
        Encoded(0, [7] * 5, [1, 2, 3], [], words=[0, 1, 2]),
        Encoded(1, [7] * 4, [1, 2], [], words=[0, -1, 1]),
    ]
    emissions = np.random.default_rng(0).normal(size=(2, 3, len(KNOWN)))
    padded = emissions.copy()
    padded[1, 2] = IGNORED
    answers = np.array([[1, 2, 3], [3, 4, IGNORED]])
    scored = Entities().read_scored((answers, padded), encoded, KNOWN, model)
    assert [post.answer for post in scored] == [
        ["B-PER", "I-PER", "B-LOC"],
        ["B-LOC", "O", "I-LOC"],
    ]
    for row, post, (tags, entities) in zip(emissions, encoded, scored, strict=True):
        chain = model.chain(row[: len(post.positions)])
        assert entities == scored_entities(tags, post.words, KNOWN, chain)
        assert len(entities) == 2


def test_a_post_that_does_not_fit_has_no_scores() -> None:
    fields = Entities().as_fields(Scored(["O", "O"], None))
    assert fields == {"predicted_tags": ["O", "O"]}
