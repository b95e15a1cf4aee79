"""Crop files are read back by the readers of the published layouts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from features.grounding import Region
from features.pictures import Box, cut, open_picture
from pipeline.corpus import Corpus, locate, read
from pipeline.corpus.post import Post
from pipeline.grounding.crops import Grounded
from pipeline.grounding.write import write_crops

LEFT: Box = (3.2, 4.0, 60.9, 70.0)
RIGHT: Box = (50.0, 0.0, 120.0, 90.0)
OFF: Box = (500.0, 0.0, 510.0, 9.0)
# split -> the picture of each row; the first two rows of train share a picture
ROWS = {"train": ("a.jpg", "a.jpg", "b.jpg"), "val": ("c.jpg",), "test": ("d.jpg", "b.jpg")}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_pictures(folder: Path) -> None:
    """Write four pictures of noise, 120×90 pixels, all different."""
    folder.mkdir(parents=True)
    for seed, name in enumerate("abcd"):
        pixels = np.random.default_rng(seed).integers(0, 256, (90, 120, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.jpg")


@pytest.fixture
def relations(tmp_path: Path) -> Path:
    """A data root with MNRE in its published layout, without crops."""
    for split, pictures in ROWS.items():
        rows = [
            {
                "token": ["Ann", "met", "Bob", str(n)],
                "h": {"pos": [0, 1]},
                "t": {"pos": [2, 3]},
                "img_id": picture,
                "relation": "None",
            }
            for n, picture in enumerate(pictures)
        ]
        write(tmp_path / f"RE_data/txt/ours_{split}.txt", "".join(f"{row!r}\n" for row in rows))
    write_pictures(tmp_path / "RE_data/img_org")
    return tmp_path


@pytest.fixture
def entities(tmp_path: Path) -> Path:
    """A data root with Twitter-2015 in its published layout, without crops."""
    base = tmp_path / "NER_data/twitter2015"
    for split, id in (("train", "a"), ("valid", "b"), ("test", "c")):
        write(base / f"{split}.txt", f"IMGID:{id}\nAnn\tB-PER\n")
    write_pictures(base / "twitter2015_images")
    return tmp_path


def box(*boxes: Box) -> tuple[Region, ...]:
    return tuple(Region("dog", sides, 0.5, None, "detector", "spacy") for sides in boxes)


def crop(*files: str) -> tuple[Region, ...]:
    return tuple(Region(None, None, None, file, "released") for file in files)


def ground(
    posts: list[Post], regions: dict[str, tuple[Region, ...]], problems: dict[str, str]
) -> list[Grounded]:
    """Return the posts' lines. regions: by post id. problems: by picture path."""
    return [
        Grounded(
            post.id,
            post.split,
            post.tokens,
            post.picture,
            problems.get(post.picture or ""),
            (),
            regions.get(post.id, ()),
        )
        for post in posts
    ]


def written(
    root: Path,
    regions: dict[str, tuple[Region, ...]],
    dataset: str = "mnre",
    problems: dict[str, str] | None = None,
    posts: list[Post] | None = None,
) -> dict[str, Any]:
    """Write crops into root/out. Returns the report."""
    posts = read(locate(dataset, root)).posts if posts is None else posts
    (root / "out").mkdir()
    write_crops(ground(posts, regions, problems or {}), root, posts, dataset, root / "out")
    report: dict[str, Any] = json.loads((root / "out/report.json").read_text())
    return report


def read_back(root: Path, dataset: str) -> Corpus:
    """Move the written files to their places in the published layout, and read the data set."""
    for file in sorted((root / "out").rglob("*.*")):
        if file.is_file() and file.name != "report.json":
            place = root / file.relative_to(root / "out")
            place.parent.mkdir(parents=True, exist_ok=True)
            file.rename(place)
    layout = locate(dataset, root)
    assert layout.released
    return read(layout)


def assert_same(root: Path, file: str, picture: str | None, box: Box) -> None:
    """Check that a crop file equals the box of the picture, pixel for pixel."""
    expected = cut(open_picture(root / str(picture)), box)
    np.testing.assert_array_equal(np.asarray(Image.open(root / file)), np.asarray(expected))


REGIONS = {
    "train-0": (LEFT, RIGHT),
    "train-2": (RIGHT,),
    "val-0": (LEFT,),
    "test-1": (RIGHT, LEFT),
}


def test_relations_are_read_back(relations: Path) -> None:
    report = written(relations, {id: box(*boxes) for id, boxes in REGIONS.items()})
    assert (report["layout"], report["posts"], report["pictures"]) == ("relations", 6, 5)
    assert (report["crops"], report["problems"]) == (6, {})
    for post in read_back(relations, "mnre").posts:
        boxes = REGIONS.get(post.id, ())
        assert post.crops is not None
        assert len(post.crops) == len(boxes)
        for file, sides in zip(post.crops, boxes, strict=True):
            assert_same(relations, file, post.picture, sides)


def test_entities_are_read_back(entities: Path) -> None:
    report = written(entities, {"a": box(LEFT, RIGHT), "c": box(RIGHT)}, "twitter2015")
    assert (report["layout"], report["crops"]) == ("entities", 3)
    posts = read_back(entities, "twitter2015").posts
    assert [len(post.crops or ()) for post in posts] == [2, 0, 1]
    assert_same(entities, (posts[0].crops or ())[1], posts[0].picture, RIGHT)
    assert_same(entities, (posts[2].crops or ())[0], posts[2].picture, RIGHT)


def dictionary(path: Path) -> dict[Any, list[str]]:
    entries: dict[Any, list[str]] = torch.load(path, weights_only=True)
    assert type(entries) is dict
    return entries


