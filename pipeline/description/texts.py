"""The texts of a data set's pictures: write them once each, read them by the posts' numbers."""

import json
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pipeline.engine.files import read_json, write_json
from pipeline.errors import StageError

TEXTS, INDEX, ABOUT = "texts.jsonl", "index.npy", "about.json"
NO_TEXT = -1  # in the index

Pictured = tuple[str | None, str]  # a post's picture, None without one, and its text, "" for none


@dataclass
class Counts:
    """Counts of a description, for its report.

    example: a picture's name, for messages; "" if no post has a picture.
    pictures: by the name's hash, as there may be millions; True: the picture has a text.
    """

    posts: int = 0
    posts_with_text: int = 0
    example: str = ""
    pictures: dict[int, bool] = field(default_factory=dict)

    def add(self, picture: str | None, text: str) -> None:
        """Count a post."""
        self.posts += 1
        self.posts_with_text += bool(text)
        if picture is not None:
            self.example = self.example or picture
            name = hash(picture)
            self.pictures[name] = self.pictures.get(name, False) or bool(text)

    def described(self) -> dict[str, int]:
        """Return the counts by name."""
        with_text = sum(self.pictures.values())
        return {
            "posts": self.posts,
            "posts_with_text": self.posts_with_text,
            "pictures": len(self.pictures),
            "pictures_with_text": with_text,
            "pictures_without_text": len(self.pictures) - with_text,
        }


def on_one_line(text: str) -> str:
    """Return the text with each run of whitespace, line breaks included, as one space."""
    return " ".join(text.split())


def write_texts(posts: Iterable[Pictured], made_by: Mapping[str, Any], folder: Path) -> Counts:
    """Write the posts' texts into `folder`, each picture's text once. Returns the counts.

    Files written:
    `texts.jsonl`: a line per picture and text, in the order of the posts: `picture`, `text`, and
        `crc32` of the text in UTF-8.
    `index.npy`: (posts,) int64, the byte at which a post's line begins; NO_TEXT if it has no text.
    `about.json`: `made_by`, the settings that decided the texts.
    """
    counts, index = Counts(), array("q")
    starts: dict[int, int] = {}  # by hash of picture and text
    with (folder / TEXTS).open("wb") as file:
        for picture, text in posts:
            counts.add(picture, text)
            start = NO_TEXT
            if text:
                start = starts.setdefault(hash((picture, text)), file.tell())
                if start == file.tell():
                    file.write(_line(picture, text))
            index.append(start)
    np.save(folder / INDEX, np.array(index, np.int64))
    write_json(folder / ABOUT, {"made_by": dict(made_by)})
    return counts


def _line(picture: str | None, text: str) -> bytes:
    fields = {"picture": picture, "text": text, "crc32": zlib.crc32(text.encode())}
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


class StoredTexts:
    """The texts of a data set's pictures, which the posts are given by number.

    made_by: the settings that decided the texts.
    there: (posts,) bool, True if the post's picture has a text.
    """

    def __init__(self, file: Path, starts: np.ndarray, made_by: dict[str, Any]) -> None:
        self._file, self._starts, self.made_by = file, starts, made_by
        self.there = starts != NO_TEXT

    @classmethod
    def open(cls, folder: Path) -> "StoredTexts":
        """Open an output of DescribePictures. Texts stay on the disk until they are read."""
        starts = np.load(folder / INDEX, allow_pickle=False)
        return cls(folder / TEXTS, starts, read_json(folder / ABOUT)["made_by"])

    def __call__(self, numbers: Sequence[int]) -> list[str]:
        """Return the texts of posts, given by number; "" for a post without one.

        Raises StageError if a line is damaged.
        """
        with self._file.open("rb") as file:
            return [self._read(file, int(start)) for start in self._starts[list(numbers)]]

    def _read(self, file: BinaryIO, start: int) -> str:
        if start == NO_TEXT:
            return ""
        file.seek(start)
        try:
            fields = json.loads(file.readline())
            text = str(fields["text"])
            if zlib.crc32(text.encode()) == fields["crc32"]:
                return text
        except (ValueError, LookupError, TypeError):  # no JSON, no such field, no object
            pass
        raise StageError(
            f"{self._file}: expected a text with the CRC-32 of its line at byte {start}, found a "
            "damaged line; run DescribePictures again"
        )

    def of_others(self, owners: Sequence[int]) -> "StoredTexts":
        """Return texts in which post n has the text of post owners[n]; -1: no text."""
        given = np.asarray(owners)
        others = copy(self)
        others._starts = np.where(given >= 0, self._starts[given], NO_TEXT)
        others.there = others._starts != NO_TEXT
        return others
