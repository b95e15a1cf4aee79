"""Outputs with unusable pictures are stale only if this installation can read these."""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

import tasks
from features import pictures
from pipeline.engine.stage import Stage
from pipeline.engine.status import status
from pipeline.grounding import recovered
from tests.staleness import (
    COLUMNS,
    EXPERIMENTS,
    Layouts,
    columns,
    differing,
    make,
    output,
    plain_machine,
    write_layouts,
)

PICTURE = "own/pictures/a.jpg"
BROKEN = "own/pictures/b.jpg"
OLD = "broken: not a picture of a known format"
NOTHING = "." * len(COLUMNS)


@pytest.fixture(autouse=True, scope="module")
def machine() -> Iterator[None]:
    with plain_machine():
        yield


@pytest.fixture
def world(tmp_path: Path) -> Layouts:
    """A data set with a readable and an unreadable picture, and the outputs of all stages."""
    world = write_layouts(tmp_path)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    (tmp_path / "data" / PICTURE).write_bytes(file.getvalue())
    world = Layouts(tmp_path, str(tmp_path / "store"))
    with world.configured({}):
        make(everything_but_experiments())
    return world


def everything_but_experiments() -> list[Stage]:
    """The stages that need no finished model: here, work is left out."""
    return [stage for letter, stage in columns("own").items() if letter not in EXPERIMENTS]


def note(world: Layouts, stage: str, **problems: str) -> None:
    """Write a report with problems into the output of a stage. Names: first, broken, gone."""
    names = {"first": PICTURE, "broken": BROKEN, "gone": "own/pictures/gone.jpg"}
    listed = {names[name]: why for name, why in problems.items()}
    (output(world, stage, "own") / "report.json").write_text(json.dumps({"problems": listed}))


def lines(world: Layouts) -> dict[str, str]:
    with world.configured({}):
        return dict(line.split(" is ", 1) for line in status(tasks.stages_of("own")))


@pytest.mark.parametrize(
    ("stage", "why", "cell"),
    [
        ("GroundCrops", OLD, "..GX.TN.EPHSWB.C1LKAD"),
        (
            "GroundCrops",
            "broken: unreadable picture: image file is truncated",
            "..GX.TN.EPHSWB.C1LKAD",
        ),
        (
            "GroundCrops",
            "format: a HEIC picture: install the extra [heif]",
            "..GX.TN.EPHSWB.C1LKAD",
        ),
        ("ExtractPyramid", OLD, "...X.TN.EPH....C1LKAD"),
        ("GroundCrops", "missing", NOTHING),
        ("GroundCrops", "huge: 9000×9000", NOTHING),
        ("GroundCrops", "outside: a link", NOTHING),
        ("ExtractPyramid", "crop: box", NOTHING),
    ],
)
def test_recovered_pictures_make_stages_stale(
    world: Layouts, stage: str, why: str, cell: str
) -> None:
    before = world.fingerprints()
    note(world, stage, first=why, broken=OLD, gone=OLD)
    assert differing(before, world.fingerprints()) == cell


def test_an_output_without_unreadable_pictures_opens_none(
    world: Layouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    note(world, "GroundCrops", gone="missing")
    monkeypatch.setattr(recovered, "Memo", None)
    monkeypatch.setattr("features.pictures.open_picture", None)
    assert world.fingerprints()


def test_a_picture_is_tried_once_an_installation(
    world: Layouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    real = pictures.open_picture

    def counted(path: Path) -> Image.Image:
        tried.append(path.name)
        return real(path)

    monkeypatch.setattr("features.pictures.open_picture", counted)
    note(world, "GroundCrops", first=OLD, broken=OLD)
    first = world.fingerprints()
    assert world.fingerprints() == first
    assert sorted(tried) == ["a.jpg", "b.jpg"]
    monkeypatch.setattr("features.pictures.installation", lambda: "another")
    assert world.fingerprints() == first
    assert len(tried) == 4


def test_status_says_why(world: Layouts) -> None:
    note(world, "GroundCrops", first=OLD, broken=OLD)
    stages = lines(world)
    why = "stale: 1 pictures that were unusable can be read now: own/pictures/a.jpg"
    assert stages["GroundCrops"] == why
    assert stages["ExtractPyramid"] == "stale: GroundCrops changed"
    assert stages["ReadPosts"].startswith("fresh")


def everything_fresh(world: Layouts) -> bool:
    return all(line.startswith("fresh") for line in lines(world).values())


def test_a_repeated_output_stays_fresh_after_the_first_is_pruned(
    world: Layouts, caplog: pytest.LogCaptureFixture
) -> None:
    first = output(world, "GroundCrops", "own")
    note(world, "GroundCrops", first=OLD)
    with world.configured({}), caplog.at_level("INFO", "pipeline.grounding.tasks"):
        ran = make(everything_but_experiments())
    assert "GroundCrops" in ran
    assert "TrainRE" in ran
    assert "ReadPosts" not in ran
    assert "GroundCrops is made again: 1 pictures that were unusable can be read" in caplog.text
    assert everything_fresh(world)
    shutil.rmtree(first)  # as Prune does
    assert everything_fresh(world)
    manifest = json.loads((output(world, "GroundCrops", "own") / "manifest.json").read_text())
    assert manifest["key"]["settings"]["reads"] == [PICTURE]


@pytest.mark.parametrize("pruned", [False, True])
def test_an_installation_that_reads_less_gets_its_own_output(
    world: Layouts, pruned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.fingerprints()
    first = output(world, "GroundCrops", "own")
    note(world, "GroundCrops", first=OLD)
    with world.configured({}):
        make(everything_but_experiments())
    if pruned:
        shutil.rmtree(first)

    def refused(path: Path) -> Image.Image:
        raise pictures.PictureError("a HEIC picture", path, "format")

    monkeypatch.setattr("features.pictures.open_picture", refused)
    monkeypatch.setattr("features.pictures.installation", lambda: "less")
    assert world.fingerprints() == before


@pytest.mark.parametrize("content", ["", "[]", "{", '{"problems": []}', '{"problems": {"a": 3}}'])
def test_a_damaged_report_makes_nothing_stale(world: Layouts, content: str) -> None:
    before = world.fingerprints()
    (output(world, "GroundCrops", "own") / "report.json").write_text(content)
    assert world.fingerprints() == before


def test_the_installation_is_named_by_what_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    named = pictures.installation()
    assert "pillow " in named

    def other(name: str) -> Callable[[Path], Image.Image] | None:
        return None

    monkeypatch.setattr(pictures, "READER", 99)
    assert pictures.installation() != named
