"""Labelled JSON lines, one file per split: NAME/texts/SPLIT/SPLIT.json, NAME/images/SPLIT/."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.corpus import jsonl
from pipeline.corpus.files import Layout, Line, lines
from pipeline.corpus.post import SPLITS, Post

FIELDS = ("id", "image_id", "text", "tokens", "label")
# This layout's name of a field -> its name in posts.jsonl. "text" is not needed beside tokens.
NAMES = {"id": "id", "image_id": "picture", "tokens": "tokens", "label": "tags"}

_FOLDER = {"train": "train", "val": "dev", "test": "test"}  # "dev" in this layout


def candidates(base: Path) -> dict[str, Path]:
    """Return the text file of each split."""
    return {split: base / "texts" / _FOLDER[split] / f"{_FOLDER[split]}.json" for split in SPLITS}


def picture_folder(text: Path) -> Path:
    """Return the folder of the pictures of a split."""
    return text.parents[2] / "images" / text.parent.name


def read(layout: Layout) -> list[Post]:
    """Read all posts. Raises DataError.

    Ids restart in each split, so each gets its split's name as a prefix.
    """
    return jsonl.posts_of(_records(layout), layout.dataset)


def _records(layout: Layout) -> Iterator[tuple[Line, dict[str, Any], str]]:
    for split, text in layout.texts.items():
        pictures = picture_folder(text).relative_to(layout.root).as_posix()
        for line in lines(text):
            given = jsonl.parse(line, FIELDS)
            fields = {name: given[field] for field, name in NAMES.items() if field in given}
            line.need("id" in fields, "an id", sorted(given))
            yield line, {**fields, "id": f"{split}-{fields['id']}", "split": split}, pictures
