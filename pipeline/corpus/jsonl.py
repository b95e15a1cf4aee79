"""The user's own data: NAME/posts.jsonl, one JSON object per line, and NAME/pictures/."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.corpus.config import DEFAULT, ReadConfig
from pipeline.corpus.files import (
    Layout,
    Line,
    is_file_name,
    is_name,
    is_span,
    is_text,
    is_texts,
    lines,
)
from pipeline.corpus.json_lines import misspelt, read_object
from pipeline.corpus.labels import NO_RELATION
from pipeline.corpus.notes import Notes
from pipeline.corpus.post import SPLITS, Box, Post, Span
from pipeline.corpus.records import (
    entities_of,
    pairs_of,
    relations_of,
    spans_of,
    tags_of,
    words_of,
)
from pipeline.corpus.splits import assign
from pipeline.corpus.tags import PREFIXES, as_bio
from pipeline.corpus.words import split_text, token_spans

__all__ = ["ALL", "FIELDS", "check_record", "parse", "posts_of", "read", "split_text"]

ALL = "all"  # one file for all splits
FIELDS = (
    "id",
    "split",
    "tokens",
    "text",
    "picture",
    "tags",
    "entities",
    "head",
    "tail",
    "relation",
    "relations",
    "phrases",
    "boxes",
)
# Other fields of predictions; they are ignored.
ANSWERS = (
    *("score", "truncated", "picture_status", "regions", "explanation", "error", "picture_text"),
    *("predicted_tags", "predicted_entities", "predicted_relation"),
)
PICTURES_ADVICE = "ImportPosts --format records copies pictures from elsewhere into pictures/"

_TAG = re.compile(rf"O|[{PREFIXES}]-\S+")
log = logging.getLogger(__name__)


def text_file(base: Path) -> Path:
    """Return the file of a data set's posts."""
    return base / "posts.jsonl"


def picture_folder(text: Path) -> Path:
    """Return the folder of the posts' pictures."""
    return text.parent / "pictures"


def read(layout: Layout, config: ReadConfig = DEFAULT) -> list[Post]:
    """Read all posts, in the file's order. Raises DataError."""
    text = layout.texts[ALL]
    pictures = picture_folder(text).relative_to(layout.root).as_posix()
    ignored: dict[str, int] = {}
    posts = posts_of(
        ((line, parse(line, FIELDS, ignored), pictures) for line in lines(text)),
        layout.dataset,
        config,
    )
    if ignored:
        names = ", ".join(f"{name} ({n} posts)" for name, n in list(ignored.items())[:10])
        log.info("%s: unknown fields are ignored: %s", layout.dataset, names)
    return posts


@dataclass(frozen=True)
class _Sentence:
    """A line's posts, one per relation; splits and the tagging scheme are settled afterwards.

    Only the first post has tags, so that the sentence counts once for entities. A post without a
    split has "".
    """

    posts: list[Post]
    tagged: bool  # the line has tags, in a scheme that only the whole data set shows


def posts_of(
    records: Iterable[tuple[Line, dict[str, Any], str]],
    dataset: str,
    config: ReadConfig = DEFAULT,
) -> list[Post]:
    """Make the posts of all lines. Raises DataError.

    records: each line, its fields under own data's names, and the folder of its pictures.
    """
    sentences: list[_Sentence] = []
    ids: set[str] = set()
    notes = Notes()
    for number, (line, fields, pictures) in enumerate(records):
        sentence = _sentence(line, {"id": number, **fields}, pictures, config, notes)
        for post in sentence.posts:
            advice = "" if "id" in fields else "posts without an id are numbered: give all an id"
            line.need(post.id not in ids, "an id not used before", post.id, advice)
            ids.add(post.id)
        sentences.append(sentence)
    notes.log(dataset)
    splits = _splits(sentences, dataset, config)
    tags = iter(as_bio([s.posts[0].tags or () for s in sentences if s.tagged], dataset))
    posts = []
    for sentence, split in zip(sentences, splits, strict=True):
        first, *others = sentence.posts
        first = replace(first, tags=next(tags)) if sentence.tagged else first
        posts += [replace(post, split=split) for post in (first, *others)]
    if len(posts) > len(sentences):
        log.info(
            "%s: %d sentences make %d posts, one for each relation",
            *(dataset, len(sentences), len(posts)),
        )
    return posts


