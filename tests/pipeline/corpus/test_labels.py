"""Entities decoded from tags, compared with seqeval, which published scores use."""

import random

from seqeval.metrics.sequence_labeling import get_entities

from pipeline.corpus.labels import clean_tags, entities_of

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "X", "[CLS]", "PAD"]


def test_entities_equal_those_of_seqeval() -> None:
    draw = random.Random(0)
    for _ in range(2000):
        tags = draw.choices(LABELS, k=draw.randrange(12))
        theirs = [(kind, first, last + 1) for kind, first, last in get_entities(clean_tags(tags))]
        assert entities_of(tags) == theirs, tags


def test_an_inside_tag_without_its_beginning_opens_an_entity() -> None:
    assert entities_of(["I-PER", "I-PER", "I-LOC", "B-LOC", "O"]) == [
        ("PER", 0, 2),
        ("LOC", 2, 3),
        ("LOC", 3, 4),
    ]
