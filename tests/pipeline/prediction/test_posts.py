"""Test posts of a data set as records: the choice of posts, and the records' fields."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.corpus.post import Post
from pipeline.corpus.records import Entity
from pipeline.errors import DataError
from pipeline.prediction.posts import posts_to_predict, record_of

ROOT = Path("/data")
PLAIN = Post("1", "train", ("Ada", "joins", "Globex", "Corp"))
PAIR = replace(PLAIN, id="2", head=(0, 1), tail=(2, 4))
TAGGED = replace(PLAIN, id="3", tags=("B-PER", "O", "B-ORG", "I-ORG"))


def test_a_relation_model_alone_reads_posts_with_head_and_tail_or_tags() -> None:
    assert posts_to_predict([PLAIN, PAIR, TAGGED, PLAIN, PAIR], finds_entities=False) == [1, 2, 4]


def test_a_relation_model_alone_and_posts_with_neither() -> None:
    with pytest.raises(DataError) as caught:
        posts_to_predict([PLAIN, PLAIN], finds_entities=False)
    assert str(caught.value) == (
        "expected posts with head and tail, or with tags, for a relation model alone, "
        "found none among 2; add a model of TrainNER: --model RUN,RUN"
    )


@pytest.mark.parametrize(
    ("post", "is_again"),
    [
        (replace(PAIR, id="4", head=(2, 4), tail=(0, 1)), True),
        (replace(PAIR, id="4", split="val"), False),
        (replace(PAIR, id="4", picture="a.jpg"), False),
        (replace(PAIR, id="4", tokens=(*PAIR.tokens, ".")), False),
        (PLAIN, False),  # two people may write the same
    ],
)
def test_an_entity_model_reads_a_sentence_once_for_all_its_relations(
    post: Post, is_again: bool
) -> None:
    numbers = posts_to_predict([PLAIN, PAIR, post], finds_entities=True)
    assert numbers == ([0, 1] if is_again else [0, 1, 2])


def test_an_entity_model_reads_a_record_of_several_relations_once() -> None:
    posts = [replace(TAGGED, id="17#0"), replace(PAIR, id="17#1"), replace(PAIR, id="18#1")]
    assert posts_to_predict(posts, finds_entities=True) == [0, 2]


def test_a_record_asks_for_what_its_post_lacks() -> None:
    pair = record_of(4, replace(PAIR, tags=TAGGED.tags), ROOT, finds_entities=False)
    assert (pair.line.number, pair.pair, pair.entities) == (4, ((0, 1), (2, 4)), None)
    tagged = record_of(5, TAGGED, ROOT, finds_entities=False)
    assert tagged.entities == (Entity(0, 3, "PER"), Entity(10, 21, "ORG"))
    assert tagged.tokens == TAGGED.tokens
    for post in (PAIR, TAGGED):
        record = record_of(6, post, ROOT, finds_entities=True)
        assert (record.pair, record.entities) == (None, None)


def test_a_prediction_repeats_the_fields_of_the_record() -> None:
    post = replace(PLAIN, phrases=("a dog",), boxes=((0.0, 1.0, 2.0, 3.0),), picture="own/a.jpg")
    assert record_of(0, post, ROOT, finds_entities=True).given == {
        "id": "1",
        "tokens": ["Ada", "joins", "Globex", "Corp"],
        "picture": "/data/own/a.jpg",
        "phrases": ["a dog"],
        "boxes": [[0.0, 1.0, 2.0, 3.0]],
    }
    crops = replace(PLAIN, picture="a.jpg", crops=("b.jpg", "c.jpg"))
    record = record_of(0, crops, ROOT, finds_entities=True)
    assert record.given["picture"] == ["/data/a.jpg", "/data/b.jpg", "/data/c.jpg"]
    assert "picture" not in record_of(0, PLAIN, ROOT, finds_entities=True).given
