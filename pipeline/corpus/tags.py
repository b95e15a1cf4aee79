"""Tagging schemes: recognise the scheme of a whole data set and convert its tags to BIO."""

import logging
import re
from collections.abc import Sequence
from mmap import ACCESS_READ, mmap
from pathlib import Path

from features.errors import need_readable
from pipeline.errors import DataError

BIO, IO, IOB1 = "BIO", "IO", "IOB1"
_OUTSIDE = "O"
# The letters of a scheme beside B and I, for the last token of an entity and for a single token.
_SCHEMES = {"BIOES": "ES", "BILOU": "LU", "BMEOS": "MES"}
PREFIXES = "BIESLUM"
_ALONE, _ENDS = "SU", "ESLU"
_MEANING = {
    IO: "I- opens an entity after O or another type; adjacent tokens of one type are one entity",
    IOB1: "I- opens an entity after O or another type, B- after an entity of the same type",
}

_OPENING_B = re.compile(rb'(?:\[|"O",)\s*"B-')  # first in a JSON list, or after O

log = logging.getLogger(__name__)


def as_bio(sentences: Sequence[Sequence[str]], dataset: str) -> list[tuple[str, ...]]:
    """Convert a data set's tags to BIO, and log it if they are in another scheme.

    Raises DataError if the prefixes fit no scheme.
    """
    scheme = check_scheme(sentences, dataset)
    if scheme == BIO:
        return [tuple(tags) for tags in sentences]
    meaning = _MEANING.get(scheme, "each entity opens with B-")
    log.info("%s: tags are %s, read as BIO: %s", dataset, scheme, meaning)
    return [to_bio(tags) for tags in sentences]


def check_scheme(sentences: Sequence[Sequence[str]], dataset: str) -> str:
    """Return the scheme of a data set's tags. Raises DataError if the prefixes fit none."""
    scheme = scheme_of(sentences)
    if scheme is None:
        prefixes = sorted({tag[0] for tags in sentences for tag in tags if tag != _OUTSIDE})
        raise DataError(
            f"{dataset}: expected tags of one scheme (BIO, IO, IOB1, BIOES, BILOU), found the "
            f"prefixes {', '.join(prefixes)} together; use one scheme in all posts"
        )
    return scheme


def scheme_of(sentences: Sequence[Sequence[str]]) -> str | None:
    """Return the scheme of a data set's tags, or None if the prefixes fit none.

    Tags of B and I are BIO if any B- opens an entity after O or at a sentence's start: entities
    that open with I- are then mistakes, and left as they are. Else I- opens entities, and B- only
    separates adjacent entities of one type (IOB1) or does not occur (IO).
    """
    letters = {tag[0] for tags in sentences for tag in tags if tag != _OUTSIDE}
    if more := letters - set("BI"):
        fitting = [name for name, others in _SCHEMES.items() if more <= set(others)]
        fitting = [name for name in fitting if name != "BMEOS" or "I" not in letters]
        return fitting[0] if fitting else None
    if "I" not in letters or any(_opened_by_b(tags) for tags in sentences):
        return BIO
    return IOB1 if "B" in letters else IO


def may_open_by_i(file: Path) -> bool:
    """Return True if a JSON file's tags may be IO or IOB1, False if they are BIO or missing.

    Searches the bytes without parsing them. This is fast: BIO has an opening B- near the start of
    the file, and posts without tags have no I-. Raises AccessError.
    """
    need_readable(file)
    if not file.is_file() or file.stat().st_size == 0:
        return False
    with file.open("rb") as opened, mmap(opened.fileno(), 0, access=ACCESS_READ) as content:
        return content.find(b'"I-') >= 0 and _OPENING_B.search(content) is None


def _opened_by_b(tags: Sequence[str]) -> bool:
    before = (_OUTSIDE, *tags)
    return any(
        tag.startswith("B-") and last == _OUTSIDE for last, tag in zip(before, tags, strict=False)
    )


def to_bio(tags: Sequence[str]) -> tuple[str, ...]:
    """Convert a sentence's tags from any other scheme to BIO, where B- opens every entity."""
    converted = []
    last = _OUTSIDE
    for tag in tags:
        if tag == _OUTSIDE:
            converted.append(tag)
        else:
            opens = tag[0] in f"B{_ALONE}" or last == _OUTSIDE
            opens = opens or last[2:] != tag[2:] or last[0] in _ENDS
            converted.append(("B-" if opens else "I-") + tag[2:])
        last = tag
    return tuple(converted)
