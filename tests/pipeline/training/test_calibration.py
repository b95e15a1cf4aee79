"""Calibration computed by hand, and thresholds compared with figures of filtered predictions."""

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.corpus.labels import entities_of
from pipeline.training.calibration import BINS, Item, by_threshold, calibrated, calibration
from pipeline.training.entities import ScoredEntity
from pipeline.training.head_of import HEADS
from pipeline.training.heads import Scored
from pipeline.training.results import PRF
from pipeline.training.score import entity_scores, relation_scores

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
RELATIONS = ["None", "a", "b"]


def test_error_and_bins_by_hand() -> None:
    """Two items are in the bin (0.6, 0.667], a third in the last bin."""
    result = calibration([Item(0.61, True), Item(0.65, False), Item(0.98, True)])
    filled = {n: entry for n, entry in enumerate(result["bins"]) if entry["count"]}
    assert len(result["bins"]) == BINS
    assert filled[9] == pytest.approx({"count": 2, "confidence": 0.63, "accuracy": 0.5})
    assert filled[14] == pytest.approx({"count": 1, "confidence": 0.98, "accuracy": 1})
    assert result["error"] == pytest.approx(2 / 3 * 0.13 + 1 / 3 * 0.02)


def test_error_as_a_plain_loop() -> None:
    draw = np.random.default_rng(0)
    items = [Item(float(s), bool(draw.random() < s**2)) for s in draw.random(500)]
    error = 0.0
    for m in range(1, BINS + 1):
        inside = [item for item in items if (m - 1) / BINS < item.score <= m / BINS]
        accuracy = sum(item.correct for item in inside) / len(inside)
        confidence = sum(item.score for item in inside) / len(inside)
        error += len(inside) / len(items) * abs(accuracy - confidence)
    assert calibration(items)["error"] == pytest.approx(error)


@pytest.mark.parametrize(("score", "place"), [(0.0, 0), (1 / 15, 0), (0.07, 1), (1.0, 14)])
def test_a_bin_holds_its_upper_end(score: float, place: int) -> None:
    assert calibration([Item(score, True)])["bins"][place]["count"] == 1


def test_none_predicted_counts_for_calibration_alone() -> None:
    none = Item(0.9, True, counted=False)
    assert calibration([none])["error"] == pytest.approx(0.1)
    assert by_threshold([none], asked=0)[0]["f1"] == 0


def test_the_error_of_no_prediction_is_none() -> None:
    result = calibrated([], asked=3)
    assert result["calibration"]["error"] is None
    assert {entry["confidence"] for entry in result["calibration"]["bins"]} == {None}
    assert {row["recall"] for row in result["by_threshold"]} == {0}


def scored_tags(seed: int) -> tuple[list[list[str]], list[Scored]]:
    """Return gold tags, and predictions that are often equal; many entities open with I-."""
    draw = np.random.default_rng(seed)
    gold = [list(draw.choice(TAGS, size=draw.integers(1, 8))) for _ in range(60)]
    predicted = []
    for tags in gold:
        other = [str(draw.choice(TAGS)) if draw.random() < 0.3 else tag for tag in tags]
        entities = [ScoredEntity(*e, score=float(draw.random())) for e in entities_of(other)]
        predicted.append(Scored(other, entities))
    return gold, predicted


def scored_relations(seed: int) -> tuple[list[str], list[Scored]]:
    """Return gold relations and predictions; the last five posts do not fit into the model."""
    draw = np.random.default_rng(seed)
    gold = [str(label) for label in draw.choice(RELATIONS, size=200)]
    answers = [str(draw.choice(RELATIONS)) if draw.random() < 0.4 else label for label in gold]
    fitting = [Scored(answer, float(draw.random())) for answer in answers[:-5]]
    return gold, [*fitting, *[Scored("None", None)] * 5]


def without_entities(predicted: Scored, least: float) -> list[str]:
    """Return tags in BIO without the entities whose score is lower."""
    tags = ["O"] * len(predicted.answer)
    for entity in predicted.scores:
        if entity.score >= least:
            inner = [f"I-{entity.label}"] * (entity.end - entity.start - 1)
            tags[entity.start : entity.end] = [f"B-{entity.label}", *inner]
    return tags


def rows(task: str, gold: Sequence, predicted: Sequence[Scored]) -> list[dict[str, float]]:
    head = HEADS[task]
    items = [i for g, p in zip(gold, predicted, strict=True) for i in head.items(g, p)]
    return by_threshold(items, sum(map(head.asked, gold)))


@pytest.mark.parametrize("seed", range(5))
def test_at_0_the_figures_are_seqevals(seed: int) -> None:
    gold, predicted = scored_tags(seed)
    figures = entity_scores(gold, [p.answer for p in predicted])
    first = rows("ner", gold, predicted)[0]
    assert first == pytest.approx({"min_score": 0, **{name: figures[name] for name in PRF}})


def test_entities_with_a_lower_score_are_left_out() -> None:
    gold, predicted = scored_tags(seed=9)
    for row in rows("ner", gold, predicted):
        kept = [without_entities(p, row["min_score"]) for p in predicted]
        figures = entity_scores(gold, kept)
        assert row == pytest.approx({"min_score": row["min_score"], **{n: figures[n] for n in PRF}})


def test_relations_with_a_lower_score_are_none() -> None:
    gold, predicted = scored_relations(seed=0)
    result = rows("re", gold, predicted)
    assert [row["min_score"] for row in result] == pytest.approx(np.arange(0, 1, 0.05))
    for row in result:
        least = row["min_score"]
        kept = [p.answer if (p.scores or 0) >= least else "None" for p in predicted]
        figures = relation_scores(gold, kept)
        assert row == pytest.approx({"min_score": least, **{n: figures[n] for n in PRF}})


def test_a_post_that_does_not_fit_is_no_item() -> None:
    assert HEADS["re"].items("a", Scored("None", None)) == []
    assert HEADS["re"].items("None", Scored("None", 0.5)) == [Item(0.5, True, counted=False)]
