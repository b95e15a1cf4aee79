"""CoNLL: a token and its tag per line (2 columns, or 4: token, part of speech, chunk, tag)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.corpus.files import Line, clip, is_name, lines
from pipeline.corpus.imports.source import SPLIT_NAMES, Record
from pipeline.corpus.jsonl import is_tag
from pipeline.corpus.notes import Notes
from pipeline.errors import DataError

_COMMENTS = "lines are comments, which are left out"
_ENDINGS = {".train": "train", ".testa": "val", ".testb": "test", ".dev": "val", ".test": "test"}
_SUFFIXES = ("", ".txt", ".conll", ".bio", ".iob", ".iob2", ".io", ".bioes", ".tsv")


def read(path: Path, notes: Notes) -> list[Record]:
    """Read the sentences of a file, or of a folder's files named train, valid (dev) and test.

    Blank lines end a sentence, -DOCSTART- lines are skipped, an IMGID:n line names the picture.
    """
    if not path.is_dir():
        return _file(path, None, notes)
    visible = [f for f in sorted(path.iterdir()) if f.is_file() and not f.name.startswith(".")]
    files = [f for f in visible if f.suffix in _SUFFIXES]
    named = [(SPLIT_NAMES[f.stem.lower()], f) for f in files if f.stem.lower() in SPLIT_NAMES]
    # CoNLL-2003 has eng.train, eng.testa and eng.testb.
    named = named or [(_ENDINGS[f.suffix], f) for f in visible if f.suffix in _ENDINGS]
    if not named:
        names = ", ".join(clip(f.name) for f in visible[:3]) or "none"
        raise DataError(
            f"{path}: expected files named train, valid or dev, and test, found {names}"
        )
    return [record for split, file in named for record in _file(file, split, notes)]


def _file(path: Path, split: str | None, notes: Notes) -> list[Record]:
    records = []
    for first, picture, rows in _sentences(path, notes):
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


def _sentences(path: Path, notes: Notes) -> Iterator[tuple[Line, str | None, list[list[str]]]]:
    """Yield each sentence: its first line, its picture's number if any, and its columns."""
    rows: list[list[str]] = []
    first: Line | None = None
    picture: str | None = None
    width = 0
    for line in lines(path):
        text = line.text.rstrip(" \t")
        columns = text.split("\t") if "\t" in text else text.split()
        image = columns[0].startswith("IMGID:") if len(columns) == 1 else False
        if not columns or columns[0] == "-DOCSTART-" or image:
            if first is not None and rows:
                yield first, picture, rows
            rows, first = [], None
            picture = columns[0].removeprefix("IMGID:") if image else None
            continue
        if not rows and columns[0].startswith("#") and not is_tag(columns[-1]):
            notes.add(_COMMENTS, f"{clip(path.name)} line {line.number}")
            continue
        width = width or len(columns)
        line.need(
            len(columns) == width and width > 1 and all(columns),
            f"{width if width > 1 else '2 or 4'} columns, the token first and the tag last",
            line.text,
        )
        good = is_name(columns[-1]) and is_tag(columns[-1])
        line.need(good, "a tag like B-PER", columns[-1], "" if good else _advice(columns))
        first = first or line
        rows.append(columns)
    if first is not None and rows:
        yield first, picture, rows


def _advice(columns: Sequence[str]) -> str:
    """Advise on a line whose last column is not a tag."""
    if len(columns) == 10 and columns[0].replace("-", "").replace(".", "").isdecimal():
        return "CoNLL-U has no column of entities: write token and tag with a tab between them"
    if is_tag(columns[0]):
        return "write the token first and the tag last"
    return "write token and tag; a tag is O, or B- or I- with a type"
