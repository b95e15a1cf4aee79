"""brat's standoff format: a folder of NAME.txt, each with NAME.ann; a document is a post."""

import codecs
import re
from collections.abc import Sequence
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
from pipeline.corpus.post import Span
from pipeline.errors import DataError

_ENTITY = re.compile(r"(T\S+)\t(\S+) (\d{1,9} \d{1,9}(?:;\d{1,9} \d{1,9})*)(?:\t(.*))?")
_RELATION = re.compile(r"(R\S+)\t(\S+) \S+?:(\S+) \S+?:(\S+)\s*")
_BOM = codecs.BOM_UTF8.decode()
_PARTED = "spans of several parts are merged into one"
_OTHER = "annotations that are neither entities nor relations are left out"
_ANNOTATION = re.compile(r"[A-Z#*]\S*\t")
_KINDS = "EAMN#*"  # events, attributes, modifications, normalizations, notes, equivalences
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif")


def read(folder: Path, notes: Notes) -> list[Record]:
    """Read the documents of a folder and its subfolders, sorted by name. Raises DataError."""
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of .txt and .ann files, found a file")
    annotated = _visible(folder, "*.ann")
    without_text = [file for file in annotated if not file.with_suffix(".txt").is_file()]
    if without_text:
        first = without_text[0]
        raise DataError(f"{first}: expected its text {first.stem}.txt beside it, found none")
    texts = _visible(folder, "*.txt")
    if not texts:
        raise DataError(f"{folder}: expected .txt and .ann files, found none")
    records = [_document(path, folder, notes) for path in texts]
    return [record for record in records if record is not None]


def _visible(folder: Path, pattern: str) -> list[Path]:
    """List the files in a folder and its subfolders, without hidden ones (macOS's `._a.txt`)."""
    files = [path for path in sorted(folder.rglob(pattern)) if path.is_file()]
    return [f for f in files if not any(p.startswith(".") for p in f.relative_to(folder).parts)]


def _document(path: Path, folder: Path, notes: Notes) -> Record | None:
    name = path.relative_to(folder).with_suffix("").as_posix()
    place = Place(folder, 0, f"document {clip(name)}")
    text = decoded(path, path.read_bytes())
    annotations = path.with_suffix(".ann")
    marks = Marks()
    if annotations.is_file():
        rows = decoded(annotations, annotations.read_bytes()).removeprefix(_BOM).split("\n")
        lines = [Line(annotations, number, row.rstrip("\r")) for number, row in enumerate(rows, 1)]
        text = _fitting(text, lines)
        for line in lines:
            if line.text.strip():
                _add(line, text, marks, notes)
    text = text.replace(_BOM, " ", 1) if text.startswith(_BOM) else text
    fields = marked(place, text, marks, notes)
    if fields is None:
        return None
    if not annotations.is_file():
        fields = {"text": text}
    # The picture has the document's name, and any of these suffixes.
    pictures = tuple(f"{name}{suffix}" for suffix in _PICTURES)
    return Record(place, {"id": name, **fields}, pictures)


def _add(line: Line, text: str, marks: Marks, notes: Notes) -> None:
    kind = line.text[0] if _ANNOTATION.match(line.text) else ""
    if kind == "T":
        entity = _entity(line, text, notes)
        new = all(entity.id != other.id for other in marks.entities)
        line.need(new, "an id not used before", entity.id)
        marks.entities.append(entity)
    elif kind == "R":
        match = _RELATION.fullmatch(line.text)
        if match is None:
            raise line.error("R1, a tab, and a type with Arg1:T1 Arg2:T2", line.text)
        marks.relations.append(Tie(match[3], match[4], match[2]))
    elif kind and kind in _KINDS:
        notes.add(_OTHER, f"{clip(line.path.name)} line {line.number}")
    else:
        raise line.error(f"an annotation: T, R or one of {_KINDS}, a number, a tab", line.text)


def _fitting(text: str, lines: Sequence[Line]) -> str:
    """Return the text in the form that the offsets count.

    The form is with or without a byte order mark, with line ends of two characters or one: the
    first form in which every entity's text is at its place, or the file's if none fits.
    """
    matches = [match for line in lines if (match := _ENTITY.fullmatch(line.text)) is not None]
    forms = (text, text.removeprefix(_BOM))
    for form in (*forms, *(form.replace("\r\n", "\n") for form in forms)):
        if all(_has_its_text(match, form) for match in matches):
            return form
    return text


def _has_its_text(match: re.Match[str], text: str) -> bool:
    return match[4] is None or match[4].split() == _text_of(_parts(match), text).split()


def _parts(match: re.Match[str]) -> list[Span]:
    pairs = (part.split() for part in match[3].split(";"))
    return [(int(start), int(end)) for start, end in pairs]


def _text_of(parts: Sequence[Span], text: str) -> str:
    return " ".join(text[start:end] for start, end in parts)


def _entity(line: Line, text: str, notes: Notes) -> Mark:
    match = _ENTITY.fullmatch(line.text)
    if match is None:
        raise line.error("T1, a tab, a type with start and end, a tab, the text", line.text)
    parts = _parts(match)
    start, end = min(a for a, _ in parts), max(b for _, b in parts)
    line.need(start < end <= len(text), f"[start, end) within {len(text)} characters", match[3])
    expected = f"the text there, {clip(_text_of(parts, text))}"
    line.need(_has_its_text(match, text), expected, match[4], "was the text edited afterwards?")
    if len(parts) > 1:
        notes.add(_PARTED, f"{clip(line.path.name)} {match[1]} {clip(text[start:end])}")
    return Mark(match[1], start, end, match[2])
