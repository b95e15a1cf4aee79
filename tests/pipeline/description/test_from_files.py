"""The describer `file`: texts found by the pictures' names."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.description.from_files import describe_from_files
from pipeline.description.texts import StoredTexts
from pipeline.errors import DataError

POSTS = ("data/img/train/a.jpg", "data/img/test/a.jpg", "data/img/b.jpg", None, "data/img/c.jpg")


def write(path: Path, *lines: tuple[str, str]) -> Path:
    """Write a file of picture texts."""
    fields = ({"picture": picture, "text": text} for picture, text in lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in fields), encoding="utf-8")
    return path


def described(root: Path, *files: Path) -> tuple[list[str], dict[str, Any]]:
    """Describe POSTS. Returns their texts and the report."""
    folder = root / "out"
    folder.mkdir()
    describe_from_files(iter(POSTS), files, "own", {"describer": "file"}, folder)
    texts = StoredTexts.open(folder)(range(len(POSTS)))
    return texts, json.loads((folder / "report.json").read_text())


def test_a_name_is_the_path_or_its_last_parts(tmp_path: Path) -> None:
    lines = [("b.jpg", "bee"), ("data/img/c.jpg", "sea"), ("train/a.jpg", "ay"), ("g/b.jpg", "no")]
    texts, report = described(tmp_path, write(tmp_path / "f.jsonl", *lines))
    assert texts == ["ay", "", "bee", "", "sea"]
    counts = {"posts": 5, "posts_with_text": 3, "pictures": 4, "pictures_with_text": 3}
    counts |= {"pictures_without_text": 1, "texts_without_post": 1}
    assert report.items() >= counts.items()


def test_a_last_part_may_be_that_of_several_pictures(tmp_path: Path) -> None:
    texts, report = described(tmp_path, write(tmp_path / "f.jsonl", ("a.jpg", "both")))
    assert texts == ["both", "both", "", "", ""]
    lines = (tmp_path / "out/texts.jsonl").read_text().splitlines()
    assert [json.loads(line)["picture"] for line in lines] == [*POSTS[:2]]
    assert report["texts_without_post"] == 0


def test_texts_of_files_are_joined_in_their_order(tmp_path: Path) -> None:
    first = write(tmp_path / "1.jsonl", ("b.jpg", "one"), ("c.jpg", "only"))
    second = write(tmp_path / "2.jsonl", ("b.jpg", "two"))
    assert described(tmp_path, first, second)[0][2:] == ["one two", "", "only"]


def test_texts_of_one_file_are_joined_in_their_order_and_counted(tmp_path: Path) -> None:
    lines = [("b.jpg", "x"), ("c.jpg", "z"), ("img/b.jpg", "y"), ("b.jpg", "x"), ("c.jpg", "z")]
    texts, report = described(tmp_path, write(tmp_path / "f.jsonl", *lines))
    assert texts[2:] == ["x y", "", "z"]
    assert report["pictures_with_several_texts"] == 1


def test_whitespace_becomes_single_spaces_and_an_empty_text_none(tmp_path: Path) -> None:
    lines = [("b.jpg", " a\n\tb\u2028c "), ("c.jpg", " \n")]
    texts, report = described(tmp_path, write(tmp_path / "f.jsonl", *lines))
    assert texts[2:] == ["a b c", "", ""]
    assert report["pictures_with_text"] == 1
    assert report["texts_without_post"] == 0


def test_a_file_with_a_byte_order_mark_and_line_ends_of_windows(tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    rows = '{"picture": "b.jpg", "text": "ö"}\r\n{"picture": "c.jpg", "text": "ü"}\r\n'
    file.write_bytes(b"\xef\xbb\xbf" + rows.encode())
    assert described(tmp_path, file)[0][2:] == ["ö", "", "ü"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a caption", "a JSON object, found"),
        ('["b.jpg", "text"]', "a JSON object; write one object per line"),
        ('{"text": "t"}', '"picture": the name of a picture file, found None'),
        ('{"picture": "", "text": "t"}', "\"picture\": the name of a picture file, found ''"),
        ('{"picture": 7, "text": "t"}', '"picture": the name of a picture file, found 7'),
        ('{"picture": "b.jpg"}', '"text": a string, found None'),
        ('{"picture": "b.jpg", "text": ["t"]}', "\"text\": a string, found ['t']"),
        ('{"picture": "b.jpg", "text": "\\ud800"}', '"text": a string, found'),
        ('{"picture": "b.jpg", "text": "t", "text": "u"}', "each field once, found"),
        ("", "a JSON object, found ''"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, expected: str) -> None:
    file = write(tmp_path / "f.jsonl", ("b.jpg", "fine"))
    file.write_text(f'{file.read_text()}{line}\n{{"picture": "c.jpg", "text": "t"}}\n')
    with pytest.raises(DataError) as error:
        described(tmp_path, file)
    assert str(error.value).startswith(f"{file}, line 2: expected {expected}")
    assert "\n" not in str(error.value)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected picture texts, found an empty file"):
        described(tmp_path, write(tmp_path / "f.jsonl"))


def test_a_file_without_a_text_for_any_post_shows_a_name_of_each(tmp_path: Path) -> None:
    good, other = tmp_path / "good.jsonl", tmp_path / "other.jsonl"
    write(good, ("b.jpg", "t"))
    write(other, ("17.png", "t"), ("b.jpeg", "t"))
    with pytest.raises(DataError) as error:
        described(tmp_path, good, other)
    assert str(error.value) == (
        f"{other}: expected texts of pictures of own, such as 'data/img/train/a.jpg'; found texts "
        "of other pictures, such as '17.png'"
    )
