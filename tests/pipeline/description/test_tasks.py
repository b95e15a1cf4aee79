"""DescribePictures, and ShowCrops with texts, through the command line."""

import json
from pathlib import Path
from typing import Any

import luigi as luigi_api
import pytest

import tasks
from pipeline.description.tasks import DescribePictures, OfTexts
from pipeline.description.texts import StoredTexts
from tests.cli import luigi, outputs
from tests.staleness import Layouts, write_layouts
from tests.tiny_captioners import write_blip
from tests.world import World, make_world

SALIENCE = ("--GroundCrops-grounder", "salience", "--GroundCrops-phrases", "none")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), posts=(4, 1, 1))


def pictures(world: World) -> list[str]:
    lines = (world.data / "own/posts.jsonl").read_text().splitlines()
    return [json.loads(line)["picture"] for line in lines]


def texts(folder: Path, posts: int) -> list[str]:
    return StoredTexts.open(folder)(range(posts))


@pytest.fixture(scope="module")
def captions(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of captions for all pictures but the last."""
    file = tmp_path_factory.mktemp("captions") / "mine.jsonl"
    fields = [{"picture": p, "text": f"<caption {n}>"} for n, p in enumerate(pictures(world)[:-1])]
    file.write_text("".join(json.dumps(line) + "\n" for line in fields))
    return file


def test_texts_of_files_need_no_pictures_and_are_shown(
    world: World, captions: Path, tmp_path: Path
) -> None:
    folder = world.data / "own/pictures"
    folder.rename(tmp_path / "away")
    try:
        output = world.result("DescribePictures", "--files", str(captions))
    finally:
        (tmp_path / "away").rename(folder)
    assert texts(output, 6) == [*(f"<caption {n}>" for n in range(5)), ""]
    report = json.loads((output / "report.json").read_text())
    assert report["settings"] == {"describer": "file", "files": ["mine"]}
    assert report["pictures_without_text"] == 1
    world.printed("ShowCrops", "--dataset", "own", "--texts", str(captions), *SALIENCE)
    assert len(outputs(world.store, "DescribePictures")) == 1
    page = (outputs(world.store, "ShowCrops")[-1] / "crops.html").read_text()
    shown = [n for n in range(6) if f'<p class="says" dir="auto">&lt;caption {n}&gt;</p>' in page]
    assert shown == [*range(5)]


def described(world: World, **options: str) -> tuple[Path, dict[str, Any]]:
    """Describe the pictures of `own` in this process. Returns the output and its report."""
    place = Layouts(world.data.parent, str(world.store))
    with place.configured({f"DescribePictures.{n}": value for n, value in options.items()}):
        stage = DescribePictures.of("own", ())
        assert luigi_api.build([stage], local_scheduler=True, no_lock=True, log_level="ERROR")
        return stage.folder, json.loads((stage.folder / "report.json").read_text())


def test_a_captioner_describes_each_picture_once(world: World, tmp_path: Path) -> None:
    blip = write_blip(tmp_path / "blip")
    output, report = described(world, weights=str(blip), length="4", device="cpu")
    assert report["settings"]["describer"] == "captioner"
    assert report["settings"]["weights"] not in ("from disk", str(blip))
    assert report["described_now"] == len(set(pictures(world)))
    first = texts(output, 6)
    assert any(first)
    blip.rename(tmp_path / "moved")
    (world.data / "own/pictures/new.txt").write_text("makes the stage stale")
    again, report = described(world, weights=str(tmp_path / "moved"), length="4", batch_size="2")
    assert again != output
    assert report["described_now"] == 0
    assert texts(again, 6) == first


def test_a_missing_file_is_one_line(tmp_path: Path, world: World) -> None:
    options = ("--dataset", "own", "--files", "/no/such.jsonl")
    done = luigi("DescribePictures", *options, data=world.data, store=tmp_path)
    assert done.returncode != 0
    assert "--files: expected a file or folder, found nothing at /no/such.jsonl" in done.stderr
    assert "Traceback" not in done.stderr


# --- the stage that other stages require


class Reads(OfTexts):
    """A stage that reads texts."""


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Layouts:
    return write_layouts(tmp_path_factory.mktemp("layouts"))


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ((), {}),
        ((), {"files": "FILES/captions.jsonl"}),
        (("captioner",), {"describer": "captioner"}),
        (("objects",), {"describer": "objects"}),
        (("ocr",), {"describer": "ocr"}),
        (("FILES/captions.jsonl",), {"files": "FILES/captions.jsonl"}),
        (
            ("FILES/knowledge.jsonl", "FILES/captions.jsonl"),
            {"files": "FILES/knowledge.jsonl,FILES/captions.jsonl"},
        ),
    ],
    ids=lambda value: "-".join(value).replace("FILES/", "") or "default",
)
def test_a_source_is_the_stage_with_the_same_options(
    layouts: Layouts, source: tuple[str, ...], options: dict[str, str]
) -> None:
    files = str(layouts.root / "files")
    named = tuple(name.replace("FILES", files) for name in source)
    with layouts.configured({f"DescribePictures.{n}": value for n, value in options.items()}):
        configured = tasks.DescribePictures(dataset="own").folder
        assert DescribePictures.of("own", ()).folder == configured
        assert DescribePictures.of("own", named).folder == configured
        assert Reads(dataset="own", knowledge_from=named).description.folder == configured


def test_another_source_than_the_configured_one(layouts: Layouts) -> None:
    files = {"DescribePictures.files": "FILES/captions.jsonl"}
    with layouts.configured(files):
        assert DescribePictures.of("own", ("ocr",)).config.files == ()
        configured = DescribePictures.of("own", ()).folder
        other = str(layouts.root / "files/knowledge.jsonl")
        assert DescribePictures.of("own", (other,)).folder != configured
        assert DescribePictures.of("own", ("file",)).folder == configured
