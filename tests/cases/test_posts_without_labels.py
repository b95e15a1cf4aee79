"""A saved model predicts posts that nobody has labelled."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import corpus
from pipeline.corpus.labels import relation_labels, tag_labels
from pipeline.corpus.post import Post
from pipeline.errors import DataError
from pipeline.extraction.config import ExtractConfig, PictureFiles
from pipeline.training.config import SCRATCH, TrainConfig
from pipeline.training.evaluate import evaluate_into
from pipeline.training.head_of import HEADS
from pipeline.training.possible import check_evaluation, check_training
from pipeline.training.results import evaluation
from pipeline.training.train import open_pictures, train
from tests.cli import luigi
from tests.tiny import SHARED
from tests.world import extract_posts

CASE = SHARED / "cases" / "posts-without-labels"
CONFIG = TrainConfig(
    encoder=SCRATCH, variant="text-only", epochs=1, evaluate_from=1, learning_rate=1e-3
)
LABELS = {"re": relation_labels, "ner": tag_labels}
needs_case = pytest.mark.skipif(not CASE.exists(), reason="the cases are not there")


def trained(folder: Path, task: str, posts: list[Post], files: PictureFiles | None = None) -> Path:
    """A model's folder after an epoch."""
    config = CONFIG if files is None else replace(CONFIG, variant="hvpnet")
    pictures = open_pictures(files, finetune=False)
    train(HEADS[task], posts, LABELS[task](posts), config, pictures, folder, "cpu")
    return folder / "model"


def evaluated(
    folder: Path, model: Path, posts: list[Post], files: PictureFiles | None = None
) -> tuple[list[dict[str, Any]], Mapping[str, Any]]:
    """The lines of `predictions.jsonl`, and the figures."""
    folder.mkdir(exist_ok=True)
    (folder / "posts.jsonl").write_text("".join(post.to_json() + "\n" for post in posts))
    evaluate_into(folder, model, folder, files, "cpu", "float32", {})
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").open()]
    return lines, json.loads((folder / "metrics.json").read_text())


@needs_case
@pytest.mark.parametrize(
    ("task", "data", "field"),
    [("re", "unseen", "predicted_relation"), ("ner", "unseen_text", "predicted_tags")],
)
def test_the_case(task: str, data: str, field: str, tmp_path: Path) -> None:
    seen, unseen = (corpus.read(corpus.locate(n, CASE / "data")).posts for n in ("seen", data))
    lines, found = evaluated(tmp_path / "e", trained(tmp_path, task, seen), unseen)
    assert [line["id"] for line in lines] == [post.id for post in unseen]
    assert all(field in line for line in lines)
    assert "test" not in found
    assert "val" not in found
    assert found["posts"]["test"] == len(unseen)
    assert found["labelled"]["test"] == 0
    [line, _] = evaluation(tmp_path / "e")
    kind = {"re": "relation", "ner": "tags"}[task]
    assert line == (
        f"test  {len(unseen)} of {len(unseen)} posts have no {kind}: predicted, not scored"
    )


def without(posts: list[Post], *ids: str) -> list[Post]:
    """The same posts, of which these have no labels."""
    return [replace(p, relation=None, tags=None) if p.id in ids else p for p in posts]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Post], PictureFiles]:
    config = ExtractConfig(backbone="resnet18", weights="random", size=64)
    return extract_posts(tmp_path_factory.mktemp("world"), config)


@pytest.mark.parametrize("task", ["re", "ner"])
def test_partly_labelled_splits_with_pictures(
    task: str, world: tuple[list[Post], PictureFiles], tmp_path: Path
) -> None:
    posts, files = world
    model = trained(tmp_path, task, posts, files)
    expected, whole = evaluated(tmp_path / "all", model, posts, files)
    bare = [post.id for post in posts if post.split == "test"][::2]
    lines, found = evaluated(tmp_path / "some", model, without(posts, *bare), files)
    labels = {"tags", "relation"}
    assert [{k: v for k, v in line.items() if k not in labels} for line in lines] == [
        {k: v for k, v in line.items() if k not in labels} for line in expected
    ]
    assert found["val"] == whole["val"]
    scored = [line for line in expected if line["split"] == "test" and line["id"] not in bare]
    gold, answer = {"re": ("relation", "predicted_relation"), "ner": ("tags", "predicted_tags")}[
        task
    ]
    figures = HEADS[task].scores([line[gold] for line in scored], [line[answer] for line in scored])
    assert {name: found["test"][name] for name in figures} == figures
    assert found["labelled"]["test"] == found["posts"]["test"] - len(bare)
    assert (
        f"test  {len(bare)} of {found['posts']['test']} posts" in evaluation(tmp_path / "some")[2]
    )


TEXT = Post("1", "test", ("Ann", "in", "Oslo"))


def test_what_cannot_be_predicted_or_trained_is_one_line() -> None:
    model = Path("run/model")
    with pytest.raises(DataError, match=r"run/model: .* head and tail, found none among 1; "):
        check_evaluation("re", [TEXT], model)
    check_evaluation("ner", [TEXT], model)
    check_evaluation("re", [TEXT, replace(TEXT, head=(0, 1), tail=(2, 3))], model)
    with pytest.raises(DataError, match="split val or test"):
        check_evaluation("ner", [replace(TEXT, split="train")], model)
    with pytest.raises(DataError, match="tags in split 'train'"):
        check_training("ner", [TEXT])


def test_it_is_said_before_pictures_are_grounded(tmp_path: Path) -> None:
    """Of a model of relations with pictures, on posts without head and tail; likewise training."""
    own = tmp_path / "data/own"
    (own / "pictures").mkdir(parents=True)
    (own / "posts.jsonl").write_text('{"id": 1, "split": "test", "text": "Ann in Oslo"}\n')
    model = tmp_path / "model"
    model.mkdir()
    told = {"architectures": ["RelationExtractor"], "variant": "hvpnet"}
    (model / "config.json").write_text(json.dumps(told))
    where = {"store": tmp_path / "store", "data": tmp_path / "data"}
    done = luigi("Evaluate", "--dataset", "own", "--model", str(model), **where)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    [line] = [line for line in done.stderr.splitlines() if "expected posts" in line]
    assert f"{model}: predicts the relation of a post's head to its tail" in line
    assert not list((tmp_path / "store").glob("*/own-*"))
    done = luigi("TrainRE", "--dataset", "own", **where)
    assert done.returncode != 0
    [line] = [line for line in done.stderr.splitlines() if "expected posts" in line]
    assert "expected posts with a relation in split 'train' to train on, found none" in line
    assert not list((tmp_path / "store").glob("*/own-*"))


def test_a_tokenizer_that_is_gone_is_said_before_pictures_are_grounded(tmp_path: Path) -> None:
    own = tmp_path / "data/own"
    (own / "pictures").mkdir(parents=True)
    post = {"text": "Ann in Oslo", "head": [0, 1], "tail": [2, 3], "relation": "in"}
    (own / "posts.jsonl").write_text(
        "".join(json.dumps({"id": s, "split": s, **post}) + "\n" for s in ("train", "val"))
    )
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    (encoder / "config.json").write_text('{"model_type": "bert"}')
    where = {"store": tmp_path / "store", "data": tmp_path / "data"}
    done = luigi("TrainRE", "--dataset", "own", "--encoder", str(encoder), **where)
    assert done.returncode != 0
    [line] = [line for line in done.stderr.splitlines() if "tokenizer" in line]
    assert f"{encoder}: the tokenizer's files are missing: expected tokenizer.json" in line
    assert not list((tmp_path / "store").glob("*/own-*"))
