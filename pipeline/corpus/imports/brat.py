"""brat's standoff: a folder of NAME.txt, each with NAME.ann; a document is a post."""

import re
from pathlib import Path

from pipeline.corpus.files import Line, clip
from pipeline.corpus.imports.source import (
    Mark,
    Marks,
    Place,
    Record,
    Tie,
    decoded,
    marked,
)
from pipeline.corpus.notes import Notes
from pipeline.errors import DataError

_ENTITY = re.compile(r"(T\S+)\t(\S+) (\d{1,9} \d{1,9}(?:;\d{1,9} \d{1,9})*)(?:\t(.*))?")
_RELATION = re.compile(r"(R\S+)\t(\S+) \S+?:(\S+) \S+?:(\S+)\s*")
_PARTED = "spans of several parts are widened to one"
_OTHER = "annotations that are neither entities nor relations are left out"
_ANNOTATION = re.compile(r"[A-Z#*]\S*\t")
_KINDS = "EAMN#*"  # events, attributes, modifications, normalizations, notes, equivalences
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif")


def read(folder: Path, notes: Notes) -> list[Record]:
    """The documents of a folder and its subfolders, by name. Raises DataError."""
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of .txt and .ann files, found a file")
    alone = [a for a in sorted(folder.rglob("*.ann")) if not a.with_suffix(".txt").is_file()]
    if alone:
        raise DataError(f"{alone[0]}: expected its text {alone[0].stem}.txt beside it, found none")
    texts = [path for path in sorted(folder.rglob("*.txt")) if path.is_file()]
    if not texts:
        raise DataError(f"{folder}: expected .txt and .ann files, found none")
    records = [_document(path, folder, notes) for path in texts]
    return [record for record in records if record is not None]


def _document(path: Path, folder: Path, notes: Notes) -> Record | None:
    name = path.relative_to(folder).with_suffix("").as_posix()
    place = Place(folder, 0, f"document {clip(name)}")
    text = decoded(path, path.read_bytes())
    annotations = path.with_suffix(".ann")
    marks = Marks()
    if annotations.is_file():
        rows = decoded(annotations, annotations.read_bytes()).split("\n")
        for number, row in enumerate(rows, start=1):
            if row.strip():
                line = Line(annotations, number, row.rstrip("\r"))
                _add(line, text, marks, notes)
    fields = marked(place, text, marks, notes)
    if fields is None:
        return None
    if not annotations.is_file():
        fields = {"text": text}
    # The picture has the document's name; only its folder says with which suffix.
    pictures = tuple(f"{name}{suffix}" for suffix in _PICTURES)
    return Record(place, {"id": name, **fields}, pictures)


def _add(line: Line, text: str, marks: Marks, notes: Notes) -> None:
    kind = line.text[0] if _ANNOTATION.match(line.text) else ""
    if kind == "T":
        marks.entities.append(_entity(line, text, notes))
    elif kind == "R":
        match = _RELATION.fullmatch(line.text)
        if match is None:
            raise line.error("R1, a tab, and a type with Arg1:T1 Arg2:T2", line.text)
        marks.relations.append(Tie(match[3], match[4], match[2]))
    elif kind and kind in _KINDS:
        notes.add(_OTHER, f"{clip(line.path.name)} line {line.number}")
    else:
        raise line.error(f"an annotation: T, R or one of {_KINDS}, a number, a tab", line.text)


def _entity(line: Line, text: str, notes: Notes) -> Mark:
    match = _ENTITY.fullmatch(line.text)
    if match is None:
        raise line.error("T1, a tab, a type with start and end, a tab, the text", line.text)
    parts = [tuple(map(int, part.split())) for part in match[3].split(";")]
    start, end = min(a for a, _ in parts), max(b for _, b in parts)
    line.need(start < end <= len(text), f"[start, end) within {len(text)} characters", match[3])
    own = " ".join(text[a:b] for a, b in parts)
    same = match[4] is None or match[4].split() == own.split()
    line.need(same, f"the text there, {clip(own)}", match[4], "was the text edited afterwards?")
    if len(parts) > 1:
        notes.add(_PARTED, f"{clip(line.path.name)} {match[1]} {clip(text[start:end])}")
    return Mark(match[1], start, end, match[2])
