"""MNRE: one Python literal per line, a sentence with a head, a tail, a picture and a relation."""

import ast
import json
from pathlib import Path
from typing import Any

from features.errors import need_readable
from pipeline.corpus.files import (
    MAX_BYTES,
    Layout,
    Line,
    Places,
    clip,
    crop_names,
    first_of,
    folder_of,
    is_file_name,
    is_name,
    is_span,
    is_texts,
    lines,
)
from pipeline.corpus.json_lines import each_once
from pipeline.corpus.post import SPLITS, Post
from pipeline.errors import DataError

# In the published order and spelling ("alumi").
RELATIONS = (
    "None",
    "/per/per/parent",
    "/per/per/siblings",
    "/per/per/couple",
    "/per/per/neighbor",
    "/per/per/peer",
    "/per/per/charges",
    "/per/per/alumi",
    "/per/per/alternate_names",
    "/per/org/member_of",
    "/per/loc/place_of_residence",
    "/per/loc/place_of_birth",
    "/org/org/alternate_names",
    "/org/org/subsidiary",
    "/org/loc/locate_at",
    "/loc/loc/contain",
    "/per/misc/present_in",
    "/per/misc/awarded",
    "/per/misc/race",
    "/per/misc/religion",
    "/per/misc/nationality",
    "/misc/misc/part_of",
    "/misc/loc/held_on",
)

_KEYS = ("token", "h", "t", "img_id", "relation")
_DICTIONARY = {"train": "train", "val": "dev", "test": "test"}  # in names of dictionaries


def candidates(data: Path) -> list[dict[str, Path]]:
    """List the text files by split of each accepted layout, the preferred layout first."""
    forms = ("RE_data/txt/ours_{}.txt", "mnre/txt/ours_{}.txt", "mnre/{}.txt")
    return [{split: data / form.format(split) for split in SPLITS} for form in forms]


def places(text: Path, split: str) -> Places:
    """Return the possible places of the files that belong to a text."""
    base = text.parent.parent if text.parent.name == "txt" else text.parent
    beside = tuple(dict.fromkeys((text.parent, base)))
    flat = (base / "pictures", base / "images", base / "img_org")
    return Places(
        pictures=(base / "img_org" / split, *flat),
        crops=(base / "img_vg" / split / "crops",),
        dictionaries=tuple(b / f"mre_{_DICTIONARY[split]}_dict.pth" for b in beside),
        labels=tuple(b / "ours_rel2id.json" for b in beside),
    )


def read(layout: Layout) -> tuple[list[Post], list[str]]:
    """Read all posts, and the relations in label order, "None" first. Raises DataError."""
    posts = []
    relations = _relations(first_of(_labels(layout), layout.extras))
    for split, text in layout.texts.items():
        where = places(text, split)
        crops = crop_names(first_of(where.dictionaries, layout.extras), int)
        pictures = folder_of(where.pictures, layout.pictures, layout.root)
        cut = folder_of(where.crops, layout.crops, layout.root)
        for row, line in enumerate(lines(text)):
            record = _record(line, relations)
            posts.append(
                Post(
                    id=f"{split}-{row}",
                    split=split,
                    tokens=tuple(record["token"]),
                    picture=f"{pictures}/{record['img_id']}",
                    head=tuple(record["h"]["pos"]),
                    tail=tuple(record["t"]["pos"]),
                    relation=record["relation"],
                    crops=None
                    if crops is None
                    else tuple(f"{cut}/{name}" for name in crops.get(row, ())),
                )
            )
    return posts, relations


def _labels(layout: Layout) -> tuple[Path, ...]:
    return places(layout.texts["train"], "train").labels


def _relations(path: Path | None) -> list[str]:
    """Return the relations by number, from the published file if there is one."""
    if path is None:
        return list(RELATIONS)
    need_readable(path)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
        numbers = json.loads(text, object_pairs_hook=each_once)
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {clip(str(error))}") from error
    if (
        not isinstance(numbers, dict)
        or not all(map(is_name, numbers))
        or not all(type(number) is int for number in numbers.values())
        or sorted(numbers.values()) != list(range(len(numbers)))
        or numbers.get("None") != 0
    ):
        raise DataError(
            f'{path}: expected relations numbered from 0 without gaps, "None" 0, '
            f"found {clip(numbers)}"
        )
    return sorted(numbers, key=numbers.__getitem__)


def _record(line: Line, relations: list[str]) -> dict[str, Any]:
    """Read a line's dict and check its fields. Raises DataError."""
    record = _literal(line)
    if not isinstance(record, dict) or not all(key in record for key in _KEYS):
        raise line.error(f"a dict with {', '.join(_KEYS)}", record)
    tokens, picture, relation = record["token"], record["img_id"], record["relation"]
    if not is_texts(tokens) or not tokens:
        raise line.error("token to be a list of strings that aren't empty", tokens)
    for key in ("h", "t"):
        pos = record[key].get("pos") if isinstance(record[key], dict) else record[key]
        expected = f"the pos of {key} to be [start, end) within {len(tokens)} tokens"
        line.need(is_span(pos, len(tokens)), expected, pos)
    line.need(is_file_name(picture), "img_id to be a plain file name", picture)
    line.need(relation in relations, f"one of the {len(relations)} relations", relation)
    return record


def _literal(line: Line) -> object:
    try:
        return ast.literal_eval(line.text)
    # TypeError: a list as a key. RecursionError, MemoryError: nested too deeply for the parser.
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise line.error("a Python dict", line.text) from error
