"""Own data: NAME/posts.jsonl, a JSON object a line, and NAME/pictures/."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.corpus.files import (
    Layout,
    Line,
    each_once,
    is_file_name,
    is_name,
    is_span,
    is_text,
    is_texts,
    lines,
)
from pipeline.corpus.post import SPLITS, Box, Post, Span

ALL = "all"  # one file for all splits
FIELDS = (
    "id",
    "split",
    "tokens",
    "text",
    "picture",
    "tags",
    "head",
    "tail",
    "relation",
    "phrases",
    "boxes",
)

_TAG = re.compile(r"O|[BI]-\S+")
_TOKEN = re.compile(
    r"""
      (?:https?://|www\.)\S+(?<![.,:;!?'"\u2019\u201d\u2026)\]}>])  # URL, less what ends a sentence
    | [@#]\w+                        # handle, tag
    | &\#?\w+;                       # HTML entity
    | \w+(?:['\u2019-]\w+)*          # word, with apostrophes and hyphens inside it
    | \S                             # any other symbol by itself
    """,
    re.VERBOSE | re.IGNORECASE,
)


def split_text(text: str) -> tuple[str, ...]:
    """A sentence's tokens: URLs, @handles, #tags, HTML entities and words; else single symbols.

    A word keeps its inner apostrophes and hyphens. Only spaces are lost.
    """
    return tuple(_TOKEN.findall(text))


def text_file(base: Path) -> Path:
    """The file that holds a dataset's posts."""
    return base / "posts.jsonl"


def picture_folder(text: Path) -> Path:
    """The folder that holds the pictures of these posts."""
    return text.parent / "pictures"


def read(layout: Layout) -> list[Post]:
    """All posts, in the file's order. Raises DataError."""
    text = layout.texts[ALL]
    pictures = picture_folder(text).relative_to(layout.root).as_posix()
    return posts_of((line, parse(line, FIELDS), pictures) for line in lines(text))


def posts_of(records: Iterable[tuple[Line, dict[str, Any], str]]) -> list[Post]:
    """Posts of lines, their fields by own data's names, and the folder of their pictures."""
    posts: dict[str, Post] = {}
    for line, fields, pictures in records:
        id = _id(line, fields)
        line.need(id not in posts, "an id that was not there before", id)
        tokens = _tokens(line, fields)
        head, tail, relation = _relation(line, fields, len(tokens))
        posts[id] = Post(
            id=id,
            split=_split(line, fields),
            tokens=tokens,
            picture=_picture(line, fields, pictures),
            tags=_tags(line, fields, len(tokens)),
            head=head,
            tail=tail,
            relation=relation,
            phrases=_phrases(line, fields),
            boxes=_boxes(line, fields),
        )
    return list(posts.values())


def parse(line: Line, known: Sequence[str]) -> dict[str, Any]:
    """A line's fields, less those that are null, which say nothing."""
    try:
        fields = json.loads(line.text, object_pairs_hook=each_once)
    except (ValueError, RecursionError, MemoryError) as error:
        raise line.error("a JSON object, each field once", line.text) from error
    if not isinstance(fields, dict):
        raise line.error("a JSON object", fields)
    for name in fields:
        line.need(name in known, f"no other fields than {', '.join(known)}", name)
    return {name: value for name, value in fields.items() if value is not None}


def _id(line: Line, fields: dict[str, Any]) -> str:
    value = fields.get("id")
    id = str(value) if type(value) is int else value
    if not is_name(id):
        raise line.error("id to be a string of one line, or an integer", value)
    return id


def _split(line: Line, fields: dict[str, Any]) -> str:
    split = fields.get("split")
    if split not in SPLITS:
        raise line.error(f"split to be one of {', '.join(SPLITS)}", split)
    return split


def _tokens(line: Line, fields: dict[str, Any]) -> tuple[str, ...]:
    line.need(("tokens" in fields) != ("text" in fields), "either tokens or text", sorted(fields))
    if "text" in fields:
        text = fields["text"]
        line.need(is_text(text) and not text.isspace(), "text to be a sentence", text)
        return split_text(text)
    tokens = fields["tokens"]
    line.need(
        is_texts(tokens) and bool(tokens),
        "tokens to be strings that aren't empty, one at least",
        tokens,
    )
    return tuple(tokens)


def _picture(line: Line, fields: dict[str, Any], folder: str) -> str | None:
    if "picture" not in fields:
        return None
    name = fields["picture"]
    line.need(is_file_name(name), "picture to be a plain file name", name)
    return f"{folder}/{name}"


def _tags(line: Line, fields: dict[str, Any], tokens: int) -> tuple[str, ...] | None:
    if "tags" not in fields:
        return None
    tags = fields["tags"]
    line.need(is_texts(tags), 'tags to be a list of "O", "B-…" and "I-…"', tags)
    line.need(len(tags) == tokens, f"{tokens} tags, one a token", tags)
    for tag in tags:
        known = is_name(tag) and _TAG.fullmatch(tag) is not None
        line.need(known, 'a tag like "O", "B-PER" or "I-PER"', tag)
    return tuple(tags)


def _relation(
    line: Line, fields: dict[str, Any], tokens: int
) -> tuple[Span | None, Span | None, str | None]:
    """Head, tail and relation. Head and tail alone are a question to be answered."""
    given = [name for name in ("head", "tail", "relation") if name in fields]
    if not given:
        return None, None, None
    line.need(
        given[:2] == ["head", "tail"], "head and tail together, and relation with both", given
    )
    for name in ("head", "tail"):
        expected = f"{name} to be [start, end) within {tokens} tokens"
        line.need(is_span(fields[name], tokens), expected, fields[name])
    relation = fields.get("relation")
    line.need(
        relation is None or is_name(relation), "relation to be a string of one line", relation
    )
    head, tail = fields["head"], fields["tail"]
    return (head[0], head[1]), (tail[0], tail[1]), relation


def _phrases(line: Line, fields: dict[str, Any]) -> tuple[str, ...] | None:
    if "phrases" not in fields:
        return None
    phrases = fields["phrases"]
    line.need(is_texts(phrases), "phrases to be a list of strings that aren't empty", phrases)
    return tuple(phrases)


def _boxes(line: Line, fields: dict[str, Any]) -> tuple[Box, ...] | None:
    if "boxes" not in fields:
        return None
    boxes = fields["boxes"]
    line.need(isinstance(boxes, list), "boxes to be a list", boxes)
    for box in boxes:
        expected = "a box to be x0, y0, x1, y1 in pixels, x0 < x1 and y0 < y1"
        line.need(_is_box(box), expected, box)
    return tuple((float(x0), float(y0), float(x1), float(y1)) for x0, y0, x1, y1 in boxes)


def _is_box(box: object) -> bool:
    """Four finite numbers in order. The limit keeps out NaN and what no float can hold."""
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(type(number) in (int, float) and -1e9 < number < 1e9 for number in box)
        and box[0] < box[2]
        and box[1] < box[3]
    )
