"""Stages that read pyramids record their weights in `metrics.json`."""

from collections.abc import Iterator

import pytest

from tests.staleness import Layouts, columns, plain_machine, write_layouts

FAOA = {
    "GroundCrops.grounder": "faoa",
    "GroundCrops.vocabulary": "FILES/words.json",
    "GroundCrops.weights": "FILES/lstm_flickr_model.pth.tar",
}
BACKBONE = {"ExtractPyramid.weights": "FILES/resnet.pth"}
DETECTOR = {"GroundCrops.grounder": "detector", "GroundCrops.weights": "FILES/detector"}
FILES = {
    "backbone": "resnet.pth",
    "grounder": "lstm_flickr_model.pth.tar",
    "vocabulary": "words.json",
}


@pytest.fixture(autouse=True, scope="module")
def machine() -> Iterator[None]:
    with plain_machine():
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Layouts:
    return write_layouts(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("letter", ["T", "N", "E"])
def test_weights_given_as_files_are_recorded_with_path_and_digest(
    world: Layouts, letter: str
) -> None:
    with world.configured(FAOA | BACKBONE):
        stages = columns("own")
        sources = {name: stages[name].key["sources"] for name in "GX"}
        weights = stages[letter].about()["weights"]
    assert {name: entry["file"] for name, entry in weights.items()} == {
        name: str(world.root / "files" / file) for name, file in FILES.items()
    }
    assert {name: entry["digest"] for name, entry in weights.items()} == {
        "backbone": sources["X"]["weights"],
        "grounder": sources["G"]["weights"],
        "vocabulary": sources["G"]["vocabulary"],
    }


def test_a_detectors_folder_given_relatively_is_recorded_with_its_absolute_path(
    world: Layouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world.root)
    relative = DETECTOR | {"GroundCrops.weights": "files/detector"}
    with world.configured(relative):
        weights = columns("own")["T"].about()["weights"]
    assert weights.keys() == {"grounder"}
    assert weights["grounder"]["file"] == str(world.root / "files/detector")
    assert weights["grounder"]["digest"].startswith("2 files, sha256 ")


@pytest.mark.parametrize("options", [{}, {"ExtractPyramid.weights": "random"}])
def test_weights_that_are_not_files_are_not_recorded(
    world: Layouts, options: dict[str, str]
) -> None:
    with world.configured(options):
        assert columns("own")["T"].about()["weights"] == {}


def test_a_text_only_run_records_no_weights(world: Layouts) -> None:
    with world.configured(FAOA | BACKBONE):
        assert "weights" not in columns("own")["O"].about()
