"""The case `decomposed-file-name`, and suffixes in another case: a name is nearly there."""

import json
import shutil
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest

from features.pictures import picture_size
from pipeline.corpus import locate, read
from pipeline.errors import DataError
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.extract import Extraction, extract
from pipeline.grounding.config import GroundConfig, Grounders
from pipeline.grounding.crops import GroundedPosts
from pipeline.grounding.finder import BoxCache, make_finder
from pipeline.grounding.ground import ground, look_at_pictures
from pipeline.machine import Machine
from tests.tiny import SHARED

CASE = SHARED / "cases" / "decomposed-file-name"
COMPOSED, DECOMPOSED = normalize("NFC", "fête-é.jpg"), normalize("NFD", "fête-é.jpg")
pytestmark = pytest.mark.skipif(not CASE.exists(), reason="the case is not there")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The case's pictures, prepared."""
    shutil.copytree(CASE / "data", tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "posts" / "pictures"
    shutil.copy(CASE / "picture.jpg", folder / DECOMPOSED)
    return folder


def problems(root: Path) -> dict[str, str]:
    """What GroundCrops says of the pictures that it cannot use."""
    config = GroundConfig(Grounders("none"), phrases="none")
    out = root / "crops"
    out.mkdir(exist_ok=True)
    with BoxCache(root / "boxes.sqlite") as cache:
        ground(
            read(locate("posts", root)).posts,
            root,
            config,
            lambda name: make_finder(name, config, Machine(), str, str, cache),
            out,
        )
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    assert set(report["problems_by_kind"]) <= {"missing"}
    return {Path(name).name: why for name, why in report["problems"].items()}


def test_the_file_that_is_there_is_named(pictures: Path) -> None:
    root = pictures.parents[1]
    assert problems(root) == {
        COMPOSED: r"missing: 'fe\u0302te-e\u0301.jpg' is there, the same name in another Unicode "
        r"form; rename it to 'f\xeate-\xe9.jpg'"
    }
    (pictures / DECOMPOSED).rename(pictures / COMPOSED)
    assert problems(root) == {}


def test_a_suffix_in_another_case_is_named(pictures: Path) -> None:
    (pictures / DECOMPOSED).rename(pictures / COMPOSED)
    (pictures / "1.jpg").rename(pictures / "1.JPG")
    (pictures / "2.jpg").unlink()
    assert problems(pictures.parents[1]) == {
        "1.jpg": "missing: '1.JPG' is there; rename it to '1.jpg'",
        "2.jpg": "missing",
    }


def test_each_name_finds_its_own_file(pictures: Path) -> None:
    root = pictures.parents[1]
    shutil.copy(pictures / "1.jpg", pictures / COMPOSED)
    posts = read(locate("posts", root)).posts
    sizes = look_at_pictures(posts, root).sizes
    assert sizes[f"posts/pictures/{COMPOSED}"] == picture_size(pictures / "1.jpg")
    text = root / "posts" / "posts.jsonl"
    text.write_text(text.read_text().replace(COMPOSED, DECOMPOSED))
    sizes = look_at_pictures(read(locate("posts", root)).posts, root).sizes
    assert sizes[f"posts/pictures/{DECOMPOSED}"] == picture_size(CASE / "picture.jpg")


def test_extraction_says_the_same_where_no_picture_is_there(pictures: Path) -> None:
    root = pictures.parents[1]
    for file in list(pictures.iterdir()):
        file.rename(pictures / f"{file.stem}.JPG")
    problems(root)
    config = ExtractConfig("resnet18", "random", size=64)
    run = Extraction(root, 4, str, root / "rows", "random", config, Machine("cpu"))
    with pytest.raises(
        DataError, match=r"none of 5, such as .*\.jpg \(missing: .* is there; rename"
    ):
        extract(GroundedPosts(root / "crops"), run, root / "out")


def test_a_data_set_s_folder_in_another_form_is_named(tmp_path: Path) -> None:
    (tmp_path / DECOMPOSED).mkdir()
    with pytest.raises(DataError, match=r"no texts of .*; 'fe\\u0302te-e\\u0301.jpg' is there"):
        locate(COMPOSED, tmp_path)
