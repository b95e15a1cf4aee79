"""Boxes of named entities in Pascal-VOC XML, as published by GMNER for the Twitter data."""

import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from features.errors import need_readable
from pipeline.corpus.files import MAX_BYTES, clip
from pipeline.corpus.post import Box
from pipeline.errors import DataError


@dataclass(frozen=True)
class Annotation:
    """The boxes of one picture, by entity. An entity may have several boxes, or none.

    size: (width, height) of the annotated picture, pixels; None if the file doesn't give it.
    faults: number of invalid boxes (inverted, empty, or not finite), which are left out.
    """

    size: tuple[int, int] | None
    boxes: dict[str, tuple[Box, ...]]
    faults: int


class _Plain(ElementTree.TreeBuilder):
    """A builder that refuses a DTD: its entities can grow without bound, or read other files."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("a DOCTYPE is not allowed")


def same_name(text: str) -> str:
    """Return a name without case and spaces, for comparing two spellings of it."""
    return "".join(text.split()).casefold()


def read_voc(path: Path) -> Annotation:
    """Read an annotation file. An object may have several names, and may lack a box.

    Raises DataError, which names the file and the object.
    """
    root = _root(path)
    boxes: dict[str, list[Box]] = {}
    spellings: dict[str, str] = {}  # same_name -> the first spelling
    faults = 0
    for number, element in enumerate(root.iter("object"), start=1):
        place = f"{path}, object {number}"
        names = [" ".join(name.text.split()) for name in element.findall("name") if name.text]
        if not any(names):
            raise DataError(f"{place}: expected a name, found none")
        drawn = [_box(box, place) for box in element.findall("bndbox")]
        faults += drawn.count(None)
        for name in filter(None, names):
            name = spellings.setdefault(same_name(name), name)
            boxes.setdefault(name, []).extend(box for box in drawn if box is not None)
    return Annotation(_size(root), {name: tuple(b) for name, b in boxes.items()}, faults)


def _root(path: Path) -> ElementTree.Element:
    need_readable(path)
    try:
        if not path.is_file():
            raise ValueError("no such file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes")
        return ElementTree.fromstring(content, ElementTree.XMLParser(target=_Plain()))
    except (OSError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise DataError(f"{path}: expected Pascal-VOC XML: {clip(str(error))}") from error


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    sides = [(root.findtext(f"size/{name}") or "").strip() for name in ("width", "height")]
    if not all(side.isdecimal() and len(side) < 10 and int(side) > 0 for side in sides):
        return None  # some annotation tools write 0
    return int(sides[0]), int(sides[1])


def _box(element: ElementTree.Element, place: str) -> Box | None:
    """Return the box, or None if it is invalid. Raises DataError unless it has four numbers."""
    texts = [element.findtext(name) for name in ("xmin", "ymin", "xmax", "ymax")]
    try:
        x0, y0, x1, y1 = (float(text or "") for text in texts)
    except ValueError:
        raise DataError(f"{place}: expected four numbers in bndbox, found {clip(texts)}") from None
    good = all(map(math.isfinite, (x0, y0, x1, y1))) and x0 < x1 and y0 < y1
    return (x0, y0, x1, y1) if good else None
