"""Pictures on a page as SVG: parts of one image, with the cells of a grid shaded by values."""

from collections.abc import Sequence

from features.pictures import Box
from pipeline.pages.drawing import PICTURE, Crop, boxes_over, data_url, scale_of


def image(name: str, jpeg: bytes, size: tuple[int, int]) -> str:
    """Return an SVG image, which `part` refers to by its name, unique on the page.

    size: width and height of the picture that the file shows, perhaps with fewer pixels.
    """
    return (
        f'<image id="{name}" href="{data_url(jpeg)}" width="{size[0]}" height="{size[1]}" '
        'preserveAspectRatio="none"/>'
    )


def picture(name: str, jpeg: bytes, size: tuple[int, int], crops: Sequence[Crop]) -> str:
    """Show a whole picture with the boxes of crops over it; arguments as for `image`."""
    return (
        f'<div class="picture" style="width:{size[0] * scale_of(size, PICTURE):.0f}px">'
        f'<svg viewBox="0 0 {size[0]} {size[1]}">{image(name, jpeg, size)}'
        f"{boxes_over(size, crops)}</svg></div>"
    )


def part(name: str, area: Box, cells: Sequence[Sequence[float]] = (), most: float = 1.0) -> str:
    """Show a part of an image, with cells over it.

    name: of an `image` on the same page.
    area: in pixels of the picture.
    cells: rows of values from 0 to `most`, which divide the area evenly; the greater a value, the
        less transparent its cell. Empty: no cells.
    """
    x0, y0, x1, y1 = area
    shapes = ""
    for row, values in enumerate(cells):
        height = (y1 - y0) / len(cells)
        for column, value in enumerate(values):
            width = (x1 - x0) / len(values)
            x, y = x0 + column * width, y0 + row * height
            letter = min(0.24 * width, 0.5 * height)
            shapes += (
                f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" '
                f'fill-opacity="{0.7 * value / (most or 1.0):.2f}"/>'
                f'<text x="{x + width / 2:.2f}" y="{y + height / 2 + 0.35 * letter:.2f}" '
                f'font-size="{letter:.2f}" stroke-width="{letter / 4:.2f}">{value:.3f}</text>'
            )
    view = f"{x0:.2f} {y0:.2f} {x1 - x0:.2f} {y1 - y0:.2f}"
    return f'<svg class="part" viewBox="{view}"><use href="#{name}"/>{shapes}</svg>'