def _splits(sentences: Sequence[_Sentence], dataset: str, config: ReadConfig) -> list[str]:
    given = [sentence.posts[0].split or None for sentence in sentences]
    missing = given.count(None)
    if missing:
        shares = ",".join(map(str, config.split))
        log.info(
            "%s: %d posts have no split: drawn by --split %s with --split-seed %d",
            *(dataset, missing, shares, config.split_seed),
        )
    pictures = [_all_pictures(sentence.posts[0]) for sentence in sentences]
    return assign(given, pictures, config.split, config.split_seed)


def _all_pictures(post: Post) -> tuple[str, ...]:
    return () if post.picture is None else (post.picture, *(post.crops or ()))


def _sentence(
    line: Line, fields: dict[str, Any], pictures: str, config: ReadConfig, notes: Notes
) -> _Sentence:
    tokens = _tokens(line, fields)
    picture, crops = _pictures(line, fields, pictures)
    head, tail, relation = _relation(line, fields, len(tokens), config)
    post = Post(
        id=_id(line, fields),
        split=_split(line, fields),
        tokens=tokens,
        picture=picture,
        tags=_tags(line, fields, len(tokens)),
        head=head,
        tail=tail,
        relation=relation,
        phrases=phrases_of(line, fields),
        boxes=boxes_of(line, fields),
        crops=crops,
    )
    line.need(
        post.boxes is None or post.crops is None,
        "either boxes in one picture or several pictures",
        sorted(fields),
    )
    return _Sentence(_instances(line, fields, post, config, notes), post.tags is not None)


def _instances(
    line: Line, fields: dict[str, Any], post: Post, config: ReadConfig, notes: Notes
) -> list[Post]:
    """Make the posts of a record, one per relation but at least one; only the first has tags."""
    if "entities" not in fields:
        line.need("relations" not in fields, "entities beside relations", sorted(fields))
        return [post]
    line.need("tags" not in fields, "either tags or entities", sorted(fields))
    text = fields.get("text", " ".join(post.tokens))
    entities = entities_of(line, fields["entities"], text)
    words = words_of(text, fields.get("tokens"), entities)
    name = f"post {post.id}"
    spans = spans_of(text, words, entities, name, notes)
    tags = tags_of(len(words), spans, entities, name, notes)
    post = replace(post, tokens=tuple(text[a:b] for a, b in words), tags=tags)
    if "relations" not in fields:
        # Without tokens, entities may split words further, and head and tail count words.
        good = post.head is None or "tokens" in fields
        line.need(good, "head and tail beside tokens, or relations", sorted(fields))
        return [post]
    line.need(post.head is None, "either relations or head and tail", sorted(fields))
    relations = relations_of(line, fields["relations"], entities)
    pairs = pairs_of(relations, spans, config.unlabelled_pairs)
    if not pairs:
        return [post]
    return [
        replace(
            post,
            id=post.id if len(pairs) == 1 else f"{post.id}#{number}",
            tags=None if number else tags,
            head=head,
            tail=tail,
            relation=_named(label, config),
        )
        for number, (head, tail, label) in enumerate(pairs)
    ]


def parse(
    line: Line, known: Sequence[str], ignored: dict[str, int] | None = None
) -> dict[str, Any]:
    """Read a line's fields; null is read as if the field were missing.

    known: names of the fields to return.
    ignored: counts the unknown fields by name; a misspelt field is an error. If None, every
        unknown field is an error.
    """
    return known_fields(line, read_object(line), known, ignored)


def known_fields(
    line: Line,
    fields: Mapping[str, Any],
    known: Sequence[str],
    ignored: dict[str, int] | None = None,
) -> dict[str, Any]:
    """Check the fields of a JSON object as `parse` does."""
    for name in fields:
        if name in known or (ignored is not None and name in ANSWERS):
            continue
        near = misspelt(name, tuple(known))
        if ignored is None or near is not None:
            advice = f"did you mean {near}?" if near else ""
            line.need(False, f"no other fields than {', '.join(known)}", name, advice)
        elif len(ignored) < 1000:
            ignored[name] = ignored.get(name, 0) + 1
    return {name: fields[name] for name in known if fields.get(name) is not None}


def check_record(line: Line, fields: dict[str, Any], notes: Notes) -> None:
    """Raise DataError unless the fields can be read as a post."""
    _sentence(line, {"id": line.number, **fields}, "pictures", DEFAULT, notes)


