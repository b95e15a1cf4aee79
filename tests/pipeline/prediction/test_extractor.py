"""Test the Extractor: the pipeline's scores from raw pictures, any post, both models."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hvpnet import Extractor
from model.hvpnet.variants import STYLES, VARIANTS
from pipeline.corpus.post import Post
from pipeline.errors import DataError, SettingError
from pipeline.grounding.config import GroundConfig, Grounders
from pipeline.prediction.prediction import Prediction
from tests.pipeline.prediction.trained import Trained, in_words, label_of
from tests.tiny_detectors import write_mm_grounding_dino


@pytest.fixture(scope="module")
def trained(runs: Trained) -> Trained:
    return runs


@pytest.fixture(scope="module")
def ner(runs: Trained) -> Path:
    return runs.root / "ner"


@pytest.fixture(scope="module")
def re(runs: Trained) -> Path:
    return runs.root / "re"


@pytest.fixture(scope="module")
def both(ner: Path, re: Path) -> Extractor:
    return Extractor.load(ner, re)


def check_the_same(trained: Trained, run: Path, **options: Any) -> list[Prediction]:
    """Predict val and test from raw pictures; the labels must be those of the training."""
    records, answers = trained.records(run)
    predictions = [*Extractor.load(run, **options).predict(records, strict=True)]
    read = label_of if isinstance(answers[0], str) else in_words
    assert [read(one) for one in predictions] == answers
    assert [one.id for one in predictions] == [record["id"] for record in records]
    return predictions


# --- the same numbers as the pipeline


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("style", STYLES)
def test_labels_are_those_of_the_training(trained: Trained, style: str, variant: str) -> None:
    for task in ("ner", "re") if variant == "hvpnet" else ("ner" if style == "paper" else "re",):
        name = f"{task}-{style}-{variant}"
        check_the_same(trained, trained.run(name, task, style=style, variant=variant))


def test_labels_are_those_of_the_training_in_bfloat16(trained: Trained) -> None:
    run = trained.run("low", "ner", precision="bfloat16", epochs=2)
    predictions = check_the_same(trained, run)
    assert {one.picture_status for one in predictions} == {"used"}


def with_boxes(post: Post) -> Post:
    return replace(post, boxes=((10.0, 20.0, 200.0, 180.0), (150.0, 40.0, 999.0, 230.0)))


def test_given_boxes_are_those_of_the_training(tmp_path: Path) -> None:
    released = GroundConfig(Grounders("salience", released=True), phrases="none")
    trained = Trained.make(tmp_path, released, change=with_boxes)
    [first, *_] = check_the_same(trained, trained.run("run", "re"))
    assert [(r.source, r.box) for r in first.regions] == [
        ("released", (10.0, 20.0, 200.0, 180.0)),
        ("released", (150.0, 40.0, 320.0, 230.0)),
    ]


def test_a_detectors_boxes_are_those_of_the_training(tmp_path: Path) -> None:
    folder = write_mm_grounding_dino(tmp_path / "detector")
    grounding = GroundConfig(
        Grounders("detector"), phrases="given", weights=str(folder), min_score=0.05
    )
    change = lambda post: replace(post, phrases=("a cat", "the big house"))  # noqa: E731
    trained = Trained.make(tmp_path / "trained", grounding, change=change)
    run = trained.run("run", "ner")
    predictions = check_the_same(trained, run)
    assert {r.source for one in predictions for r in one.regions} == {"detector"}


def test_one_post_alone_and_in_a_batch(trained: Trained, ner: Path, re: Path) -> None:
    for run in (ner, re):
        extractor = Extractor.load(run, precision="float32")
        records, _ = trained.records(run)
        together = extractor.predict(records[:6])
        for record, other in zip(records, together, strict=False):
            alone = extractor.predict(record)
            assert [(e.label, e.start, e.end) for e in alone.entities] == [
                (e.label, e.start, e.end) for e in other.entities
            ]
            assert [r.label for r in alone.relations] == [r.label for r in other.relations]
            assert scores(alone) == pytest.approx(scores(other), abs=1e-5)


def scores(one: Prediction) -> list[float]:
    own = [entity.score for entity in one.entities if entity.score is not None]
    return [*own, *(relation.score for relation in one.relations)]


def test_paths_bytes_and_images_are_the_same(trained: Trained, both: Extractor) -> None:
    record = trained.records(trained.root / "ner")[0][0]
    file = Path(record["picture"])
    with Image.open(file) as image:
        pictures = (file, str(file), file.read_bytes(), image)
        answers = [both.predict({**record, "picture": one}) for one in pictures]
    assert len({(one.entities, one.relations, one.regions) for one in answers}) == 1
    assert answers[0].picture_status == "used"


# --- both models


def test_entities_and_their_relations(trained: Trained, both: Extractor) -> None:
    post = trained.posts[0]
    one = both.predict(" ".join(post.tokens), picture=trained.root / str(post.picture))
    assert one.text == " ".join(post.tokens)
    assert all(one.text[e.start : e.end] == e.text for e in one.entities)
    assert all(0 < score <= 1 for score in scores(one))
    assert all(relation.label != "None" for relation in one.relations)
    pairs = [frozenset((r.head, r.tail)) for r in one.relations]
    assert len(pairs) == len(set(pairs))


def test_given_entities_are_not_predicted(both: Extractor, ner: Path) -> None:
    text = "Noah lives in Oak Valley"
    record: dict[str, Any] = {"text": text, "entities": [{"start": 0, "end": 4}]}
    [entity] = both.predict(record).entities
    assert (entity.text, entity.score, entity.label) == ("Noah", None, "")
    # An entity model alone has nothing else to do: they are read as labels are.
    plain = Extractor.load(ner)
    assert plain.predict(record).entities == plain.predict(text).entities


def test_min_score_cuts(trained: Trained, both: Extractor) -> None:
    records, _ = trained.records(trained.root / "ner")
    for whole, cut in zip(both.predict(records), both.predict(records, min_score=0.9), strict=True):
        assert cut.entities == tuple(e for e in whole.entities if float(e.score or 0) >= 0.9)
        assert all(relation.score >= 0.9 for relation in cut.relations)
        for relation in cut.relations:
            assert max(relation.head, relation.tail) < len(cut.entities)


def test_two_models_of_a_kind_are_refused(ner: Path) -> None:
    with pytest.raises(SettingError, match="found two for one task"):
        Extractor.load(ner, ner)


# --- any post


def jpeg(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((width, height), 50).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def animation() -> bytes:
    file, frames = io.BytesIO(), [Image.new("RGB", (80, 60), c) for c in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


@pytest.mark.parametrize(
    ("picture", "status"),
    [
        (None, "none"),
        ("missing.jpg", "missing"),
        (b"\0\1\2\3", "broken: not a picture of a known format"),
        (b"", "empty: an empty file"),
        (jpeg(40, 40)[:400], "broken: cut off"),
        (jpeg(1, 1), "used"),
        (animation(), "used"),
        (Image.new("RGBA", (30, 30)), "used"),
    ],
)  # fmt: skip
def test_pictures_of_any_kind(both: Extractor, picture: Any, status: str) -> None:
    good = both.predict("Noah lives in Oak Valley")
    record = {"text": "Noah lives in Oak Valley", "picture": picture}
    before, one, after = both.predict([record["text"], record, record["text"]])
    assert one.picture_status.startswith(status)
    assert one.error is None
    assert in_tuples(before) == in_tuples(after) == in_tuples(good)
    if status in ("none", "used"):
        both.predict(record, strict=True)
    else:
        with pytest.raises(DataError, match=status.partition(":")[0]):
            both.predict(record, strict=True)


def in_tuples(one: Prediction) -> list[tuple[str, int, int]]:
    return [(entity.label, entity.start, entity.end) for entity in one.entities]


def test_fifty_megapixels(both: Extractor) -> None:
    large = Image.new("RGB", (10_000, 5_000), "teal")
    assert both.predict({"text": "Noah", "picture": large}).picture_status == "used"
    huge = Image.new("L", (10_000, 7_000))
    assert both.predict({"text": "Noah", "picture": huge}).picture_status.startswith("huge")


@pytest.mark.parametrize("text", ["", "  \n", "\u200b\u200d", "🎉", "[SEP] <head> <s>", "a" * 5000])
def test_texts_of_any_kind(both: Extractor, text: str) -> None:
    one = both.predict(text, strict=True)
    assert (one.text, one.error) == (text, None)


def test_records_that_cannot_be_read_do_not_stop_the_others(both: Extractor) -> None:
    records: list[Any] = [{"text": 5, "id": 7}, "Noah", 12, {"id": "x"}]
    answers = [*both.predict(records)]
    assert [one.error for one in answers] == [
        "record 1: expected text to be a string of characters, found 5",
        None,
        "record 3: expected a text or a dict, found 12",
        "record 4: expected text or tokens, found ['id']",
    ]
    assert [one.id for one in answers] == [7, None, None, "x"]
    refused: list[Any] = ["Noah", {"text": 5}]
    stream = both.predict(refused, strict=True)
    assert next(stream).text == "Noah"
    with pytest.raises(DataError, match="record 2: expected text"):
        next(stream)


def test_a_relation_model_alone_needs_entities(re: Path) -> None:
    extractor = Extractor.load(re)
    one = extractor.predict({"text": "Noah lives in Oak Valley", "id": 3})
    assert one.to_dict() == {
        "id": 3,
        "error": "record 1: expected entities, or head and tail, as only a relation model is "
        "loaded; also load a run of TrainNER to predict entities",
    }
    entities = [{"start": 0, "end": 4, "label": "PER"}, {"start": 14, "end": 24, "label": "LOC"}]
    one = extractor.predict({"text": "Noah lives in Oak Valley", "entities": entities})
    assert [entity.text for entity in one.entities] == ["Noah", "Oak Valley"]


def test_records_are_read_lazily_and_in_order(both: Extractor) -> None:
    asked = []

    def records() -> Iterator[str]:
        for number in range(10):
            asked.append(number)
            yield f"Noah {number}"

    stream = both.predict(records(), batch_size=3)
    assert asked == []
    assert next(stream).text == "Noah 0"
    assert asked == [0, 1, 2]
    assert [one.text for one in stream] == [f"Noah {number}" for number in range(1, 10)]


# --- long posts


@pytest.fixture(scope="module")
def reader(trained: Trained) -> Extractor:
    run = trained.run("long", "ner", variant="text-only", epochs=12, max_tokens=24)
    return Extractor.load(run)


def test_a_long_post_is_read_to_its_end(reader: Extractor) -> None:
    sentence = "Noah lives in Oak Valley"
    alone = [(e.text, e.label) for e in reader.predict(sentence).entities]
    assert ("Noah", "PER") in alone
    words = 30
    filler = " ".join(["never"] * words)
    one = reader.predict(f"{sentence} {filler} {sentence}")
    assert not one.truncated
    texts = [entity.text for entity in one.entities]
    assert texts.count("Noah") == 2, texts
    ends = [entity.end for entity in one.entities]
    starts = [entity.start for entity in one.entities]
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))


def test_a_word_longer_than_the_model_reads_is_said(reader: Extractor) -> None:
    assert reader.predict("x" * 90).truncated


def test_a_relation_across_a_long_post(trained: Trained) -> None:
    run = trained.run("far", "re", variant="text-only", max_tokens=24)
    tokens = ["Noah", *["never"] * 60, "Oak", "Valley"]
    one = Extractor.load(run).predict({"tokens": tokens, "head": [0, 1], "tail": [61, 63]})
    assert one.truncated
    near = Extractor.load(run).predict({"tokens": tokens[-9:], "head": [0, 1], "tail": [7, 9]})
    assert not near.truncated
