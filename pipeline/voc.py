"""Boxes of named entities in Pascal-VOC XML, as GMNER publishes them for Twitter's pictures."""

import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from pipeline.corpus import DataError
from pipeline.corpus.post import Box


@dataclass(frozen=True)
class Annotation:
    """A picture's boxes by the entity that they show, whose name is in lower case.

    An entity may have several boxes, or be listed without any. `size` is (width, height) of the
    picture that they were drawn in; None where the file doesn't say.
    """

    size: tuple[int, int] | None
    boxes: dict[str, tuple[Box, ...]]


def same_name(text: str) -> str:
    """What is equal for two writings of a name: case and spaces don't count."""
    return "".join(text.split()).casefold()


def read_voc(path: Path) -> Annotation:
    """The annotation in a file. An object may carry several names, and no box.

    Raises DataError, naming the file and the object.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError, UnicodeError, LookupError, ValueError) as error:
        raise DataError(f"{path}: expected Pascal-VOC XML: {error}") from error
    boxes: dict[str, tuple[Box, ...]] = {}
    for number, element in enumerate(root.iter("object"), start=1):
        place = f"{path}, object {number}"
        names = [name.text.strip() for name in element.iter("name") if name.text]
        if not names:
            raise DataError(f"{place}: expected a name, found none")
        found = tuple(_box(box, place) for box in element.iter("bndbox"))
        for name in map(same_name, names):
            boxes[name] = boxes.get(name, ()) + found
    return Annotation(_size(root), boxes)


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    sides = [root.findtext(f"size/{name}") or "" for name in ("width", "height")]
    if not all(side.strip().isdecimal() and int(side) > 0 for side in sides):
        return None  # some tools write 0
    return int(sides[0]), int(sides[1])


def _box(element: ElementTree.Element, place: str) -> Box:
    texts = [element.findtext(name) for name in ("xmin", "ymin", "xmax", "ymax")]
    try:
        x0, y0, x1, y1 = (float(text or "") for text in texts)
    except ValueError:
        raise DataError(f"{place}: expected four numbers in bndbox, found {texts}") from None
    if not all(map(math.isfinite, (x0, y0, x1, y1))) or x0 >= x1 or y0 >= y1:
        raise DataError(f"{place}: expected xmin < xmax and ymin < ymax, found {texts}")
    return x0, y0, x1, y1
