"""Shared parts of the readers of exports: places in a file, JSON and JSON lines, records."""

import codecs
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.corpus.files import MAX_BYTES, Line, clip
from pipeline.corpus.json_lines import each_once, read_object
from pipeline.corpus.notes import Notes
from pipeline.corpus.records import entities_of, relations_of, spans_of, words_of
from pipeline.errors import DataError

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "development": "val",
}
OWN_ID = "hvpnet_id"  # the id of a predicted record that was exported to the tool
EMPTY = "posts without text are left out"
SPACES = "entities that are only spaces are left out"
LOOSE = "relations whose head or tail is not an entity are left out"


@dataclass(frozen=True)
class Place(Line):
    """An item of an export; `text` names it, as in "item 3" or by a document's name."""

    @property
    def place(self) -> str:
        """The file and item, for messages."""
        return f"{self.path}, {self.text}"


@dataclass(frozen=True)
class Record:
    """One post: its fields for `posts.jsonl`, and the pictures that the export names."""

    place: Line
    fields: dict[str, Any]
    pictures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mark:
    """An entity of an export with the tool's id; start and end are in characters."""

    id: Any
    start: Any
    end: Any
    label: Any


@dataclass(frozen=True)
class Tie:
    """A relation of an export between the ids of two entities."""

    head: Any
    tail: Any
    label: Any


@dataclass(frozen=True)
class Marks:
    """The annotations of one text."""

    entities: list[Mark] = field(default_factory=list)
    relations: list[Tie] = field(default_factory=list)


def marked(place: Line, text: Any, marks: Marks, notes: Notes) -> dict[str, Any] | None:
    """Return the fields `text`, `entities` and `relations` of a post; None without text.

    Widens spans to whole words. Raises DataError for spans outside the text.
    """
    place.need(isinstance(text, str), "text to be a string", text)
    if not text.strip():
        notes.add(EMPTY, place.text)
        return None
    kept: list[Mark] = []
    for mark in marks.entities:
        span = (mark.start, mark.end)
        if all(type(n) is int and 0 <= n <= len(text) for n in span) and _is_space(text, *span):
            notes.add(SPACES, f"{place.text} [{mark.start}, {mark.end})")
            continue
        kept.append(mark)
    plain = [{"start": m.start, "end": m.end, "label": m.label} for m in kept]
    entities = entities_of(place, plain, text)
    words = words_of(text, None, entities)
    spans = spans_of(text, words, entities, place.text, notes)
    number = {repr(mark.id): n for n, mark in enumerate(kept)}
    relations = []
    for tie in marks.relations:
        head, tail = number.get(repr(tie.head)), number.get(repr(tie.tail))
        if head is None or tail is None or head == tail:
            notes.add(LOOSE, f"{place.text} {clip(tie.label)}")
            continue
        relations.append({"head": head, "tail": tail, "label": tie.label})
    relations_of(place, relations, entities)
    return {
        "text": text,
        "entities": [
            {"start": words[first][0], "end": words[last - 1][1], "label": entity.label}
            for entity, (first, last) in zip(entities, spans, strict=True)
        ],
        "relations": relations,
    }


def _is_space(text: str, start: int, end: int) -> bool:
    return start < end and not text[start:end].strip()


def json_items(path: Path) -> list[tuple[Place, dict[str, Any]]]:
    """Read the objects of a JSON array or of JSON lines. Raises DataError."""
    content = read_bytes(path)
    if content.lstrip()[:1] == b"[":
        values = _array(path, content)
        places = [Place(path, n, f"item {n}") for n in range(1, len(values) + 1)]
    else:
        if (value := _whole_object(path, content)) is not None:
            return [(Place(path, 1, "item 1"), value)]
        rows = [row for row in enumerate(content.split(b"\n"), start=1) if row[1].strip()]
        places = [Place(path, n, f"line {n}") for n, _ in rows]
        lines = [Line(path, n, decoded(path, row)) for n, row in rows]
        values = [read_object(line, export=True) for line in lines]
    for place, value in zip(places, values, strict=True):
        place.need(isinstance(value, dict), "a JSON object", value)
    return list(zip(places, values, strict=True))


def _whole_object(path: Path, content: bytes) -> dict[str, Any] | None:
    """Return a file's only object if it is written on several lines; None for JSON lines."""
    if content.lstrip().partition(b"\n")[0].strip() != b"{":
        return None
    values = _array(path, b"[" + content + b"]")
    return values[0] if len(values) == 1 and isinstance(values[0], dict) else None


def _array(path: Path, content: bytes) -> list[Any]:
    try:
        values = json.loads(decoded(path, content), object_pairs_hook=each_once)
    except (ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {clip(str(error))}") from error
    return list(values)


def read_bytes(path: Path) -> bytes:
    """Read a file without its byte order mark. Raises DataError if it is empty or unreadable."""
    try:
        content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if not content.strip():
        raise DataError(f"{path}: expected posts, found an empty file")
    return content


def decoded(path: Path, content: bytes) -> str:
    """Decode UTF-8. Raises DataError, with the file's name, for any other encoding."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        near = content[max(0, error.start - 20) :][:MAX_BYTES]
        raise DataError(f"{path}: expected UTF-8, found {clip(near)}") from error


def split_field(fields: dict[str, Any]) -> dict[str, str]:
    """Return the field of a post's split if the export has one, under any usual name."""
    split = fields.get("split")
    name = SPLIT_NAMES.get(split.lower()) if isinstance(split, str) else None
    return {} if name is None else {"split": name}


def id_field(fields: Mapping[str, Any], value: object) -> dict[str, Any]:
    """Return the field of a post's id if the export has one.

    value: the tool's id, used unless `fields` has the id of a predicted record.
    """
    id = fields.get(OWN_ID, value)
    return {} if id is None else {"id": id}


def picture_names(fields: dict[str, Any], keys: Sequence[str]) -> tuple[str, ...]:
    """Return the pictures named by the first of `keys` that holds a string or list of strings."""
    for key in keys:
        value = fields.get(key)
        names = value if isinstance(value, list) else [value]
        if names and all(isinstance(name, str) and name for name in names):
            return tuple(names)
    return ()


PICTURE_KEYS = ("picture", "image", "img", "photo", "image_id", "image_url", "image_path", "images")
