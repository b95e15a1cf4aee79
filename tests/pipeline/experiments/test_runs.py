"""Test the counts behind scores: their sums give the scores of seqeval and of training."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.experiments.runs import TrainedRun, counts_of
from pipeline.experiments.significance import f1_of
from pipeline.training.score import entity_scores
from tests.pipeline.experiments.conftest import Pictured

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "X", "[CLS]")


def written(folder: Path, lines: list[dict[str, Any]]) -> Path:
    file = folder / "predictions.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_entities_are_counted_as_by_seqeval(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    gold = [random.choice(TAGS[:5], 12).tolist() for _ in range(300)]
    predicted = [random.choice(TAGS, 12).tolist() for _ in range(300)]
    lines = [
        {"id": str(n), "split": "test", "tags": g, "predicted_tags": p}
        for n, (g, p) in enumerate(zip(gold, predicted, strict=True))
    ]
    found = counts_of(written(tmp_path, lines), "test")
    correct, given, asked = found.figures.sum(0)
    scores = entity_scores(gold, predicted)
    assert 100 * correct / given == pytest.approx(scores["precision"])
    assert 100 * correct / asked == pytest.approx(scores["recall"])
    assert f1_of(found.figures.sum(0)[None]) == pytest.approx([scores["f1"]])


@pytest.mark.parametrize("name", ["re", "objects"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_sums_give_the_scores_of_the_training(pictured: Pictured, name: str, split: str) -> None:
    run = pictured[name]
    found = counts_of(run.folder / "predictions.jsonl", split)
    scores = run.metrics[split]
    assert f1_of(found.figures.sum(0)[None]) == pytest.approx([scores["f1"]])
    assert len(found.ids) == run.metrics["posts"][split]


def test_posts_without_labels_and_of_other_splits_are_left_out(tmp_path: Path) -> None:
    lines = [
        {"id": "a", "split": "test", "relation": "None", "predicted_relation": "friends"},
        {"id": "b", "split": "test", "relation": "friends", "predicted_relation": "friends"},
        {"id": "c", "split": "test", "predicted_relation": "friends"},
        {"id": "d", "split": "val", "relation": "friends", "predicted_relation": "friends"},
    ]
    found = counts_of(written(tmp_path, lines), "test")
    assert found.ids == ["a", "b"]
    assert found.figures.tolist() == [[0, 1, 0], [1, 1, 1]]


@pytest.mark.parametrize(
    ("encoder", "said"),
    [("vinai/bertweet-base", "vinai/bertweet-base"), ("/data/encoders/minilm", "encoders/minilm")],
)
def test_an_encoder_is_named_so_that_it_can_be_told(
    encoder: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({"config": {"encoder": encoder}}))
    run = TrainedRun(tmp_path, "hvpnet", tmp_path, tmp_path, None)
    assert run.about == f"encoder {said}"
