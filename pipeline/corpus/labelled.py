"""Labelled JSON lines, a file a split: NAME/texts/SPLIT/SPLIT.json and NAME/images/SPLIT/."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.corpus import jsonl
from pipeline.corpus.files import Layout, Line, lines
from pipeline.corpus.post import SPLITS, Post

FIELDS = ("id", "image_id", "text", "tokens", "label")
# Their name -> own data's. The text is what the tokens were cut from.
NAMES = {"id": "id", "image_id": "picture", "tokens": "tokens", "label": "tags"}

_FOLDER = {"train": "train", "val": "dev", "test": "test"}  # "dev" in this layout


def candidates(base: Path) -> dict[str, Path]:
    """The text of each split."""
    return {split: base / "texts" / _FOLDER[split] / f"{_FOLDER[split]}.json" for split in SPLITS}


def picture_folder(text: Path) -> Path:
    """The folder that holds the pictures of a split's posts."""
    return text.parents[2] / "images" / text.parent.name


def read(layout: Layout) -> list[Post]:
    """All posts; ids, which count anew in each split, get its name before. Raises DataError."""
    return jsonl.posts_of(_records(layout), layout.dataset)


def _records(layout: Layout) -> Iterator[tuple[Line, dict[str, Any], str]]:
    for split, text in layout.texts.items():
        pictures = picture_folder(text).relative_to(layout.root).as_posix()
        for line in lines(text):
            given = jsonl.parse(line, FIELDS)
            fields = {ours: given[theirs] for theirs, ours in NAMES.items() if theirs in given}
            line.need("id" in fields, "an id", sorted(given))
            yield line, {**fields, "id": f"{split}-{fields['id']}", "split": split}, pictures
