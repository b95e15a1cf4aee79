"""Checks that a task can be done on the posts."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.corpus.post import Post
from pipeline.errors import DataError, SettingError
from pipeline.training.head_of import HEADS
from pipeline.training.possible import check_labels, check_texts_chosen, check_training, repeated

POST = Post("17#0", "test", ("Ada", "joins", "Globex"), head=(0, 1), tail=(2, 3))
POSTS = [
    POST,
    replace(POST, id="17#1"),
    replace(POST, id="17#2", tokens=("another", "sentence")),  # another sentence: not a repetition
    replace(POST, id="18#1"),  # there is no post 18#0
    replace(POST, id="plain"),
]


def test_a_sentence_with_several_relations_is_one_post_for_entities() -> None:
    assert repeated(POSTS) == {1}
    assert list(HEADS["ner"].readable(POSTS, "test")) == [0, 2, 3, 4]
    assert list(HEADS["re"].readable(POSTS, "test")) == [0, 1, 2, 3, 4]


def model_of(folder: Path, *labels: str) -> Path:
    (folder / "config.json").write_text(json.dumps({"id2label": dict(enumerate(labels))}))
    return folder


def test_relations_that_a_model_does_not_have_are_refused(tmp_path: Path) -> None:
    model = model_of(tmp_path, "None", "works", *"abcd")
    check_labels("re", [replace(POST, relation="works"), POST], model)
    with pytest.raises(DataError) as caught:
        check_labels("re", [POST, replace(POST, relation="no rel")], model)
    assert str(caught.value) == (
        f"{model}: expected labels that the model has (None, works, a, b, c and 1 more), found "
        "'no rel' in post '17#0'; if it means no relation, give --ReadPosts-none-label 'no rel'; "
        "rename the labels, or leave them out of val and test to predict without scores"
    )
    check_labels("ner", [replace(POST, relation="no rel")], model)


def test_tags_that_a_model_does_not_have_are_refused(tmp_path: Path) -> None:
    model = model_of(tmp_path, "O", "B-PER", "I-PER")
    posts = [POST, replace(POST, id="9", split="val", tags=("B-PER", "O", "B-ORG"))]
    with pytest.raises(DataError, match="found 'B-ORG' in post '9'; rename the labels"):
        check_labels("ner", posts, model)
    check_labels("ner", [replace(posts[1], split="train"), POST], model)


@pytest.mark.parametrize(
    ("task", "labels", "missing"),
    [
        ("re", {"relation": "None"}, "relations other than None"),
        ("ner", {"tags": ("O", "O", "O")}, "tags other than O"),
    ],
)
def test_labels_that_are_all_equal_are_refused(
    task: str, labels: dict[str, Any], missing: str
) -> None:
    posts = [replace(POST, split=split, **labels) for split in ("train", "val")]
    with pytest.raises(DataError, match=f"expected {missing} in the posts, found none"):
        check_training(task, posts)
    full: dict[str, Any] = {"relation": "works", "tags": ("B-PER", "O", "O")}
    check_training(task, [replace(POST, split=split, **full) for split in ("train", "val")])


def test_a_model_of_texts_from_files_needs_those_of_its_data_set(tmp_path: Path) -> None:
    made_by = {"describer": "file", "files": ["captions", "objects"]}
    (tmp_path / "config.json").write_text(json.dumps({"texts": made_by}))
    check_texts_chosen(tmp_path, is_chosen=True)
    with pytest.raises(SettingError, match=r"from files \(captions, objects\); .*--knowledge-from"):
        check_texts_chosen(tmp_path, is_chosen=False)
    (tmp_path / "config.json").write_text(json.dumps({"texts": {"describer": "ocr"}}))
    check_texts_chosen(tmp_path, is_chosen=False)
