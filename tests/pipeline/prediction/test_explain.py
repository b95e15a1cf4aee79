"""Test explanations: the gate, and the attention of entities and relations to regions."""

from pathlib import Path

import numpy as np
import pytest

from hvpnet import Extractor, Prediction
from tests.pipeline.prediction.trained import Trained


@pytest.fixture(scope="module")
def models(runs: Trained) -> tuple[Path, Path]:
    return runs.root / "ner", runs.run("objects", "re", variant="only-objects")


@pytest.fixture(scope="module")
def explained(runs: Trained, models: tuple[Path, Path]) -> list[Prediction]:
    records, _ = runs.records(models[0])
    extractor = Extractor.load(*models)
    answers = [*extractor.predict(records, explain=True)]
    for one, other in zip(answers, extractor.predict(records), strict=True):
        assert (one.entities, one.relations) == (other.entities, other.relations)
        assert other.explanation is None
    return answers


def test_gates_and_attention_have_a_number_for_each_region(explained: list[Prediction]) -> None:
    for one in explained:
        assert one.explanation is not None
        crops = [*range(len(one.regions))]
        entities, relations = one.explanation["entities"], one.explanation["relations"]
        assert entities["regions"] == ["picture", *crops]
        assert relations["regions"] == crops  # only-objects doesn't look at the picture
        for part in (entities, relations):
            gate = np.array(part["gate"])
            assert gate.shape == (4, len(part["regions"]), 4)
            assert np.allclose(gate.sum(-1), 1, atol=3e-3)
        assert len(entities["attention"]) == len(one.entities)
        assert len(relations["attention"]) == len(one.relations)
        for attention in entities["attention"]:
            assert np.array(attention).shape == (4, 1 + len(crops))
            assert 0 < np.array(attention).sum(-1).max() < 1
        for head_and_tail in relations["attention"]:
            assert np.array(head_and_tail).shape == (2, 4, len(crops))


def test_a_post_without_a_picture_has_no_regions_to_attend(models: tuple[Path, Path]) -> None:
    one = Extractor.load(models[0]).predict("Noah lives in Oak Valley", explain=True)
    assert one.explanation is not None
    assert one.explanation["entities"]["regions"] == []
    assert one.explanation["entities"]["gate"] == [[]] * 4


def test_a_text_only_model_has_nothing_to_explain(runs: Trained) -> None:
    assert Extractor.load(runs.root / "ner-words").predict("Noah", explain=True).explanation == {}


def test_the_page_shows_them(explained: list[Prediction]) -> None:
    page = next(one for one in explained if one.entities).to_html()
    assert "attention to regions" in page
    assert "gate of the picture" in page
