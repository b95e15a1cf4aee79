"""Drawing of the demos' pictures: scenes of simple shapes, with random variations."""

import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 320, 240  # pixels of a picture of one scene

Color = tuple[int, int, int]
# Draws a scene with a pen around its centre (x, y), of a size in pixels.
Scene = Callable[[ImageDraw.ImageDraw, float, float, float, random.Random], None]


def draw_picture(kind: str, chance: random.Random) -> Image.Image:
    """Draw a picture (WIDTH, HEIGHT) of a kind in `SCENES`, with random variations."""
    scene, background, copies = SCENES[kind]
    image = Image.new("RGB", (WIDTH, HEIGHT), near(background, chance))
    pen = ImageDraw.Draw(image)
    step = WIDTH / copies
    for n in range(copies):
        x = step * (n + 0.5) + chance.uniform(-0.08, 0.08) * step
        y = HEIGHT * chance.uniform(0.46, 0.54)
        scene(pen, x, y, HEIGHT * chance.uniform(0.55, 0.7), chance)
    return grained(image, chance)


def grained(image: Image.Image, chance: random.Random, strength: int = 6) -> Image.Image:
    """Add grey noise of at most `strength` levels to every pixel."""
    noise = np.random.Generator(np.random.Philox(chance.randrange(2**32))).integers(
        -strength, strength + 1, (image.height, image.width, 1)
    )
    return Image.fromarray(np.clip(np.asarray(image, np.int16) + noise, 0, 255).astype(np.uint8))


def near(color: Color, chance: random.Random, spread: int = 12) -> Color:
    """Change each channel of a colour by at most `spread`."""
    red, green, blue = (max(0, min(255, c + chance.randint(-spread, spread))) for c in color)
    return red, green, blue


def box(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    """Return the corners of a box around (x, y)."""
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _person(pen: ImageDraw.ImageDraw, x: float, y: float, s: float, chance: random.Random) -> None:
    shirt, skin = near((214, 84, 38), chance, 25), near((226, 172, 130), chance, 20)
    arm = s * chance.uniform(0.18, 0.26)
    pen.ellipse(box(x, y - 0.36 * s, 0.24 * s, 0.26 * s), fill=skin)
    pen.pieslice(box(x, y - 0.38 * s, 0.26 * s, 0.26 * s), 180, 360, fill=(70, 42, 24))
    pen.line((x - arm, y + 0.06 * s, x, y - 0.16 * s, x + arm, y + 0.06 * s), skin, int(0.07 * s))
    pen.rounded_rectangle(box(x, y - 0.03 * s, 0.26 * s, 0.38 * s), 0.06 * s, fill=shirt)
    for side in (-1, 1):
        pen.rectangle(box(x + side * 0.07 * s, y + 0.32 * s, 0.1 * s, 0.36 * s), fill=(52, 48, 70))


def _office(pen: ImageDraw.ImageDraw, x: float, y: float, s: float, chance: random.Random) -> None:
    wall = near((62, 84, 128), chance, 16)
    pen.rectangle(box(x, y, 0.62 * s, s), fill=wall)
    floors = chance.randint(4, 5)
    for floor in range(floors):
        for column in (-1, 0, 1):
            lit = (250, 236, 160) if chance.random() < 0.6 else (150, 180, 210)
            top = y - 0.28 * s + floor * 0.62 * s / floors
            pen.rectangle(box(x + column * 0.18 * s, top, 0.11 * s, 0.09 * s), fill=lit)
    pen.rectangle(box(x, y - 0.42 * s, 0.5 * s, 0.1 * s), fill=(236, 240, 246))
    pen.rectangle(box(x, y + 0.44 * s, 0.14 * s, 0.12 * s), fill=(30, 36, 54))


def _lake(pen: ImageDraw.ImageDraw, x: float, y: float, s: float, chance: random.Random) -> None:
    sun = x + s * chance.uniform(-0.4, 0.4)
    pen.ellipse(box(sun, y - 0.38 * s, 0.24 * s, 0.24 * s), fill=(252, 206, 62))
    for shift, peak in ((-0.42, 0.3), (0.4, 0.22), (0.0, 0.42)):
        foot, green = y + 0.2 * s, near((58, 138, 62), chance, 16)
        tip = (x + shift * s, y - peak * s)
        pen.polygon((x + (shift - 0.5) * s, foot, *tip, x + (shift + 0.5) * s, foot), fill=green)
    pen.ellipse(box(x, y + 0.3 * s, 1.7 * s, 0.4 * s), fill=near((58, 150, 206), chance))
    for row in (0.24, 0.32, 0.4):
        pen.line((x - 0.3 * s, y + row * s, x + 0.3 * s, y + row * s), (196, 228, 244), 2)


def _heart(pen: ImageDraw.ImageDraw, x: float, y: float, s: float, chance: random.Random) -> None:
    red = near((212, 22, 60), chance, 16)
    for side in (-1, 1):
        pen.ellipse(box(x + side * 0.22 * s, y - 0.18 * s, 0.5 * s, 0.5 * s), fill=red)
    pen.polygon(
        (x - 0.445 * s, y - 0.07 * s, x, y + 0.48 * s, x + 0.445 * s, y - 0.07 * s), fill=red
    )
    pen.ellipse(box(x - 0.26 * s, y - 0.24 * s, 0.14 * s, 0.12 * s), fill=(250, 190, 205))


def _ball(pen: ImageDraw.ImageDraw, x: float, y: float, s: float, chance: random.Random) -> None:
    pen.rectangle((0, y + 0.3 * s, WIDTH, HEIGHT), fill=near((88, 160, 60), chance))
    pen.ellipse(box(x, y, 0.86 * s, 0.86 * s), fill=(246, 246, 246), outline=(30, 30, 30), width=3)
    turn = chance.uniform(0, 72)
    pen.regular_polygon((x, y, 0.16 * s), 5, turn, fill=(24, 24, 24))
    for n in range(5):
        angle = np.deg2rad(turn + 72 * n + 36)
        place = (x + 0.31 * s * np.sin(angle), y - 0.31 * s * np.cos(angle), 0.09 * s)
        pen.regular_polygon(place, 5, turn + 36, fill=(24, 24, 24))


def _cap(pen: ImageDraw.ImageDraw, x: float, y: float, s: float, chance: random.Random) -> None:
    dark = near((46, 30, 66), chance, 10)
    pen.rounded_rectangle(box(x, y + 0.14 * s, 0.5 * s, 0.4 * s), 0.08 * s, fill=dark)
    brim = (x - 0.62 * s, y - 0.1 * s, x, y - 0.36 * s, x + 0.62 * s, y - 0.1 * s, x, y + 0.16 * s)
    pen.polygon(brim, fill=dark, outline=(110, 90, 140))
    pen.line(
        (x, y - 0.1 * s, x + 0.46 * s, y - 0.02 * s, x + 0.46 * s, y + 0.3 * s), (222, 170, 40), 4
    )
    pen.ellipse(box(x + 0.46 * s, y + 0.32 * s, 0.1 * s, 0.14 * s), fill=(222, 170, 40))


# kind -> function that draws it, background, number of copies
SCENES: dict[str, tuple[Scene, Color, int]] = {
    "people": (_person, (244, 230, 208), 2),
    "office": (_office, (212, 220, 230), 2),
    "lake": (_lake, (206, 232, 248), 1),
    "heart": (_heart, (250, 224, 230), 1),
    "ball": (_ball, (214, 238, 204), 1),
    "cap": (_cap, (236, 232, 220), 1),
}
