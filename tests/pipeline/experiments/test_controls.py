"""Test controls: which post gets whose pictures, and that a model is asked with these."""

import json
from collections import Counter
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.corpus.post import Post
from pipeline.corpus.posts import load_posts
from pipeline.corpus.shuffle import shuffled
from pipeline.description.texts import StoredTexts
from pipeline.experiments.controls import controls_into, lines
from pipeline.extraction.index import StoredPyramids
from pipeline.training.evaluate import Evaluation
from pipeline.training.knowledge import Texts
from tests.pipeline.experiments.conftest import MISSING, WITHOUT, Pictured


def posts_of(pictures: list[str | None]) -> dict[int, Post]:
    """Return numbered posts, from number 3 on, with these pictures."""
    return {
        n: Post(id=str(n), split="test", tokens=("a",), picture=picture)
        for n, picture in enumerate(pictures, start=3)
    }


@pytest.mark.parametrize("seed", range(5))
def test_each_post_gets_the_pictures_of_another_file(seed: int) -> None:
    posts = posts_of(["a", "b", "a", "c", None, "d", "a", "b", "e", None])
    there = np.array([False] * 3 + [post.picture is not None for post in posts.values()])
    owners = dict(zip(posts, shuffled(posts, there, seed), strict=True))
    for number, owner in owners.items():
        if posts[number].picture is None:
            assert owner == number
        else:
            assert posts[owner].picture not in (None, posts[number].picture)
    assert Counter(owners.values()) == Counter(posts.keys())  # each is given once


def test_seeds_differ_and_are_kept() -> None:
    posts = posts_of([str(n) for n in range(30)])
    there = np.ones(33, dtype=bool)
    assert shuffled(posts, there, 1) == shuffled(posts, there, 1) != shuffled(posts, there, 2)


def test_posts_that_can_get_no_other_picture_get_none() -> None:
    posts = posts_of(["a", "a", "a", "b"])
    owners = dict(zip(posts, shuffled(posts, np.ones(7, dtype=bool), 0), strict=True))
    assert owners[6] in (3, 4, 5)
    assert sorted(owners[n] for n in (3, 4, 5)) == [-1, -1, 6]


def test_crops_without_a_picture_are_exchanged_too() -> None:
    """The picture itself is missing, so that the post has only crops of its own."""
    posts = {n: Post(id=str(n), split="test", tokens=("a",), crops=(f"{n}.jpg",)) for n in range(4)}
    owners = shuffled(posts, np.ones(4, dtype=bool), 0)
    assert all(owner != number for number, owner in enumerate(owners))
    assert sorted(owners) == [0, 1, 2, 3]


def controls(pictured: Pictured, name: str, folder: Path) -> Path:
    run = pictured[name]
    folder.mkdir()
    controls_into(folder, run.model, run.posts, run.files, "cpu", "float32", 0, {}, texts=run.texts)
    return folder


@pytest.mark.parametrize("name", ["re", "released", "objects"])
def test_a_model_is_asked_with_the_other_pictures(
    pictured: Pictured, name: str, tmp_path: Path
) -> None:
    """The predictions equal those of a model asked post by post, with rows put together here."""
    made = controls(pictured, name, tmp_path / "controls")
    run = pictured[name]
    assert run.files is not None
    evaluation = Evaluation.open(run.model, run.posts, run.files)
    stored = StoredPyramids.open(run.files.extraction, run.files.pyramids)
    posts = load_posts(run.posts)
    numbers = [n for n, post in enumerate(posts) if post.split == "test"]
    chosen = {n: posts[n] for n in numbers}
    owners = np.arange(len(posts))
    owners[numbers] = shuffled(chosen, np.any(stored.there, axis=1), 0)
    model = evaluation.saved.load()
    nobody = np.full(len(posts), -1)
    for control, given in (("shuffled", owners), ("no-picture", nobody)):
        (tmp_path / control).mkdir()
        expected = replace(evaluation, splits={"val": {}, "test": chosen})
        pictures = arranged(stored, given)
        figures = expected.predict(tmp_path / control, model, pictures, "cpu", "float32")
        again = (tmp_path / control / "predictions.jsonl").read_text()
        assert (made / control / "predictions.jsonl").read_text() == again
        metrics = json.loads((made / "metrics.json").read_text())
        assert metrics[control]["f1"] == figures["test"]["f1"]


def arranged(stored: StoredPyramids, owners: np.ndarray) -> StoredPyramids:
    """Return pyramids put together post by post. owners: -1 for no region at all."""
    pictures = copy(stored)
    pictures.there, pictures.places = stored.there.copy(), stored.places.copy()
    for number, owner in enumerate(owners):
        for region in range(stored.there.shape[1]):
            pictures.there[number, region] = owner >= 0 and stored.there[owner, region]
            place = stored.absent if owner < 0 else stored.places[owner, region]
            pictures.places[number, region] = place
    return pictures


@pytest.mark.parametrize("name", ["told", "told-words"])
def test_a_model_is_asked_with_the_other_texts(
    pictured: Pictured, name: str, tmp_path: Path
) -> None:
    """The predictions equal those of a model asked with texts put together here."""
    made, run = controls(pictured, name, tmp_path / "controls"), pictured[name]
    assert run.texts is not None
    evaluation = Evaluation.open(run.model, run.posts, run.files, run.texts)
    texts, posts = StoredTexts.open(run.texts), load_posts(run.posts)
    numbers = [n for n, post in enumerate(posts) if post.split == "test"]
    chosen = {n: posts[n] for n in numbers}
    owners = dict(zip(numbers, shuffled(chosen, texts.there, 0), strict=True))
    assert sum(owner != n for n, owner in owners.items()) > len(numbers) / 2
    expected = replace(evaluation, splits={"val": {}, "test": chosen})
    model = evaluation.saved.load()
    others: dict[str, Texts] = {
        "shuffled-text": lambda asked: [texts([owners.get(n, n)])[0] for n in asked],
        "no-text": lambda asked: [""] * len(asked),
    }
    for control, given in others.items():
        (tmp_path / control).mkdir()
        expected.predict(tmp_path / control, model, evaluation.pictures, "cpu", "float32", given)
        again = (tmp_path / control / "predictions.jsonl").read_text()
        assert (made / control / "predictions.jsonl").read_text() == again
    kinds = {"shuffled", "no-picture"} if run.files else set()
    names = {"shuffled-text", "no-text", *kinds}
    assert {path.name for path in made.iterdir() if path.is_dir()} == names
    assert names <= json.loads((made / "metrics.json").read_text()).keys()


def test_posts_without_pictures_are_predicted_as_before(pictured: Pictured, tmp_path: Path) -> None:
    made = controls(pictured, "re", tmp_path / "controls")

    def predicted(file: Path) -> dict[str, float]:
        found = map(json.loads, file.read_text().splitlines())
        return {line["id"]: line["score"] for line in found if line["split"] == "test"}

    own = predicted(pictured["re"].folder / "predictions.jsonl")
    none = predicted(made / "no-picture/predictions.jsonl")
    for control in ("shuffled", "no-picture"):
        other = predicted(made / control / "predictions.jsonl")
        for post in (WITHOUT, MISSING):
            assert other[post] == pytest.approx(own[post], abs=1e-5)
    assert sum(abs(own[post] - none[post]) > 1e-4 for post in own) > len(own) / 2


def test_scores_under_controls_are_a_line() -> None:
    found = lines({"split": "test", "shuffled": {"f1": 44.444}, "no-picture": {"f1": 1.0}})
    assert found == ["test F1 44.44 with other posts' pictures, 1.00 without any picture"]
