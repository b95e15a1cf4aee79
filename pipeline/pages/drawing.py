"""What a page shows of pictures: images within the page, boxes with labels over them, bars."""

import base64
import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from PIL.Image import Image

from features.grounding import Region
from features.pictures import Box

PICTURE, LETTER = 560, 17  # longest side, height of a label's letters, in pixels of the page
ENLARGED = 3  # times at most


@dataclass(frozen=True)
class Crop:
    """A region on a page: its number from 1, its colour's, its pixels or why there are none."""

    number: int
    colour: int
    region: Region
    pixels: Image | None
    why: str = ""

    @property
    def score(self) -> str:
        """As people read it; empty where there is none."""
        return "" if self.region.score is None else f"{self.region.score:.2f}"


def inline_image(image: Image, longest: int) -> str:
    """An image that is part of the page, its longest side so many pixels of the page."""
    width, height = (max(1, round(side * _scale(image, longest))) for side in image.size)
    small, file = image.copy(), io.BytesIO()
    small.thumbnail((longest, longest))
    small.save(file, "JPEG", quality=80)
    data = base64.b64encode(file.getvalue()).decode()
    return (
        f'<img src="data:image/jpeg;base64,{data}" width="{width}" height="{height}" alt="" '
        'loading="lazy" decoding="async">'
    )


def _scale(image: Image, longest: int) -> float:
    """Pixels of the page for one of the image."""
    return min(longest / max(image.size), ENLARGED)


def picture_with_boxes(picture: Image, crops: Sequence[Crop]) -> str:
    """The picture, and over it boxes and labels in the picture's own pixels."""
    unit = 1 / _scale(picture, PICTURE)
    boxes, labels = [], []
    taken: list[Box] = []
    for crop in crops:
        box = crop.region.box
        if box is None or crop.pixels is None:
            continue
        x, y, x1, y1 = (round(side, 2) for side in box)
        shape = f'x="{x}" y="{y}" width="{round(x1 - x, 2)}" height="{round(y1 - y, 2)}"'
        boxes.append(
            f'<g class="c{crop.colour}"><rect class="halo" {shape}/><rect class="box" {shape}/></g>'
        )
        labels.append(_label(crop, box, picture.size, unit, taken))
    return (
        f'<div class="picture" style="width:{picture.width / unit:.0f}px">'
        f'{inline_image(picture, PICTURE)}<svg viewBox="0 0 {picture.width} {picture.height}">'
        f"{''.join(boxes + labels)}</svg></div>"
    )


def _label(crop: Crop, box: Box, size: tuple[int, int], unit: float, taken: list[Box]) -> str:
    """A box's label: its number on black, phrase and score on its colour.

    size: of the picture. unit: the picture's pixels for one of the page. taken: where labels are
    already; this one joins them.
    """
    letter = LETTER * unit
    cell = 0.6 * letter  # the width of letters in fixed-width fonts
    number = (len(str(crop.number)) + 1) * cell
    text = _words(crop, int((size[0] - number) / cell) - 1)
    width = number + (_cells(text) + 1) * cell if text else number
    place = _place(box, (width, 1.4 * letter), size, taken)
    taken.append(place)
    x, y, x1, y1 = place
    shape = f'x="{x:.1f}" y="{y:.1f}" height="{y1 - y:.1f}" width='
    line = f'y="{y + 1.04 * letter:.1f}" font-size="{letter:.2f}"'
    return (
        f'<g class="c{crop.colour}"><rect class="tag" {shape}"{x1 - x:.1f}"/>'
        f'<rect class="tag-n" {shape}"{number:.1f}"/>'
        f'<text x="{x + cell / 2:.1f}" {line}><tspan>{crop.number}</tspan></text>'
        f'<text x="{x + number + cell / 2:.1f}" {line} lengthAdjust="spacingAndGlyphs" '
        f'textLength="{_cells(text) * cell:.1f}">{escape(text)}</text></g>'
    )


def _place(box: Box, label: tuple[float, float], size: tuple[int, int], taken: list[Box]) -> Box:
    """Where a label (width, height) goes: at its box, inside the picture, off other labels."""
    width, height = label
    x0, y0, x1, y1 = box
    rows = (y0 - height, y0, y1, y1 - height, *(y0 + n * height for n in (1, 2, -2)))
    places: list[Box] = []
    for x, y in ((x, y) for y in rows for x in (x0, x1 - width)):
        x, y = max(0.0, min(x, size[0] - width)), max(0.0, min(y, size[1] - height))
        places.append((x, y, x + width, y + height))
    return min(places, key=lambda place: sum(_shared(place, other) for other in taken))


def _words(crop: Crop, most: int) -> str:
    """Phrase and score in at most so many cells: if need be the phrase is cut, or left out."""
    phrase, room = crop.region.phrase or "", most - len(crop.score) - 1
    if _cells(phrase) > room:
        while phrase and _cells(phrase) > room - 1:
            phrase = phrase[:-1]
        phrase = phrase and f"{phrase}…"
    # Isolated from the number and the score, as it may run from right to left.
    return f"\u2068{phrase}\u2069 {crop.score}".strip() if phrase else crop.score


def _cells(text: str) -> int:
    """Width in a fixed-width font."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.category(c) in ("Mn", "Me", "Cf") for c in text)


def _shared(a: Box, b: Box) -> float:
    """Area that two boxes share."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)
