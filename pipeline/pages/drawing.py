"""Pictures on a page: inline images, and boxes with labels over them."""

import base64
import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from PIL.Image import Image

from features.grounding import Region
from features.pictures import Box

PICTURE, LETTER = 560, 17  # longest side, and height of a label's letters, in CSS pixels
ENLARGED = 3  # the largest factor by which a small image is enlarged


@dataclass(frozen=True)
class Crop:
    """A region shown on a page."""

    number: int  # from 1
    colour: int  # an index of COLOURS
    region: Region
    pixels: Image | None
    why: str = ""  # the reason if there are no pixels

    @property
    def score(self) -> str:
        """The score with two digits; "" without a score."""
        return "" if self.region.score is None else f"{self.region.score:.2f}"


def inline_image(image: Image, longest: int) -> str:
    """Return an image as HTML with its data inline. longest: its longer side in CSS pixels."""
    width, height = (max(1, round(side * scale_of(image.size, longest))) for side in image.size)
    return (
        f'<img src="{data_url(jpeg_of(image, longest))}" width="{width}" height="{height}" alt="" '
        'loading="lazy" decoding="async">'
    )


def jpeg_of(image: Image, longest: int) -> bytes:
    """Return an image as a JPEG file, made smaller if it has a side of more pixels."""
    small, file = image.copy(), io.BytesIO()
    small.thumbnail((longest, longest))
    small.save(file, "JPEG", quality=80)
    return file.getvalue()


def data_url(jpeg: bytes) -> str:
    """Return the address of a JPEG file for a page that holds the file itself."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def scale_of(size: tuple[int, int], longest: int) -> float:
    """Return the CSS pixels per pixel of an image of this size. longest: its longer side."""
    return min(longest / max(size), ENLARGED)


def picture_with_boxes(picture: Image, crops: Sequence[Crop]) -> str:
    """Return HTML of the picture with the crops' boxes and labels over it."""
    width, height = picture.size
    return (
        f'<div class="picture" style="width:{width * scale_of(picture.size, PICTURE):.0f}px">'
        f'{inline_image(picture, PICTURE)}<svg viewBox="0 0 {width} {height}">'
        f"{boxes_over(picture.size, [crop for crop in crops if crop.pixels is not None])}"
        "</svg></div>"
    )


def boxes_over(size: tuple[int, int], crops: Sequence[Crop]) -> str:
    """Return SVG of the crops' boxes and labels. size: of the picture, in its pixels."""
    unit = 1 / scale_of(size, PICTURE)
    boxes, labels = [], []
    taken: list[Box] = []
    for crop in crops:
        box = crop.region.box
        if box is None:
            continue
        x, y, x1, y1 = (round(side, 2) for side in box)
        shape = f'x="{x}" y="{y}" width="{round(x1 - x, 2)}" height="{round(y1 - y, 2)}"'
        boxes.append(
            f'<g class="c{crop.colour}"><rect class="halo" {shape}/><rect class="box" {shape}/></g>'
        )
        labels.append(_label(crop, box, size, unit, taken))
    return "".join(boxes + labels)


def _label(crop: Crop, box: Box, size: tuple[int, int], unit: float, taken: list[Box]) -> str:
    """Return SVG of a box's label: the number on black, phrase and score on the box's colour.

    size: of the picture, in its pixels.
    unit: the picture's pixels per CSS pixel.
    taken: places of the earlier labels; this label's place is added.
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
    """Place a label (width, height) at its box, inside the picture, with least overlap of labels.

    Returns x0, y0, x1, y1 in pixels of the picture.
    """
    width, height = label
    x0, y0, x1, y1 = box
    rows = (y0 - height, y0, y1, y1 - height, *(y0 + n * height for n in (1, 2, -2)))
    places: list[Box] = []
    for x, y in ((x, y) for y in rows for x in (x0, x1 - width)):
        x, y = max(0.0, min(x, size[0] - width)), max(0.0, min(y, size[1] - height))
        places.append((x, y, x + width, y + height))
    return min(places, key=lambda place: sum(_shared(place, other) for other in taken))


def _words(crop: Crop, most: int) -> str:
    """Return phrase and score in at most `most` cells; a long phrase is cut or left out."""
    phrase, room = crop.region.phrase or "", most - len(crop.score) - 1
    if _cells(phrase) > room:
        while phrase and _cells(phrase) > room - 1:
            phrase = phrase[:-1]
        phrase = phrase and f"{phrase}…"
    # Isolated from the number and the score: the phrase may be in a right-to-left script.
    return f"\u2068{phrase}\u2069 {crop.score}".strip() if phrase else crop.score


def _cells(text: str) -> int:
    """Return the width of a text in cells of a fixed-width font."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.category(c) in ("Mn", "Me", "Cf") for c in text)


def _shared(a: Box, b: Box) -> float:
    """Return the area of the intersection of two boxes."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)
