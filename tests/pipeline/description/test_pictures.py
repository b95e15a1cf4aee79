"""Texts of a data set's pictures: each computed once, whatever happens to files and the cache."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.description.describer import Describer
from pipeline.description.pictures import Look, describe_pictures
from pipeline.description.texts import StoredTexts
from pipeline.engine.answers import Answers
from pipeline.engine.digests import of_file
from pipeline.errors import DataError


@dataclass
class Sizes:
    """A model that names a picture's size. batches: the texts of each call."""

    batches: list[list[str]] = field(default_factory=list)

    def texts(self, pictures: Sequence[Image.Image]) -> list[str]:
        texts = ["" if p.size == (1, 1) else f" {p.width}\nby {p.height}" for p in pictures]
        self.batches.append([" ".join(text.split()) for text in texts])
        return texts


@dataclass
class World:
    """Pictures below `root`, a cache of texts, and a model."""

    root: Path
    model: Sizes = field(default_factory=Sizes)
    identity: tuple[str, ...] = ("sizes",)
    weights: str = ""

    def save(self, **sizes: tuple[int, int]) -> None:
        for name, size in sizes.items():
            Image.new("RGB", size).save(self.root / f"{name}.png")

    def describe(self, *pictures: str | None) -> list[str]:
        """Describe posts with these pictures. Returns their texts."""
        describer = Describer(self.identity, None, lambda: self.model, batch_size=2)
        folder = self.root / "out"
        folder.mkdir(exist_ok=True)
        with Answers(self.root / "descriptions.sqlite") as answers:
            look = Look(self.root, describer, self.weights, of_file, answers, threads=2)
            describe_pictures(pictures, look, {"describer": "sizes"}, folder)
        return StoredTexts.open(folder)(range(len(pictures)))

    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.root / "out/report.json").read_text())
        return report


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.save(a=(3, 2), b=(4, 5), c=(1, 1), d=(7, 8))
    return world


def test_each_picture_is_described_once_in_batches(world: World) -> None:
    posts = ("b.png", None, "a.png", "b.png", "c.png")
    assert world.describe(*posts) == ["4 by 5", "", "3 by 2", "4 by 5", ""]
    assert world.model.batches == [["4 by 5", "3 by 2"], [""]]
    counts = {"posts": 5, "posts_with_text": 3, "pictures": 3, "pictures_with_text": 2}
    assert world.report().items() >= {**counts, "described_now": 3}.items()


def test_a_new_post_costs_only_its_picture(world: World) -> None:
    world.describe("a.png", "c.png")
    world.model.batches.clear()
    assert world.describe("a.png", "c.png", "d.png") == ["3 by 2", "", "7 by 8"]
    assert world.model.batches == [["7 by 8"]]


def test_files_with_the_same_bytes_share_their_text(world: World) -> None:
    world.save(copy=(3, 2))
    assert world.describe("a.png", "copy.png") == ["3 by 2", "3 by 2"]
    assert world.model.batches == [["3 by 2"]]


@pytest.mark.parametrize("change", [{"identity": ("others",)}, {"weights": "sha256 1234"}])
def test_another_describer_or_other_weights_describe_again(
    world: World, change: dict[str, Any]
) -> None:
    world.describe("a.png")
    replace(world, **change).describe("a.png")
    assert world.model.batches == [["3 by 2"]] * 2


def test_a_damaged_text_in_the_cache_is_made_again(world: World) -> None:
    world.describe("a.png", "b.png")
    with closing(sqlite3.connect(world.root / "descriptions.sqlite")) as file, file:
        file.execute("update answers set answer='4 by 6' where answer='4 by 5'")
    world.model.batches.clear()
    assert world.describe("a.png", "b.png") == ["3 by 2", "4 by 5"]
    assert world.model.batches == [["4 by 5"]]


def test_pictures_that_cannot_be_used_are_named_and_left_out(world: World) -> None:
    (world.root / "broken.png").write_bytes(b"\x07" * 50)
    (world.root / "again.png").write_bytes(b"\x07" * 50)
    posts = ("broken.png", "a.png", "none.png", "again.png")
    assert world.describe(*posts) == ["", "3 by 2", "", ""]
    broken = "broken: not a picture of a known format"
    assert world.report()["problems"] == {
        "again.png": broken,
        "broken.png": broken,
        "none.png": "missing",
    }
    assert world.report()["described_now"] == 1


def test_a_picture_that_is_cut_off_is_filled_and_named(world: World) -> None:
    file = world.root / "e.jpg"
    Image.effect_noise((160, 120), 60).convert("RGB").save(file, quality=95)
    file.write_bytes(file.read_bytes()[:-200])
    assert world.describe("e.jpg") == ["160 by 120"]
    assert list(world.report()["filled_now"]) == ["e.jpg"]


def test_a_picture_that_changes_meanwhile_is_not_cached(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(pictures: Sequence[Image.Image]) -> list[str]:
        world.save(a=(9, 9))
        return ["old"] * len(pictures)

    monkeypatch.setattr(world.model, "texts", change)
    assert world.describe("a.png") == ["old"]
    monkeypatch.undo()
    world.save(a=(3, 2))
    assert world.describe("a.png") == ["3 by 2"]


def test_no_usable_picture_is_an_error(world: World) -> None:
    with pytest.raises(DataError, match=r"found none of 2, such as x.png \(missing\)\. The README"):
        world.describe("x.png", None, "y.png")
    with pytest.raises(DataError, match=r"found none of 0\. The README"):
        world.describe(None)
