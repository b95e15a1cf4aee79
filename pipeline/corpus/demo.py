"""The demo data set: posts made from sentence patterns, with drawn pictures.

In most posts, the text leaves open the names' type or the relation of two people, and only the
picture decides: each such sentence occurs with three pictures and three labellings. The other
posts can be labelled from the text alone. The layout is that of the user's own data, as an example.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 320, 240  # pixels
# split -> number of sentences with ambiguous names, with an ambiguous relation, and unambiguous
SIZES = {"train": (52, 16, 108), "val": (14, 4, 30), "test": (16, 5, 33)}
UNPICTURED = 0.1  # share of the unambiguous posts without a picture

# Each is a name of a person, a firm or a place: the picture decides.
OPEN = (
    *"Jordan Austin Chelsea Phoenix Florence Sydney Houston Dallas".split(),
    *("Madison Park", "Carolina West", "Georgia Banks", "Lincoln Field"),
)
OPEN_SENTENCES = (
    "{a} and {b} tonight !",
    "RT @daily : {a} meets {b}",
    "So proud of {a} and {b} #goals",
    "{a} or {b} ? Hard to choose",
    "Thinking of {a} , dreaming of {b}",
    "@sam look : {a} next to {b}",
    "Love {a} , love {b} <3",
    "{a} x {b} #monday",
)
# picture -> type of both names, and their relation
OPEN_LABELS = {
    "people": ("PER", "friends"),
    "office": ("ORG", "partners"),
    "lake": ("LOC", "borders"),
}

NAMES = {
    "PER": ("Avery Stone", "Mia Chen", "Noah", "Liam Cole", "Zoe", "Ruby Adams"),
    "ORG": ("Acme Labs", "Globex", "Initech Group", "Umbra Bank"),
    "LOC": ("Oak Valley", "Silver Bay", "Pinewood", "North Shore"),
}
PAIR_SENTENCES = (
    "{a} and {b} again #throwback",
    "{a} with {b} , what a pair",
    "It is {a} and {b} !",
    "@kim found this of {a} and {b}",
)
# picture -> relation of two people
PAIR_LABELS = {"heart": "couple", "ball": "teammates", "cap": "classmates"}

# sentence, types of a and b, relation, picture
PLAIN = (
    ("{a} works for {b} now", "PER", "ORG", "works_for", "office"),
    ("New job : {a} joins {b} #career", "PER", "ORG", "works_for", "office"),
    ("{a} lives in {b}", "PER", "LOC", "lives_in", "lake"),
    ("{a} has a new home in {b} !", "PER", "LOC", "lives_in", "lake"),
    ("{a} opens an office in {b}", "ORG", "LOC", "located_in", "office"),
    ("{a} is married to {b} <3", "PER", "PER", "couple", "heart"),
    ("{a} never heard of {b}", "PER", "ORG", "None", "people"),
    ("{a} missed the bus to {b}", "PER", "LOC", "None", "people"),
)


def write_demo(folder: Path, seed: int = 0) -> None:
    """Write `posts.jsonl` and `pictures/` into `folder`; the same seed gives the same bytes."""
    chance = random.Random(seed)
    (folder / "pictures").mkdir(parents=True)
    with (folder / "posts.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for number, (post, kind) in enumerate(_posts(chance)):
            fields = {"id": f"demo-{number}", **post}
            if kind is not None:
                fields["picture"] = f"{number:03d}-{chance.randrange(10**6):06d}.jpg"
                draw_picture(kind, chance).save(folder / "pictures" / fields["picture"], quality=85)
            file.write(json.dumps(fields, ensure_ascii=False) + "\n")


def _posts(chance: random.Random) -> list[tuple[dict[str, Any], str | None]]:
    """Return the posts of all splits, each with the kind of its picture (None: no picture)."""
    posts = []
    for split, (names, pairs, plain) in SIZES.items():
        part: list[tuple[dict[str, Any], str | None]] = []
        for _ in range(names):
            sentence, (a, b) = chance.choice(OPEN_SENTENCES), chance.sample(OPEN, 2)
            for kind, (type_, relation) in OPEN_LABELS.items():
                part.append((_post(split, sentence, (a, type_), (b, type_), relation), kind))
        for _ in range(pairs):
            sentence, (a, b) = chance.choice(PAIR_SENTENCES), chance.sample(NAMES["PER"], 2)
            for kind, relation in PAIR_LABELS.items():
                part.append((_post(split, sentence, (a, "PER"), (b, "PER"), relation), kind))
        for _ in range(plain):
            sentence, type_a, type_b, relation, kind = chance.choice(PLAIN)
            a = chance.choice(NAMES[type_a])
            b = chance.choice([name for name in NAMES[type_b] if name != a])
            post = _post(split, sentence, (a, type_a), (b, type_b), relation)
            part.append((post, kind if chance.random() >= UNPICTURED else None))
        chance.shuffle(part)
        posts += part
    return posts


def _post(
    split: str, sentence: str, a: tuple[str, str], b: tuple[str, str], relation: str
) -> dict[str, Any]:
    """Fill in a sentence's {a} and {b}, each a (name, type), and return the fields of the post."""
    tokens: list[str] = []
    tags: list[str] = []
    spans = {}
    for word in sentence.split():
        entity = {"{a}": a, "{b}": b}.get(word)
        if entity is None:
            tokens.append(word)
            tags.append("O")
            continue
        name, type_ = entity[0].split(), entity[1]
        spans[word] = [len(tokens), len(tokens) + len(name)]
        tokens += name
        tags += [f"B-{type_}", *[f"I-{type_}"] * (len(name) - 1)]
    return {
        "split": split,
        "tokens": tokens,
        "tags": tags,
        "head": spans["{a}"],
        "tail": spans["{b}"],
        "relation": relation,
    }


