"""GroundCrops, ShowCrops, WriteCrops and EvaluateGrounding through the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.corpus import locate, read
from tests.cli import luigi, newest, outputs
from tests.tiny_detectors import write_mm_grounding_dino
from tests.tiny_faoa import random_faoa, write_faoa
from tests.world import write_own_data

WORDS = ("two people", "a red car")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of six posts, with given phrases and without boxes."""
    root = tmp_path_factory.mktemp("data")
    folder = write_own_data(root, posts=(4, 1, 1))
    posts = [json.loads(line) for line in (folder / "posts.jsonl").read_text().splitlines()]
    for number, post in enumerate(posts):
        post.pop("boxes", None)
        post["phrases"] = [WORDS[number % 2]] if number else []
    (folder / "posts.jsonl").write_text("".join(json.dumps(post) + "\n" for post in posts))
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mm_grounding_dino(tmp_path_factory.mktemp("detector"))


def ground(data: Path, store: Path, *options: str) -> dict[str, Any]:
    """Run GroundCrops. Returns its report."""
    done = luigi("GroundCrops", "--dataset", "own", *options, data=data, store=store)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = newest(store, "GroundCrops", "report.json")
    return report


@pytest.fixture(scope="module")
def grounded(data: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which a detector grounded all posts."""
    store = tmp_path_factory.mktemp("store")
    report = ground(data, store, *detector(weights))
    assert report["grounded_now"]["detector"] == 6
    assert report["regions_by_grounder"]["detector"] >= 6
    return store


def detector(weights: Path) -> tuple[str, ...]:
    return ("--grounder", "detector", "--weights", str(weights), "--min-score", "0.05")


def as_upstream(*options: str) -> list[str]:
    return [option.replace("--", "--GroundCrops-") for option in options]


def test_auto_without_weights_is_salience_and_says_so(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    done = luigi("GroundCrops", "--dataset", "own", data=data, store=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--grounder detector" in done.stderr
    assert newest(tmp_path, "GroundCrops", "report.json")["regions_by_grounder"].keys() == {
        "salience"
    }
    key = newest(tmp_path, "GroundCrops", "manifest.json")["key"]
    assert key["settings"]["grounder"] == "released, salience"


def test_auto_takes_weights_that_are_given(data: Path, weights: Path, tmp_path: Path) -> None:
    report = ground(data, tmp_path, "--weights", str(weights))
    assert report["settings"]["grounder"] == "released, detector"
    key = newest(tmp_path, "GroundCrops", "manifest.json")["key"]
    assert key["settings"]["weights"] == "from disk"
    assert "sha256" in key["sources"]["weights"]


def test_missing_weights_are_an_error_of_one_line(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = luigi(
        "GroundCrops", "--dataset", "own", "--grounder", "detector", data=data, store=tmp_path
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "llmdet_tiny" in done.stderr
    assert "--weights FOLDER" in done.stderr


def test_faoa_asks_for_its_checkpoint(data: Path, tmp_path: Path) -> None:
    done = luigi("GroundCrops", "--dataset", "own", "--grounder", "faoa", data=data, store=tmp_path)
    assert done.returncode != 0
    assert "--grounder faoa: expected --weights" in done.stderr
    assert "Traceback" not in done.stderr


def test_faoa_grounds_by_its_checkpoint(data: Path, tmp_path: Path) -> None:
    write_faoa(random_faoa(), tmp_path)
    checkpoint, words = str(tmp_path / "lstm_flickr_model.pth.tar"), str(tmp_path / "words.json")
    options = ("--grounder", "faoa", "--weights", checkpoint, "--vocabulary", words)
    report = ground(data, tmp_path, *options)
    assert report["grounded_now"]["faoa"] == 6
    assert report["regions_by_grounder"]["faoa"] > 0
    assert report["regions_by_phrases"]["given"] > 0
    key = newest(tmp_path, "GroundCrops", "manifest.json")["key"]
    assert {"weights", "vocabulary"} <= key["sources"].keys()


def test_another_name_with_other_anchors_grounds_again(data: Path, tmp_path: Path) -> None:
    write_faoa(random_faoa(), tmp_path)
    words = str(tmp_path / "words.json")
    answered = []
    for name in ("lstm_flickr_model.pth.tar", "lstm_referit_model.pth.tar"):
        next(tmp_path.glob("*.pth.tar")).rename(tmp_path / name)
        options = ("--grounder", "faoa", "--weights", str(tmp_path / name), "--vocabulary", words)
        answered.append(ground(data, tmp_path, *options)["grounded_now"]["faoa"])
    assert answered == [6, 6]


def test_other_settings_choose_among_cached_answers(
    data: Path, weights: Path, grounded: Path
) -> None:
    report = ground(data, grounded, *detector(weights), "--max-crops", "1", "--order", "phrase")
    assert report["grounded_now"]["detector"] == 0
    assert set(report["posts_by_regions"]) <= {"0", "1"}


def test_options_without_effect_make_nothing_stale(
    data: Path, weights: Path, grounded: Path
) -> None:
    before = len(outputs(grounded, "GroundCrops"))
    ground(data, grounded, *detector(weights), "--batch-size", "1", "--device", "cpu")
    assert len(outputs(grounded, "GroundCrops")) == before


def test_a_changed_sentence_grounds_only_its_post_again(
    data: Path, weights: Path, grounded: Path
) -> None:
    file = data / "own/posts.jsonl"
    whole = file.read_text()
    lines = whole.splitlines(keepends=True)
    lines[1] = json.dumps(json.loads(lines[1]) | {"phrases": ["a dog"]}) + "\n"
    file.write_text("".join(lines))
    try:
        report = ground(data, grounded, *detector(weights))
    finally:
        file.write_text(whole)
    assert report["grounded_now"]["detector"] == 1


def test_show_crops_writes_a_page(data: Path, weights: Path, grounded: Path) -> None:
    options = as_upstream(*detector(weights))
    done = luigi(
        "ShowCrops", "--dataset", "own", "--posts", "3", *options, data=data, store=grounded
    )
    assert done.returncode == 0, done.stderr
    (folder,) = outputs(grounded, "ShowCrops")
    page = (folder / "crops.html").read_text(encoding="utf-8")
    assert page.count("<article") == 3
    assert str(folder / "crops.html") in done.stderr
    again = luigi(
        "ShowCrops", "--dataset", "own", "--posts", "3", *options, data=data, store=grounded
    )
    assert str(folder / "crops.html") in again.stderr
    assert len(outputs(grounded, "ShowCrops")) == 1


def test_crops_are_written_under_published_names(data: Path, weights: Path, grounded: Path) -> None:
    options = as_upstream(*detector(weights))
    done = luigi("WriteCrops", "--dataset", "own", *options, data=data, store=grounded)
    assert done.returncode == 0, done.stderr
    (folder,) = outputs(grounded, "WriteCrops")
    report = json.loads((folder / "report.json").read_text())
    assert report["crops"] == len(list(folder.rglob("*_pred_yolo_crop_*.png")))
    assert report["crops"] > 0
    assert not report["problems"]


def test_a_grounder_is_scored_on_hand_drawn_boxes(
    data: Path, weights: Path, grounded: Path
) -> None:
    posts = read(locate("own", data)).posts
    boxes = data / "own/xml"
    boxes.mkdir(exist_ok=True)
    for post in posts[:3]:
        assert post.tags is not None
        assert post.picture is not None
        start = post.tags.index(next(tag for tag in post.tags if tag != "O"))
        width, height = Image.open(data / post.picture).size
        (boxes / f"{Path(post.picture).stem}.xml").write_text(
            f"<annotation><size><width>{width}</width><height>{height}</height></size><object>"
            f"<name>{post.tokens[start]}</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
            f"<xmax>{width}</xmax><ymax>{height}</ymax></bndbox></object></annotation>"
        )
    options = as_upstream(*detector(weights))
    done = luigi("EvaluateGrounding", "--dataset", "own", *options, data=data, store=grounded)
    assert done.returncode == 0, done.stderr
    metrics = newest(grounded, "EvaluateGrounding", "metrics.json")
    assert metrics["scores"]["whole picture"]["accuracy"] == 100.0
    assert "detector, asked for the entity" in metrics["scores"]
    assert "best centred box" in done.stderr


def test_missing_boxes_are_an_error_of_one_line(data: Path, tmp_path: Path) -> None:
    done = luigi(
        "EvaluateGrounding", "--dataset", "own", "--boxes", "/no/such", data=data, store=tmp_path
    )
    assert done.returncode != 0
    assert "--boxes: expected a file or folder, found nothing at /no/such" in done.stderr
    assert "Traceback" not in done.stderr