def is_tag(tag: str) -> bool:
    """Return True if a tag is O or has a prefix of a tagging scheme."""
    return _TAG.fullmatch(tag) is not None


def _id(line: Line, fields: dict[str, Any]) -> str:
    value = fields.get("id")
    id = str(value) if type(value) is int else value
    if not is_name(id):
        raise line.error("id to be a string of one line, or an integer", value)
    return id


def _split(line: Line, fields: dict[str, Any]) -> str:
    if "split" not in fields:
        return ""
    split: str = fields["split"]
    line.need(split in SPLITS, f"split to be one of {', '.join(SPLITS)}", split)
    return split


def _tokens(line: Line, fields: dict[str, Any]) -> tuple[str, ...]:
    line.need("tokens" in fields or "text" in fields, "tokens or text", sorted(fields))
    text = fields.get("text", "x")
    line.need(is_text(text) and not text.isspace(), "text to be a sentence", text)
    if "tokens" not in fields:
        return split_text(text)
    tokens = fields["tokens"]
    line.need(
        is_texts(tokens) and bool(tokens),
        "tokens to be strings that aren't empty, at least one",
        tokens,
    )
    if "text" in fields:
        same = token_spans(text, tokens) is not None
        advice = "give only tokens or only text"
        line.need(same, "tokens to be those of text, in its order", tokens, advice)
    return tuple(tokens)


def _pictures(
    line: Line, fields: dict[str, Any], folder: str
) -> tuple[str | None, tuple[str, ...] | None]:
    """Return the picture and, if there are several, the others, which are used as crops."""
    if "picture" not in fields:
        return None, None
    names = fields["picture"]
    names = names if isinstance(names, list) else [names]
    for name in names:
        advice = PICTURES_ADVICE if isinstance(name, str) and "/" in name else ""
        line.need(is_file_name(name), "picture to be a plain file name", name, advice)
    paths = [f"{folder}/{name}" for name in dict.fromkeys(names)]
    return (paths[0] if paths else None), (tuple(paths[1:]) if len(paths) > 1 else None)


def _tags(line: Line, fields: dict[str, Any], tokens: int) -> tuple[str, ...] | None:
    if "tags" not in fields:
        return None
    tags = fields["tags"]
    line.need(is_texts(tags), 'tags to be a list of "O", "B-…" and "I-…"', tags)
    line.need(len(tags) == tokens, f"{tokens} tags, one per token", tags)
    for tag in tags:
        line.need(is_name(tag) and is_tag(tag), 'a tag like "O", "B-PER" or "I-PER"', tag)
    return tuple(tags)


def _relation(
    line: Line, fields: dict[str, Any], tokens: int, config: ReadConfig
) -> tuple[Span | None, Span | None, str | None]:
    """Return head, tail and relation. Head and tail alone ask for a prediction."""
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
    return (head[0], head[1]), (tail[0], tail[1]), _named(relation, config)


def _named(relation: str | None, config: ReadConfig) -> str | None:
    """Return a relation's name; the data's own name for "no relation" becomes NO_RELATION."""
    return NO_RELATION if relation is not None and relation == config.none_label else relation


def phrases_of(line: Line, fields: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the phrases of a post; None if it has no such field. Raises DataError."""
    if "phrases" not in fields:
        return None
    phrases = fields["phrases"]
    line.need(is_texts(phrases), "phrases to be a list of strings that aren't empty", phrases)
    return tuple(phrases)


def boxes_of(line: Line, fields: dict[str, Any]) -> tuple[Box, ...] | None:
    """Return the boxes of a post; None if it has no such field. Raises DataError."""
    if "boxes" not in fields:
        return None
    boxes = fields["boxes"]
    line.need(isinstance(boxes, list), "boxes to be a list", boxes)
    for box in boxes:
        expected = "a box to be x0, y0, x1, y1 in pixels, x0 < x1 and y0 < y1"
        line.need(_is_box(box), expected, box)
    return tuple((float(x0), float(y0), float(x1), float(y1)) for x0, y0, x1, y1 in boxes)


def _is_box(box: object) -> bool:
    """Return True for x0, y0, x1, y1 with x0 < x1 and y0 < y1.

    The limits exclude NaN, infinities and integers too large for a float.
    """
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(type(number) in (int, float) and -1e9 < number < 1e9 for number in box)
        and box[0] < box[2]
        and box[1] < box[3]
    )