def test_relations_have_the_published_names(relations: Path) -> None:
    written(relations, {"val-0": box(LEFT, RIGHT)})
    base = relations / "out/RE_data"
    assert dictionary(base / "txt/mre_dev_dict.pth") == {
        0: ["c.jpg_pred_yolo_crop_0.png", "c.jpg_pred_yolo_crop_1.png"]
    }
    assert dictionary(base / "txt/mre_train_dict.pth") == {0: [], 1: [], 2: []}
    assert dictionary(base / "txt/mre_test_dict.pth") == {0: [], 1: []}
    files = {file.relative_to(base).as_posix() for file in base.rglob("*.png")}
    assert files == {f"img_vg/val/crops/c.jpg_pred_yolo_crop_{n}.png" for n in (0, 1)}


def test_entities_have_the_published_names(entities: Path) -> None:
    written(entities, {"b": box(LEFT)}, "twitter2015")
    base = entities / "out/NER_data"
    name = "b.jpg_pred_yolo_crop_0.png"
    texts = base / "twitter2015"
    assert dictionary(texts / "twitter2015_val_dict.pth") == {"b.jpg": [name]}
    assert dictionary(texts / "twitter2015_train_dict.pth") == {"a.jpg": []}
    assert dictionary(texts / "twitter2015_test_dict.pth") == {"c.jpg": []}
    files = [file.relative_to(base).as_posix() for file in base.rglob("*.png")]
    assert files == [f"twitter2015_aux_images/val/crops/{name}"]


def train_rows(root: Path) -> dict[Any, list[str]]:
    return dictionary(root / "out/RE_data/txt/mre_train_dict.pth")


def numbered(*numbers: int) -> list[str]:
    return [f"a.jpg_pred_yolo_crop_{n}.png" for n in numbers]


def test_a_shared_picture_is_numbered_on_and_equal_boxes_are_one_crop(relations: Path) -> None:
    third: Box = (0, 0, 9, 9)
    report = written(relations, {"train-0": box(LEFT, RIGHT), "train-1": box(third, LEFT)})
    assert train_rows(relations) == {0: numbered(0, 1), 1: numbered(2, 0), 2: []}
    assert report["crops"] == 3


def test_released_crops_are_copied_under_their_own_names(relations: Path) -> None:
    file = relations / "RE_data/img_vg/train/crops/x_crop.png"
    write(file, "any bytes")
    regions = {"train-0": crop(file.relative_to(relations).as_posix())}
    assert written(relations, regions)["crops"] == 1
    assert train_rows(relations)[0] == ["x_crop.png"]
    copy = relations / "out/RE_data/img_vg/train/crops/x_crop.png"
    assert copy.read_text() == "any bytes"


def test_a_cut_crop_never_takes_a_released_crops_name(relations: Path) -> None:
    write(relations / "old" / numbered(1)[0], "released")
    regions = {"train-0": box(LEFT, RIGHT), "train-1": crop(f"old/{numbered(1)[0]}")}
    written(relations, regions)
    assert train_rows(relations) == {0: numbered(0, 2), 1: numbered(1), 2: []}
    copy = relations / "out/RE_data/img_vg/train/crops" / numbered(1)[0]
    assert copy.read_text() == "released"


def test_a_released_crop_that_is_missing_is_named(relations: Path) -> None:
    report = written(relations, {"train-0": crop("old/gone.png") + box(LEFT)})
    assert report["problems"] == {"old/gone.png": "missing"}
    assert train_rows(relations)[0] == numbered(0)


def test_pictures_that_cannot_be_used_are_named(relations: Path) -> None:
    pictures = relations / "RE_data/img_org"
    (pictures / "a.jpg").write_bytes((pictures / "a.jpg").read_bytes()[:900])
    (pictures / "b.jpg").unlink()
    regions = {"train-0": box(LEFT), "train-2": box(LEFT), "val-0": box(OFF, LEFT)}
    report = written(relations, regions, problems={"RE_data/img_org/d.jpg": "huge: too large"})
    kinds = {Path(name).name: why.partition(":")[0] for name, why in report["problems"].items()}
    assert kinds == {"a.jpg": "broken", "b.jpg": "missing", "c.jpg": "crop", "d.jpg": "huge"}
    assert train_rows(relations) == {0: [], 1: [], 2: []}
    val = dictionary(relations / "out/RE_data/txt/mre_dev_dict.pth")
    assert val == {0: ["c.jpg_pred_yolo_crop_0.png"]}


def test_own_posts_of_entities_share_the_crops_of_their_picture(tmp_path: Path) -> None:
    write_pictures(tmp_path / "own/pictures")
    posts = [
        Post("1", "train", ("x",), "own/pictures/a.jpg", tags=("O",)),
        Post("2", "train", ("y",), "own/pictures/a.jpg", tags=("O",)),
        Post("3", "train", ("z",), None, tags=("O",)),
    ]
    written(tmp_path, {"1": box(LEFT), "2": box(RIGHT, LEFT)}, "own", posts=posts)
    entries = dictionary(tmp_path / "out/NER_data/own/own_train_dict.pth")
    assert entries == {"a.jpg": numbered(0, 1)}


def test_own_posts_without_a_picture_keep_their_row(tmp_path: Path) -> None:
    write_pictures(tmp_path / "own/pictures")
    spans: dict[str, Any] = {"head": (0, 1), "tail": (1, 2), "relation": "None"}
    posts = [
        Post("1", "train", ("x", "y"), None, **spans),
        Post("2", "val", ("x", "y"), "own/pictures/b.jpg", **spans),
        Post("3", "train", ("x", "y"), "own/pictures/a.jpg", **spans),
    ]
    written(tmp_path, {"3": box(LEFT)}, "own", posts=posts)
    assert train_rows(tmp_path) == {0: [], 1: numbered(0)}
