"""Boxes of named entities in Pascal-VOC XML, as GMNER publishes them for Twitter's pictures."""

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
    """A picture's boxes by the entity that they show; an entity may have several, or none.

    `size` is (width, height) of the picture that they were drawn in, None where the file doesn't
    say. `faults` counts boxes that are none: inverted, empty, or not finite.
    """

    size: tuple[int, int] | None
    boxes: dict[str, tuple[Box, ...]]
    faults: int


class _Plain(ElementTree.TreeBuilder):
    """Takes no DTD: entities are declared there, which can swell, or name other files."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("a DOCTYPE is not taken")


def same_name(text: str) -> str:
    """What is equal for two writings of a name: case and spaces don't count."""
    return "".join(text.split()).casefold()


def read_voc(path: Path) -> Annotation:
    """The annotation in a file. An object may carry several names, and no box.

    Raises DataError, naming the file and the object.
    """
    root = _root(path)
    boxes: dict[str, list[Box]] = {}
    written: dict[str, str] = {}
    faults = 0
    for number, element in enumerate(root.iter("object"), start=1):
        place = f"{path}, object {number}"
        names = [" ".join(name.text.split()) for name in element.findall("name") if name.text]
        if not any(names):
            raise DataError(f"{place}: expected a name, found none")
        found = [_box(box, place) for box in element.findall("bndbox")]
        faults += found.count(None)
        for name in filter(None, names):
            name = written.setdefault(same_name(name), name)
            boxes.setdefault(name, []).extend(box for box in found if box is not None)
    return Annotation(_size(root), {name: tuple(its) for name, its in boxes.items()}, faults)


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
        return None  # some tools write 0
    return int(sides[0]), int(sides[1])


def _box(element: ElementTree.Element, place: str) -> Box | None:
    """The box; None where it is none."""
    texts = [element.findtext(name) for name in ("xmin", "ymin", "xmax", "ymax")]
    try:
        x0, y0, x1, y1 = (float(text or "") for text in texts)
    except ValueError:
        raise DataError(f"{place}: expected four numbers in bndbox, found {clip(texts)}") from None
    good = all(map(math.isfinite, (x0, y0, x1, y1))) and x0 < x1 and y0 < y1
    return (x0, y0, x1, y1) if good else None
