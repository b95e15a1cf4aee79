"""Twitter-2015 and Twitter-2017: `IMGID:n`, then on each line a token, a tab and its BIO tag.

The user's own data in this form has the same layout under its own name, and any entity types.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pipeline.corpus.files import (
    Layout,
    Line,
    Places,
    crop_names,
    first_of,
    folder_of,
    is_file_name,
    is_name,
    lines,
)
from pipeline.corpus.json_lines import import_advice
from pipeline.corpus.post import SPLITS, Post
from pipeline.corpus.tags import PREFIXES, as_bio

DATASETS = ("twitter2015", "twitter2017")

_TEXT = {"train": "train", "val": "valid", "test": "test"}  # names of the text files
_TAG = re.compile(r"O|[BI]-(?:PER|LOC|ORG|MISC|OTHER)")
_OWN_TAG = re.compile(rf"O|[{PREFIXES}]-\S+")


def candidates(data: Path, dataset: str) -> list[dict[str, Path]]:
    """List the text files by split of each accepted layout, the preferred layout first."""
    bases = (data / "NER_data" / dataset, data / dataset)
    return [{split: base / f"{_TEXT[split]}.txt" for split in SPLITS} for base in bases]


def places(text: Path, split: str) -> Places:
    """Return the possible places of the files that belong to a text in the data set's folder."""
    base, dataset = text.parent, text.parent.name
    around = (base, base.parent)
    return Places(
        pictures=(*(a / f"{dataset}_images" for a in around), base / "pictures", base / "images"),
        crops=tuple(a / f"{dataset}_aux_images" / split / "crops" for a in around),
        dictionaries=tuple(a / f"{dataset}_{split}_dict.pth" for a in around),
    )


def read(layout: Layout) -> list[Post]:
    """Read all posts; the IMGIDs are their ids, and unique. Raises DataError.

    Published tags have four types; OTHER is read as MISC. Own tags may have any type and scheme.
    """
    published = layout.dataset in DATASETS
    pair = _pair if published else _own_pair
    advice = "" if published else f"texts without IMGID lines: {import_advice('conll')}"
    posts, seen = [], set()
    for split, text in layout.texts.items():
        where = places(text, split)
        crops = crop_names(first_of(where.dictionaries, layout.extras), str)
        pictures = folder_of(where.pictures, layout.pictures, layout.root)
        cut = folder_of(where.crops, layout.crops, layout.root)
        for start, words in _tweets(text, advice):
            number = start.text.removeprefix("IMGID:")
            picture = f"{number}.jpg"
            named = bool(number) and is_file_name(picture)
            start.need(named, "IMGID:<a picture's plain file name>", start.text)
            start.need(number not in seen, "an IMGID not used before", start.text)
            start.need(bool(words), "tokens after IMGID", start.text)
            seen.add(number)
            pairs = [pair(word) for word in words]
            posts.append(
                Post(
                    id=number,
                    split=split,
                    tokens=tuple(token for token, _ in pairs),
                    picture=f"{pictures}/{picture}",
                    tags=tuple(tag for _, tag in pairs),
                    crops=None
                    if crops is None
                    else tuple(f"{cut}/{name}" for name in crops.get(picture, ())),
                )
            )
    tags = as_bio([post.tags or () for post in posts], layout.dataset)
    return [replace(post, tags=bio) for post, bio in zip(posts, tags, strict=True)]


def _tweets(path: Path, advice: str) -> Iterator[tuple[Line, list[Line]]]:
    """Yield each tweet's IMGID line and token lines; a blank line or the file's end closes it.

    advice: what to do if there is no IMGID line.
    """
    start: Line | None = None
    words: list[Line] = []
    for line in lines(path):
        opens = line.text.startswith("IMGID:") and "\t" not in line.text
        if not (opens or line.text == ""):
            line.need(start is not None, "IMGID:<id> before a tweet's tokens", line.text, advice)
            words.append(line)
            continue
        if start is not None:
            yield start, words
        start, words = (line if opens else None), []
    if start is not None:
        yield start, words


def _pair(line: Line) -> tuple[str, str]:
    """Return token and tag on a line of a published data set."""
    token, tag = _split(line)
    line.need(
        _TAG.fullmatch(tag) is not None,
        "O, or B- or I- with PER, LOC, ORG or MISC",
        tag,
        "for types of your own, rename the folder and give its new name with --dataset",
    )
    return token, tag.replace("OTHER", "MISC")


def _own_pair(line: Line) -> tuple[str, str]:
    """Return token and tag on a line of the user's own data."""
    token, tag = _split(line)
    known = _OWN_TAG.fullmatch(tag) is not None and is_name(tag)
    line.need(known, 'a tag like "O", "B-PER" or "I-PER"', tag)
    return token, tag


def _split(line: Line) -> tuple[str, str]:
    """Split a line at its tab. Nothing is stripped: a token may be a no-break space."""
    token, tab, tag = line.text.partition("\t")
    line.need(bool(token and tab), "a token, a tab and a tag", line.text)
    return token, tag
