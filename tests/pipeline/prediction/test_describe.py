"""Models that read picture texts, asked about new posts: the texts are those of the training."""

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from PIL.Image import Image

from features.weights import WeightsError
from pipeline.description.captioner import Captioner
from pipeline.description.config import DescribeConfig
from pipeline.errors import DataError
from pipeline.prediction.extractor import Extractor
from pipeline.prediction.pack import _add_texts, check_packed, pack
from pipeline.prediction.prediction import UNREAD
from pipeline.prediction.runs import Files, TextSetup
from tests.cli import outputs
from tests.pipeline.prediction.trained import label_of
from tests.tiny_captioners import write_blip
from tests.tiny_detectors import write_mm_grounding_dino
from tests.world import World, make_world

TRAIN = (
    *("--variant", "text-only", "--knowledge", "--encoder", "scratch", "--epochs", "1"),
    *("--learning-rate", "2e-3", "--evaluate-from", "0"),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("described"), posts=(12, 4, 4))


@pytest.fixture(scope="module")
def blip(world: World) -> Path:
    return write_blip(world.data.parent / "blip")


@pytest.fixture(scope="module")
def captioned(world: World, blip: Path) -> Path:
    """A run that reads a captioner's texts."""
    options = ("--DescribePictures-describer", "captioner", "--DescribePictures-weights", str(blip))
    return world.result("TrainRE", *TRAIN, *options)


def lines_of(run: Path) -> list[dict[str, Any]]:
    return [*map(json.loads, (run / "predictions.jsonl").read_text().splitlines())]


def check_the_same(world: World, run: Path, *folders: Path, **files: Path) -> list[str]:
    """Predict val and test from raw pictures. Returns the texts; labels must be the training's."""
    lines = lines_of(run)
    records = [
        {name: line[name] for name in ("id", "tokens", "head", "tail")}
        | {"picture": str(world.data / line["picture"])}
        for line in lines
    ]
    extractor = Extractor.load(*(folders or (run,)), **files)  # type: ignore[arg-type]
    predictions = [*extractor.predict(records, strict=True)]
    assert [label_of(one) for one in predictions] == [line["predicted_relation"] for line in lines]
    assert {one.picture_status for one in predictions} == {"used"}
    return [str(one.picture_text) for one in predictions]


def stored_texts(world: World) -> dict[str, str]:
    """Return picture -> text of the newest description."""
    folder = outputs(world.store, "DescribePictures")[-1]
    lines = map(json.loads, (folder / "texts.jsonl").read_text().splitlines())
    return {line["picture"]: line["text"] for line in lines}


def test_captions_are_those_of_the_training(world: World, captioned: Path) -> None:
    texts, known = check_the_same(world, captioned), stored_texts(world)
    assert texts == [known.get(line["picture"], "") for line in lines_of(captioned)]
    assert any(texts)


def test_a_records_own_text_is_read_instead(captioned: Path) -> None:
    record = {"tokens": ["a", "b"], "head": [0, 1], "tail": [1, 2], "picture_text": "the old dog"}
    found = Extractor.load(captioned).predict(record)
    assert (found.picture_text, found.picture_status) == ("the old dog", "none")
    assert found.to_dict()["picture_text"] == "the old dog"
    found = Extractor.load(captioned).predict({**record, "picture": "none.jpg"}, strict=True)
    assert (found.picture_text, found.picture_status) == ("the old dog", UNREAD)


def test_a_picture_that_cannot_be_used_has_no_text(captioned: Path) -> None:
    record = {"tokens": ["a", "b"], "head": [0, 1], "tail": [1, 2], "picture": "none.jpg"}
    found = Extractor.load(captioned).predict(record)
    assert (found.picture_text, found.picture_status) == ("", "missing")


def test_a_picture_of_several_records_is_described_once(
    world: World, captioned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    texts = Captioner.texts

    def counted(captioner: Captioner, pictures: list[Image]) -> list[str]:
        seen.append(len(pictures))
        return texts(captioner, pictures)

    monkeypatch.setattr(Captioner, "texts", counted)
    pictures = [str(world.data / line["picture"]) for line in lines_of(captioned)[:2]]
    record = {"tokens": ["a", "b"], "head": [0, 1], "tail": [1, 2]}
    records = [{**record, "picture": pictures[n]} for n in (0, 1, 0, 0)]
    found = [*Extractor.load(captioned).predict(records)]
    assert seen == [2]
    assert found[0].picture_text == found[2].picture_text == found[3].picture_text


def test_a_packed_captioner_needs_no_other_folder(
    world: World, captioned: Path, blip: Path, tmp_path: Path
) -> None:
    pack([captioned], tmp_path / "with", Files(), describer_too=True)
    pack([captioned], tmp_path / "without", Files())
    assert "picture texts by captioner" in check_packed(tmp_path / "with")[-1]
    moved = blip.rename(blip.with_name("moved"))
    try:
        check_the_same(world, captioned, tmp_path / "with")
        for folder in (captioned, tmp_path / "without"):
            with pytest.raises(DataError, match=r"expected captioner with .*sha256 .*--describer"):
                Extractor.load(folder)
            check_the_same(world, captioned, folder, describer=moved)
    finally:
        moved.rename(blip)


def test_a_captioner_that_cannot_be_packed_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    setup = TextSetup(DescribeConfig(weights="a/b"))
    with pytest.raises(
        WeightsError, match=r"^captioner weights 'a/b': .* use no --with-describer$"
    ):
        _add_texts(setup, tmp_path, grounder_too=False, describer_too=True)


def test_the_stage_that_predicts_reads_stored_texts(
    world: World, captioned: Path, blip: Path
) -> None:
    options = ("--DescribePictures-describer", "captioner", "--DescribePictures-weights", str(blip))
    lines = lines_of(world.result("Predict", "--model", str(captioned), *options))
    known = stored_texts(world)
    assert [line["picture_text"] for line in lines] == [
        known.get(str(Path(line["picture"]).relative_to(world.data)), "") for line in lines
    ]


def test_objects_are_the_phrases_of_the_training(world: World, tmp_path: Path) -> None:
    detector = write_mm_grounding_dino(tmp_path / "detector")
    run = world.result(
        *("TrainRE", *TRAIN, "--DescribePictures-describer", "objects"),
        *("--GroundCrops-grounder", "detector", "--GroundCrops-weights", str(detector)),
        *("--GroundCrops-phrases", "types", "--GroundCrops-min-score", "0"),
    )
    texts, known = check_the_same(world, run), stored_texts(world)
    assert texts == [known.get(line["picture"], "") for line in lines_of(run)]
    assert any(texts)
    shutil.rmtree(detector)
    with pytest.raises(DataError, match="expected grounder with"):
        Extractor.load(run)
