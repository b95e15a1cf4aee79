"""Stored texts: what was written is read, and damage is noticed."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.description.texts import StoredTexts, on_one_line, write_texts
from pipeline.errors import StageError

POSTS = [("a.jpg", "a dog"), (None, ""), ("b.jpg", ""), ("a.jpg", "a dog"), ("c.jpg", "ein Bär")]
TEXTS = ["a dog", "", "", "a dog", "ein Bär"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_texts(POSTS, {"describer": "file", "files": ["f"]}, tmp_path)
    return tmp_path


def test_what_was_written_is_read(folder: Path) -> None:
    stored = StoredTexts.open(folder)
    assert stored(range(5)) == TEXTS
    assert stored([4, 1, 0, 0]) == ["ein Bär", "", "a dog", "a dog"]
    assert stored([]) == []
    assert stored.there.tolist() == [True, False, False, True, True]
    assert stored.made_by == {"describer": "file", "files": ["f"]}


def test_each_text_is_written_once_with_its_crc(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "texts.jsonl").read_text().splitlines()]
    assert lines == [  # CRCs by gzip
        {"picture": "a.jpg", "text": "a dog", "crc32": 0xBC2FE6B1},
        {"picture": "c.jpg", "text": "ein Bär", "crc32": 0xC6ACE8FC},
    ]
    index = np.load(folder / "index.npy")
    assert index.dtype == np.int64
    assert index.tolist()[:4] == [0, -1, -1, 0]


def test_a_picture_may_have_another_text_in_another_post(tmp_path: Path) -> None:
    counts = write_texts([("a", "x"), ("a", "y"), ("a", ""), ("b", "x")], {}, tmp_path)
    assert StoredTexts.open(tmp_path)(range(4)) == ["x", "y", "", "x"]
    assert counts.described() == {
        "posts": 4,
        "posts_with_text": 3,
        "pictures": 2,
        "pictures_with_text": 2,
        "pictures_without_text": 0,
    }


def test_no_texts_at_all(tmp_path: Path) -> None:
    write_texts([("a", ""), (None, "")], {}, tmp_path)
    stored = StoredTexts.open(tmp_path)
    assert stored([0, 1]) == ["", ""]
    assert not stored.there.any()


def test_texts_of_other_posts(folder: Path) -> None:
    stored = StoredTexts.open(folder)
    others = stored.of_others([4, 0, -1, 1, 2])
    assert others(range(5)) == ["ein Bär", "a dog", "", "", ""]
    assert others.there.tolist() == [True, True, False, False, False]
    assert stored(range(5)) == TEXTS


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"a dog", b"a hog"), (b'"text"', b'"note"'), (b"{", b"["), (b'{"picture"', b"7\n        ")],
)
def test_a_damaged_line_is_noticed(folder: Path, before: bytes, after: bytes) -> None:
    file = folder / "texts.jsonl"
    file.write_bytes(file.read_bytes().replace(before, after, 1))
    stored = StoredTexts.open(folder)
    with pytest.raises(StageError) as error:
        stored([0])
    assert str(error.value).startswith(f"{file}: expected a text with the CRC-32 of its line")
    assert "\n" not in str(error.value)
    assert stored([1, 4]) == ["", "ein Bär"]


def test_a_line_that_is_cut_off_is_noticed(folder: Path) -> None:
    file = folder / "texts.jsonl"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(StageError, match="damaged line"):
        StoredTexts.open(folder)([4])


def test_whitespace_becomes_one_space() -> None:
    assert on_one_line("\n a  b\r\n\u2028c\u00a0") == "a b c"
