"""Pictures in AVIF, under their own and another suffix: read as every other."""

from pathlib import Path

import numpy as np
import pytest
from PIL import features

from features.pictures import open_picture
from tests.cli import luigi, newest, outputs
from tests.tiny import SHARED

CASE = SHARED / "cases" / "avif-pictures"
pytestmark = [
    pytest.mark.skipif(not CASE.is_dir(), reason="the case is not on this machine"),
    pytest.mark.skipif(not features.check("avif"), reason="this Pillow does not decode AVIF"),
]


def test_avif_pictures_have_rows(tmp_path: Path) -> None:
    options = ("--weights", "random", "--backbone", "resnet18", "--size", "64")
    done = luigi(
        "ExtractPyramid", "--dataset", "posts", *options, data=CASE / "data", store=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert newest(tmp_path, "GroundCrops", "report.json")["problems"] == {}
    report = newest(tmp_path, "ExtractPyramid", "report.json")
    assert report["problems"] == {}
    assert report["pictures"] == 10
    index = np.load(outputs(tmp_path, "ExtractPyramid")[-1] / "index.npy")
    assert (index[:, 0] >= 0).all()


@pytest.mark.parametrize("name", ["1.avif", "2.jpg"])
def test_their_halves_are_red_and_blue(name: str) -> None:
    picture = open_picture(CASE / "data/posts/pictures" / name)
    assert picture.size == (96, 72)
    red, blue = np.asarray(picture).astype(int)[[36, 36], [4, 91]]
    assert red[0] > red[2] + 100
    assert blue[2] > blue[0] + 100