# --- drawing: a scene takes a pen, its centre (x, y) and size in pixels, and random numbers

Color = tuple[int, int, int]
Scene = Callable[[ImageDraw.ImageDraw, float, float, float, random.Random], None]


def draw_picture(kind: str, chance: random.Random) -> Image.Image:
    """Draw a picture (WIDTH, HEIGHT) of a kind in `SCENES`, with random variations."""
    scene, background, copies = SCENES[kind]
    image = Image.new("RGB", (WIDTH, HEIGHT), _near(background, chance))
    pen = ImageDraw.Draw(image)
    step = WIDTH / copies
    for n in range(copies):
        x = step * (n + 0.5) + chance.uniform(-0.08, 0.08) * step
        y = HEIGHT * chance.uniform(0.46, 0.54)
        scene(pen, x, y, HEIGHT * chance.uniform(0.55, 0.7), chance)
    noise = np.random.Generator(np.random.Philox(chance.randrange(2**32))).integers(
        -6, 7, (HEIGHT, WIDTH, 1)
    )
    return Image.fromarray(np.clip(np.asarray(image, np.int16) + noise, 0, 255).astype(np.uint8))


def _near(color: Color, chance: random.Random, spread: int = 12) -> Color:
    red, green, blue = (max(0, min(255, c + chance.randint(-spread, spread))) for c in color)
    return red, green, blue


