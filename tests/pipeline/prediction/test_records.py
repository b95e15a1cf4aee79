"""Test reading records to predict, and one-line errors for wrong ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.corpus.records import Entity
from pipeline.errors import DataError
from pipeline.prediction.records import Record, item, read_record


def read(base: Path = Path(), /, **fields: Any) -> Record:
    return read_record(item(3), fields, base)


def refused(**fields: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(**fields)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_text_is_split_into_words() -> None:
    record = read(text="Ada  joins\tGlobex! 🎉")
    assert record.tokens == ("Ada", "joins", "Globex", "!", "🎉")
    assert [record.text[a:b] for a, b in record.words] == [*record.tokens]


def test_tokens_are_kept_and_joined_by_blanks() -> None:
    record = read(tokens=["Ada", "joins", "Globex!"])
    assert (record.text, record.tokens) == ("Ada joins Globex!", ("Ada", "joins", "Globex!"))
    assert read(tokens=("a", "b"), text="a  b").text == "a  b"


def test_nothing_to_read_is_a_record() -> None:
    assert read(text="").tokens == read(text=" \n").tokens == read(tokens=[]).tokens == ()


def test_entities_cut_words_as_in_training() -> None:
    record = read(text="love #Globex", entities=[{"start": 6, "end": 12}])
    assert record.tokens == ("love", "#", "Globex")
    assert record.entities == (Entity(6, 12, ""),)


def test_head_and_tail_are_a_pair() -> None:
    assert read(tokens=["a", "b", "c"], head=[0, 1], tail=[2, 3]).pair == ((0, 1), (2, 3))


def test_labels_and_answers_are_not_read() -> None:
    record = read(
        tokens=["a"], tags=["O"], split="test", predicted_tags=["O"], regions=[], truncated=False
    )
    assert record.entities is None


def test_id_tokens_phrases_boxes_and_names_are_given_back() -> None:
    given = read(id=7, tokens=["a"], phrases=["a dog"], boxes=[(0, 0, 9, 9)], picture="x.jpg").given
    assert given == {
        "id": 7, "tokens": ["a"], "phrases": ["a dog"], "boxes": [[0, 0, 9, 9]], "picture": "x.jpg"
    }  # fmt: skip
    assert read(text="a", picture=b"bytes").given == {}


def test_where_pictures_are(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for name in ("pictures/own.jpg", "pictures/both.jpg", "both.jpg"):
        (tmp_path / name).touch()
    names = ("own.jpg", "both.jpg", "missing.jpg", "/else/where.jpg")
    found = [read(tmp_path, text="a", picture=name).pictures[0] for name in names]
    assert found == [
        tmp_path / "pictures/own.jpg",
        tmp_path / "both.jpg",
        tmp_path / "missing.jpg",
        Path("/else/where.jpg"),
    ]


def test_pictures_in_memory() -> None:
    image = Image.new("RGB", (4, 4))
    assert read(text="a", picture=b"x").pictures == (b"x",)
    assert read(text="a", picture=image).pictures == (image,)
    assert read(text="a", picture=["a.jpg", "b.jpg"]).pictures == (Path("a.jpg"), Path("b.jpg"))


def test_names_that_are_no_strings() -> None:
    fields: Any = {5: "a", "text": "a"}
    with pytest.raises(DataError, match="record 3: expected names of fields to be strings"):
        read_record(item(3), fields, Path())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": 1}, "record 3: expected text or tokens, found ['id']"),
        ({"text": 5}, "record 3: expected text to be a string of characters, found 5"),
        ({"text": "\ud800"}, "record 3: expected text to be a string of characters"),
        ({"tokens": ["a", ""]}, "record 3: expected tokens to be strings that aren't empty"),
        ({"tokens": "a b"}, "record 3: expected tokens to be strings that aren't empty"),
        ({"text": "a b", "tokens": ["b", "a"]}, "record 3: expected tokens to be those of text"),
        ({"text": "a", "pictures": "x"}, "found 'pictures'; did you mean picture?"),
        ({"text": "a", "picture": 5}, "expected picture to be a path, the bytes of a file, or a"),
        ({"text": "a", "picture": np.zeros(3)}, "expected picture to be a path"),
        ({"text": "a", "picture": ""}, "expected picture to be a path"),
        ({"text": "a", "id": [1]}, "expected id to be a string of one line, or an integer"),
        ({"text": "a", "entities": [{"start": 0, "end": 2}]}, "within 1 characters, found [0, 2]"),
        ({"text": "a", "boxes": [[9, 9, 0, 0]]}, "expected a box to be x0, y0, x1, y1"),
        ({"tokens": ["a"], "head": [0, 1]}, "expected tail to be [start, end) within 1 tokens"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line(fields: dict[str, Any], message: str) -> None:
    assert message in refused(**fields)
