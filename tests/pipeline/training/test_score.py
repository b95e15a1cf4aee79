"""Scores against figures counted by hand, and FACTS' counts of real tags."""

import pytest

from pipeline import corpus
from pipeline.training.score import entity_scores, relation_scores
from tests.tiny import SHARED


def test_relations_leave_none_out() -> None:
    gold = ["None", "a", "a", "b", "b", "None"]
    predicted = ["a", "a", "None", "b", "a", "None"]
    found = relation_scores(gold, predicted)
    assert found["precision"] == pytest.approx(100 * 2 / 4)
    assert found["recall"] == pytest.approx(100 * 2 / 4)
    assert found["f1"] == pytest.approx(50)
    assert found["accuracy"] == pytest.approx(50)
    assert found["per_class"]["a"] == pytest.approx(
        {"precision": 100 / 3, "recall": 50, "f1": 40, "support": 2}
    )
    assert "None" not in found["per_class"]


def test_relations_precision_and_recall_differ() -> None:
    found = relation_scores(["a", "a", "a", "None"], ["a", "None", "None", "None"])
    assert (found["precision"], round(found["recall"], 2), found["f1"]) == (100, 33.33, 50)


def test_relations_with_nothing_right_are_zero() -> None:
    assert relation_scores(["a"], ["None"])["f1"] == 0


def test_entities_lenient_and_strict() -> None:
    gold = [["B-PER", "I-PER", "O", "I-LOC"], ["O", "B-ORG"]]
    predicted = [["B-PER", "I-PER", "O", "I-LOC"], ["B-ORG", "O"]]
    found = entity_scores(gold, predicted)
    assert found["f1"] == pytest.approx(100 * 2 / 3)
    assert found["strict"]["f1"] == pytest.approx(50)  # an I- without its B- is no entity
    assert found["per_class"]["LOC"]["support"] == 1


def test_labels_that_are_no_tags_count_as_outside_and_uncleaned_as_published() -> None:
    found = entity_scores([["B-PER", "O"]], [["B-PER", "[SEP]"]])
    assert found["f1"] == 100
    assert found["uncleaned"]["precision"] == 50  # seqeval takes it for an entity
    assert "uncleaned" not in entity_scores([["B-PER", "O"]], [["B-PER", "O"]])


def test_entities_where_there_are_none() -> None:
    assert entity_scores([["O"]], [["O"]])["f1"] == 0


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data is not there")
def test_gold_entities_of_twitter2015() -> None:
    posts = corpus.read(corpus.locate("twitter2015", SHARED / "data")).posts
    gold = [list(post.tags or ()) for post in posts if post.split == "test"]
    found = entity_scores(gold, gold)
    assert sum(row["support"] for row in found["per_class"].values()) == 5207
    assert sum(row["support"] for row in found["strict"]["per_class"].values()) == 5072
    assert found["f1"] == found["strict"]["f1"] == 100
