"""Tagging schemes: told apart over a whole data set, and read as BIO."""

import logging
import re
from collections.abc import Sequence
from mmap import ACCESS_READ, mmap
from pathlib import Path

from features.errors import need_readable
from pipeline.errors import DataError

BIO, IO, IOB1 = "BIO", "IO", "IOB1"
_OUTSIDE = "O"
# The letters that a scheme has beside B and I: what ends an entity, what is one alone.
_SCHEMES = {"BIOES": "ES", "BILOU": "LU", "BMEOS": "MES"}
PREFIXES = "BIESLUM"
_ALONE, _ENDS = "SU", "ESLU"
_MEANING = {
    IO: "I- opens an entity after O or another type; neighbours of one type are one entity",
    IOB1: "I- opens an entity after O or another type, B- after one of the same type",
}

_OPENING_B = re.compile(rb'(?:\[|"O",)\s*"B-')  # in a JSON list, first or after O

log = logging.getLogger(__name__)


def as_bio(sentences: Sequence[Sequence[str]], dataset: str) -> list[tuple[str, ...]]:
    """A data set's tags as BIO; one line of the log says so where they were in another scheme.

    Raises DataError where prefixes are of no scheme.
    """
    scheme = check_scheme(sentences, dataset)
    if scheme == BIO:
        return [tuple(tags) for tags in sentences]
    meaning = _MEANING.get(scheme, "each entity opens with B-")
    log.info("%s: tags are %s, read as BIO: %s", dataset, scheme, meaning)
    return [to_bio(tags) for tags in sentences]


def check_scheme(sentences: Sequence[Sequence[str]], dataset: str) -> str:
    """The scheme of a data set's tags. Raises DataError where prefixes are of no scheme."""
    scheme = scheme_of(sentences)
    if scheme is None:
        prefixes = sorted({tag[0] for tags in sentences for tag in tags if tag != _OUTSIDE})
        raise DataError(
            f"{dataset}: expected tags of one scheme (BIO, IO, IOB1, BIOES, BILOU), found the "
            f"prefixes {', '.join(prefixes)} together; write all posts in one of them"
        )
    return scheme


def scheme_of(sentences: Sequence[Sequence[str]]) -> str | None:
    """The scheme of a data set's tags; None where prefixes are of no scheme.

    BIO, unless no B- opens an entity after O or at a sentence's start: then I- opens them, and
    B- only parts neighbours of one type (IOB1) or does not occur (IO). A B- that opens one entity
    makes openings by I- slips of BIO, and they are left as they are.
    """
    letters = {tag[0] for tags in sentences for tag in tags if tag != _OUTSIDE}
    if more := letters - set("BI"):
        fitting = [name for name, own in _SCHEMES.items() if more <= set(own)]
        fitting = [name for name in fitting if name != "BMEOS" or "I" not in letters]
        return fitting[0] if fitting else None
    if "I" not in letters or any(_opened_by_b(tags) for tags in sentences):
        return BIO
    return IOB1 if "B" in letters else IO


def may_open_by_i(file: Path) -> bool:
    """Whether entities in a JSON file may open with I- throughout, by a look at its bytes alone.

    Quick: tags in BIO open with B- near the start, and posts without tags have no I-. False for
    BIO; True for IO and IOB1. Raises AccessError.
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
    """A sentence's tags of any scheme but BIO with its slips: each entity opens with B-."""
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
