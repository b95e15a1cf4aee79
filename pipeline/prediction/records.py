"""Read and check a record: a post in the format of prediction's input and output."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from PIL.Image import Image

from features.pictures import Box, Source
from pipeline.corpus.files import Line, is_name, is_span, is_text, is_texts
from pipeline.corpus.jsonl import FIELDS, boxes_of, known_fields, phrases_of
from pipeline.corpus.post import Span
from pipeline.corpus.records import Entity, entities_of
from pipeline.corpus.words import token_spans, word_spans

PICTURE_TEXT = "picture_text"  # a field of records alone: data sets have DescribePictures
PICTURES = "pictures"  # the folder of pictures beside a file of own posts


@dataclass(frozen=True)
class Item(Line):
    """The place of a record passed in Python; `number` counts from 1."""

    @property
    def place(self) -> str:
        """The record's name in messages."""
        return f"record {self.number}"


@dataclass(frozen=True)
class Record:
    """One post to predict.

    line: the record's place, for messages.
    words: [start, end) of each word in characters of `text`.
    entities: the record's own entities, between which relations are predicted.
    pair: head and tail, [start, end) in words.
    pictures: the picture, then pictures to use as its crops.
    picture_text: what the picture says in words, "" for nothing; None: not known.
    given: fields that the answer repeats.
    """

    line: Line
    text: str
    words: tuple[Span, ...]
    entities: tuple[Entity, ...] | None = None
    pair: tuple[Span, Span] | None = None
    pictures: tuple[Source, ...] = ()
    phrases: tuple[str, ...] | None = None
    boxes: tuple[Box, ...] | None = None
    picture_text: str | None = None
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The words of the text."""
        return tuple(self.text[start:end] for start, end in self.words)


def item(number: int) -> Item:
    """Return the place of a record passed in Python; `number` counts from 1."""
    return Item(Path(), number, "")


def read_record(line: Line, value: Mapping[str, Any], base: Path) -> Record:
    """Check a record's fields and return the record; fields of labels and answers are ignored.

    base: the folder to which picture paths are relative. A picture that is not there is looked for
    in `base/pictures`, the folder for pictures of own posts. Raises DataError with one line that
    names the record.
    """
    names = all(isinstance(name, str) for name in value)
    line.need(names, "names of fields to be strings", [*value])
    known = known_fields(line, value, (*FIELDS, PICTURE_TEXT), {})
    fields = {name: _lists(field_value) for name, field_value in known.items()}
    text, words = _text(line, fields)
    entities = None
    if "entities" in fields:
        entities = tuple(entities_of(line, fields["entities"], text, untyped=True))
        if "tokens" not in fields:
            words = word_spans(text, [n for e in entities for n in (e.start, e.end)])
    return Record(
        line=line,
        text=text,
        words=tuple(words),
        entities=entities,
        pair=_pair(line, fields, len(words)),
        pictures=_pictures(line, fields.get("picture"), base),
        phrases=phrases_of(line, fields),
        boxes=boxes_of(line, fields),
        picture_text=_picture_text(line, fields),
        given=_given(line, fields),
    )


def _text(line: Line, fields: Mapping[str, Any]) -> tuple[str, list[Span]]:
    """Return the text, which may be empty, and the spans of its words."""
    line.need("tokens" in fields or "text" in fields, "text or tokens", sorted(fields))
    text, tokens = fields.get("text"), fields.get("tokens")
    if text is not None:
        line.need(text == "" or is_text(text), "text to be a string of characters", text)
    if tokens is None:
        return str(text), word_spans(str(text))
    line.need(is_texts(tokens), "tokens to be strings that aren't empty", tokens)
    text = " ".join(tokens) if text is None else text
    spans = token_spans(text, tokens)
    if spans is None:
        advice = "give only tokens or only text"
        raise line.error("tokens to be those of text, in its order", tokens, advice)
    return text, spans


def _pair(line: Line, fields: Mapping[str, Any], words: int) -> tuple[Span, Span] | None:
    if "head" not in fields and "tail" not in fields:
        return None
    spans: list[Span] = []
    for name in ("head", "tail"):
        span = fields.get(name)
        line.need(is_span(span, words), f"{name} to be [start, end) within {words} tokens", span)
        assert span is not None
        spans.append((span[0], span[1]))
    return spans[0], spans[1]


def _pictures(line: Line, value: Any, base: Path) -> tuple[Source, ...]:
    values = value if isinstance(value, list) else [] if value is None else [value]
    return tuple(_picture(line, picture, base) for picture in values)


def _picture(line: Line, value: Any, base: Path) -> Source:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, Image):
        return value
    named = isinstance(value, PathLike) or (is_text(value) and "\0" not in value)
    line.need(named, "picture to be a path, the bytes of a file, or a PIL image", value)
    path, beside = base / os.path.expanduser(value), base / PICTURES / value
    return beside if os.path.isfile(beside) and not os.path.exists(path) else path


def _picture_text(line: Line, fields: Mapping[str, Any]) -> str | None:
    text = fields.get(PICTURE_TEXT)
    good = text is None or text == "" or is_text(text)
    line.need(good, f"{PICTURE_TEXT} to be a string of characters", text)
    return text


def _given(line: Line, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that the answer repeats, without those that JSON cannot hold."""
    id = fields.get("id")
    good = id is None or type(id) is int or is_name(id)
    line.need(good, "id to be a string of one line, or an integer", id)
    repeated = ("id", "tokens", "phrases", "boxes", PICTURE_TEXT)
    given = {name: fields[name] for name in repeated if name in fields}
    picture = fields.get("picture")
    if isinstance(picture, list) and all(isinstance(name, (str, PathLike)) for name in picture):
        given["picture"] = [os.fspath(name) for name in picture]
    elif isinstance(picture, (str, PathLike)):
        given["picture"] = os.fspath(picture)
    return given


def _lists(value: Any) -> Any:
    """Turn tuples, which Python code may pass, into lists as in JSON."""
    return [*map(_lists, value)] if isinstance(value, (list, tuple)) else value
