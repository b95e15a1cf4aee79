"""CoNLL: a token and its tag a line (2 columns, or 4: token, part of speech, chunk, tag)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.corpus.files import Line, is_name, lines
from pipeline.corpus.imports.source import SPLIT_NAMES, Record
from pipeline.corpus.jsonl import is_tag
from pipeline.corpus.notes import Notes
from pipeline.errors import DataError

_SUFFIXES = ("", ".txt", ".conll", ".bio", ".iob", ".iob2", ".io", ".bioes", ".tsv")


def read(path: Path, notes: Notes) -> list[Record]:
    """The sentences of a file; of a folder, those of its files named train, valid (dev), test.

    Blank lines end a sentence, -DOCSTART- lines are skipped, an IMGID:n line names the picture.
    """
    if not path.is_dir():
        return _file(path, None)
    files = [f for f in sorted(path.iterdir()) if f.suffix in _SUFFIXES and f.is_file()]
    named = [(SPLIT_NAMES[f.stem.lower()], f) for f in files if f.stem.lower() in SPLIT_NAMES]
    if not named:
        raise DataError(f"{path}: expected files named train, valid or dev, and test, found none")
    return [record for split, file in named for record in _file(file, split)]


def _file(path: Path, split: str | None) -> list[Record]:
    records = []
    for first, picture, rows in _sentences(path):
        fields: dict[str, Any] = {"tokens": [], "tags": []}
        if split is not None:
            fields["split"] = split
        for columns in rows:
            fields["tokens"].append(columns[0])
            fields["tags"].append(columns[-1])
        if picture is not None:
            fields["id"] = picture
        records.append(Record(first, fields, () if picture is None else (f"{picture}.jpg",)))
    return records


def _sentences(path: Path) -> Iterator[tuple[Line, str | None, list[list[str]]]]:
    """The first line, the picture's number if there is one, and the columns of each sentence."""
    rows: list[list[str]] = []
    first: Line | None = None
    picture: str | None = None
    width = 0
    for line in lines(path):
        columns = line.text.split("\t") if "\t" in line.text else line.text.split()
        image = columns[0].startswith("IMGID:") if len(columns) == 1 else False
        if not columns or columns[0] == "-DOCSTART-" or image:
            if first is not None and rows:
                yield first, picture, rows
            rows, first = [], None
            picture = columns[0].removeprefix("IMGID:") if image else None
            continue
        width = width or len(columns)
        line.need(
            len(columns) == width and width > 1 and all(columns),
            f"{width if width > 1 else '2 or 4'} columns, the token first and the tag last",
            line.text,
        )
        line.need(is_name(columns[-1]) and is_tag(columns[-1]), "a tag like B-PER", columns[-1])
        first = first or line
        rows.append(columns)
    if first is not None and rows:
        yield first, picture, rows