def _box(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _person(pen: ImageDraw.ImageDraw, x: float, y: float, s: float, chance: random.Random) -> None:
    shirt, skin = _near((214, 84, 38), chance, 25), _near((226, 172, 130), chance, 20)
    arm = s * chance.uniform(0.18, 0.26)
    pen.ellipse(_box(x, y - 0.36 * s, 0.24 * s, 0.26 * s), fill=skin)
    pen.pieslice(_box(x, y - 0.38 * s, 0.26 * s, 0.26 * s), 180, 360, fill=(70, 42, 24))
    pen.line((x - arm, y + 0.06 * s, x, y - 0.16 * s, x + arm, y + 0.06 * s), skin, int(0.07 * s))
    pen.rounded_rectangle(_box(x, y - 0.03 * s, 0.26 * s, 0.38 * s), 0.06 * s, fill=shirt)
    for side in (-1, 1):
        pen.rectangle(_box(x + side * 0.07 * s, y + 0.32 * s, 0.1 * s, 0.36 * s), fill=(52, 48, 70))


def _office(pen: ImageDraw.ImageDraw, x: float, y: float, s: float, chance: random.Random) -> None:
    wall = _near((62, 84, 128), chance, 16)
    pen.rectangle(_box(x, y, 0.62 * s, s), fill=wall)
    floors = chance.randint(4, 5)
    for floor in range(floors):
        for column in (-1, 0, 1):
            lit = (250, 236, 160) if chance.random() < 0.6 else (150, 180, 210)
            top = y - 0.28 * s + floor * 0.62 * s / floors
            pen.rectangle(_box(x + column * 0.18 * s, top, 0.11 * s, 0.09 * s), fill=lit)
    pen.rectangle(_box(x, y - 0.42 * s, 0.5 * s, 0.1 * s), fill=(236, 240, 246))
    pen.rectangle(_box(x, y + 0.44 * s, 0.14 * s, 0.12 * s), fill=(30, 36, 54))


def _lake(pen: ImageDraw.ImageDraw, x: float, y: float, s: float, chance: random.Random) -> None:
    sun = x + s * chance.uniform(-0.4, 0.4)
    pen.ellipse(_box(sun, y - 0.38 * s, 0.24 * s, 0.24 * s), fill=(252, 206, 62))
    for shift, peak in ((-0.42, 0.3), (0.4, 0.22), (0.0, 0.42)):
        foot, green = y + 0.2 * s, _near((58, 138, 62), chance, 16)
        tip = (x + shift * s, y - peak * s)
        pen.polygon((x + (shift - 0.5) * s, foot, *tip, x + (shift + 0.5) * s, foot), fill=green)
    pen.ellipse(_box(x, y + 0.3 * s, 1.7 * s, 0.4 * s), fill=_near((58, 150, 206), chance))
    for row in (0.24, 0.32, 0.4):
        pen.line((x - 0.3 * s, y + row * s, x + 0.3 * s, y + row * s), (196, 228, 244), 2)


def _heart(pen: ImageDraw.ImageDraw, x: float, y: float, s: float, chance: random.Random) -> None:
    red = _near((212, 22, 60), chance, 16)
    for side in (-1, 1):
        pen.ellipse(_box(x + side * 0.22 * s, y - 0.18 * s, 0.5 * s, 0.5 * s), fill=red)
    pen.polygon(
        (x - 0.445 * s, y - 0.07 * s, x, y + 0.48 * s, x + 0.445 * s, y - 0.07 * s), fill=red
    )
    pen.ellipse(_box(x - 0.26 * s, y - 0.24 * s, 0.14 * s, 0.12 * s), fill=(250, 190, 205))


def _ball(pen: ImageDraw.ImageDraw, x: float, y: float, s: float, chance: random.Random) -> None:
    pen.rectangle((0, y + 0.3 * s, WIDTH, HEIGHT), fill=_near((88, 160, 60), chance))
    pen.ellipse(_box(x, y, 0.86 * s, 0.86 * s), fill=(246, 246, 246), outline=(30, 30, 30), width=3)
    turn = chance.uniform(0, 72)
    pen.regular_polygon((x, y, 0.16 * s), 5, turn, fill=(24, 24, 24))
    for n in range(5):
        angle = np.deg2rad(turn + 72 * n + 36)
        place = (x + 0.31 * s * np.sin(angle), y - 0.31 * s * np.cos(angle), 0.09 * s)
        pen.regular_polygon(place, 5, turn + 36, fill=(24, 24, 24))


def _cap(pen: ImageDraw.ImageDraw, x: float, y: float, s: float, chance: random.Random) -> None:
    dark = _near((46, 30, 66), chance, 10)
    pen.rounded_rectangle(_box(x, y + 0.14 * s, 0.5 * s, 0.4 * s), 0.08 * s, fill=dark)
    brim = (x - 0.62 * s, y - 0.1 * s, x, y - 0.36 * s, x + 0.62 * s, y - 0.1 * s, x, y + 0.16 * s)
    pen.polygon(brim, fill=dark, outline=(110, 90, 140))
    pen.line(
        (x, y - 0.1 * s, x + 0.46 * s, y - 0.02 * s, x + 0.46 * s, y + 0.3 * s), (222, 170, 40), 4
    )
    pen.ellipse(_box(x + 0.46 * s, y + 0.32 * s, 0.1 * s, 0.14 * s), fill=(222, 170, 40))


# kind -> function that draws it, background, number of copies
SCENES: dict[str, tuple[Scene, Color, int]] = {
    "people": (_person, (244, 230, 208), 2),
    "office": (_office, (212, 220, 230), 2),
    "lake": (_lake, (206, 232, 248), 1),
    "heart": (_heart, (250, 224, 230), 1),
    "ball": (_ball, (214, 238, 204), 1),
    "cap": (_cap, (236, 232, 220), 1),
}
