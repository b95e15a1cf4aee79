"""Drawing of the hard demo's pictures: collages of framed scenes, and pictures that say nothing."""

import random
from dataclasses import dataclass
from itertools import product

from PIL import Image, ImageDraw

from pipeline.corpus.drawing import SCENES, Color, box, grained, near

SIDE = 256  # pixels of a picture's sides
CELL = 112  # of the 2×2 cells of a collage, which are centred: extraction cuts the rim off
PANEL = 104  # of a scene with its frame
FRAME = 11  # width of a frame
PATTERNS = ("striped", "dotted")  # behind a scene
FRAMES: dict[str, Color] = {
    "red": (206, 24, 40),
    "yellow": (246, 206, 20),
    "violet": (132, 38, 196),
}
CELLS = tuple(product((0, 1), (0, 1)))  # (column, row)
NOTHING = ("noise", "blank", "letters")  # pictures without a scene


@dataclass(frozen=True)
class Panel:
    """A scene of a collage.

    kind: in `SCENES`. pattern: behind it, in `PATTERNS`. frame: around it, in `FRAMES`.
    """

    kind: str
    pattern: str | None = None
    frame: str | None = None


@dataclass(frozen=True)
class Collage:
    """The contents of a picture: up to four panels or, without panels, a filler in `NOTHING`."""

    panels: tuple[Panel, ...] = ()
    filler: str = "blank"


def draw_collage(collage: Collage, chance: random.Random) -> Image.Image:
    """Draw a picture (SIDE, SIDE): its panels in random cells, or its filler."""
    image = Image.new("RGB", (SIDE, SIDE), near((184, 184, 184), chance, 24))
    if not collage.panels:
        _draw_filler(image, collage.filler, chance)
        return grained(image, chance, 40 if collage.filler == "noise" else 6)
    rim = (SIDE - 2 * CELL) // 2
    cells = chance.sample(CELLS, len(collage.panels))
    for panel, (column, row) in zip(collage.panels, cells, strict=True):
        place = [rim + CELL * n + chance.randint(0, CELL - PANEL) for n in (column, row)]
        image.paste(_panel(panel, chance), (place[0], place[1]))
    return grained(image, chance)


def _panel(panel: Panel, chance: random.Random) -> Image.Image:
    scene, background, _ = SCENES[panel.kind]
    image = Image.new("RGB", (PANEL, PANEL), near(background, chance))
    pen = ImageDraw.Draw(image)
    if panel.pattern is not None:
        _draw_pattern(pen, panel.pattern, near((70, 70, 70), chance))
    middle = PANEL / 2
    scene(pen, middle, middle, PANEL * chance.uniform(0.52, 0.62), chance)
    if panel.frame is not None:
        frame = near(FRAMES[panel.frame], chance)
        pen.rectangle((0, 0, PANEL - 1, PANEL - 1), outline=frame, width=FRAME)
    return image


def _draw_pattern(pen: ImageDraw.ImageDraw, pattern: str, ink: Color) -> None:
    """Cover the panel with stripes or dots; each covers about 40 % of it."""
    if pattern == "striped":
        for y in range(0, PANEL, 12):
            pen.rectangle((0, y, PANEL, y + 4), fill=ink)
        return
    for x, y in product(range(6, PANEL, 13), range(6, PANEL, 13)):
        pen.ellipse(box(x, y, 9, 9), fill=ink)


def _draw_filler(image: Image.Image, kind: str, chance: random.Random) -> None:
    """Draw rows of letters for "letters"; the others have no shapes."""
    if kind != "letters":
        return
    pen = ImageDraw.Draw(image)
    for row in range(3):
        for column in range(chance.randint(5, 8)):
            x, y = 40 + 24 * column, 60 + 68 * row
            pen.rectangle(box(x, y, 5, 36), fill=(250, 250, 250))
            pen.rectangle(box(x + 5, y + chance.choice((-14, 0, 14)), 14, 5), fill=(250, 250, 250))
