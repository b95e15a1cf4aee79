"""Scores compared with figures counted by hand, and counts of real tags."""

import pytest

from pipeline import corpus
from pipeline.training.score import entity_scores, relation_scores
from tests.tiny import SHARED


def test_relations_do_not_count_none() -> None:
    gold = ["None", "a", "a", "b", "b", "None"]
    predicted = ["a", "a", "None", "b", "a", "None"]
    scores = relation_scores(gold, predicted)
    assert scores["precision"] == pytest.approx(100 * 2 / 4)
    assert scores["recall"] == pytest.approx(100 * 2 / 4)
    assert scores["f1"] == pytest.approx(50)
    assert scores["accuracy"] == pytest.approx(50)
    assert scores["per_class"]["a"] == pytest.approx(
        {"precision": 100 / 3, "recall": 50, "f1": 40, "support": 2}
    )
    assert "None" not in scores["per_class"]


def test_relations_precision_and_recall_differ() -> None:
    scores = relation_scores(["a", "a", "a", "None"], ["a", "None", "None", "None"])
    assert (scores["precision"], round(scores["recall"], 2), scores["f1"]) == (100, 33.33, 50)


def test_relations_without_a_correct_one_are_zero() -> None:
    assert relation_scores(["a"], ["None"])["f1"] == 0


def test_entities_lenient_and_strict() -> None:
    gold = [["B-PER", "I-PER", "O", "I-LOC"], ["O", "B-ORG"]]
    predicted = [["B-PER", "I-PER", "O", "I-LOC"], ["B-ORG", "O"]]
    scores = entity_scores(gold, predicted)
    assert scores["f1"] == pytest.approx(100 * 2 / 3)
    assert scores["strict"]["f1"] == pytest.approx(50)  # an I- without a B- is not an entity
    assert scores["per_class"]["LOC"]["support"] == 1


def test_labels_that_are_not_tags_count_as_outside_and_uncleaned_as_published() -> None:
    scores = entity_scores([["B-PER", "O"]], [["B-PER", "[SEP]"]])
    assert scores["f1"] == 100
    assert scores["uncleaned"]["precision"] == 50  # seqeval counts it as an entity
    assert "uncleaned" not in entity_scores([["B-PER", "O"]], [["B-PER", "O"]])


def test_entities_without_any_entity() -> None:
    assert entity_scores([["O"]], [["O"]])["f1"] == 0


@pytest.mark.skipif(not SHARED.exists(), reason="needs the shared data")
def test_gold_entities_of_twitter2015() -> None:
    posts = corpus.read(corpus.locate("twitter2015", SHARED / "data")).posts
    gold = [list(post.tags or ()) for post in posts if post.split == "test"]
    scores = entity_scores(gold, gold)
    assert sum(row["support"] for row in scores["per_class"].values()) == 5207
    assert sum(row["support"] for row in scores["strict"]["per_class"].values()) == 5072
    assert scores["f1"] == scores["strict"]["f1"] == 100
