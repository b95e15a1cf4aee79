"""The demo data set: posts made from sentence patterns, with drawn pictures.

In most posts, the text leaves open the names' type or the relation of two people, and only the
picture decides: each such sentence occurs with three pictures and three labellings. The other
posts can be labelled from the text alone. The layout is that of the user's own data, as an example.
"""

import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline.corpus.drawing import draw_picture

Fields = dict[str, Any]  # of a post in posts.jsonl

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
    write_posts(folder, _posts(chance), draw_picture, chance)


def write_posts(
    folder: Path,
    posts: Iterable[tuple[Fields, Any]],
    draw: Callable[[Any, random.Random], Image.Image],
    chance: random.Random,
) -> None:
    """Write the files of a demo. posts: fields, and what to draw (None: no picture)."""
    (folder / "pictures").mkdir(parents=True)
    with (folder / "posts.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for number, (post, subject) in enumerate(posts):
            fields = {"id": f"demo-{number}", **post}
            if subject is not None:
                fields["picture"] = f"{number:03d}-{chance.randrange(10**6):06d}.jpg"
                draw(subject, chance).save(folder / "pictures" / fields["picture"], quality=85)
            file.write(json.dumps(fields, ensure_ascii=False) + "\n")


def _posts(chance: random.Random) -> list[tuple[Fields, str | None]]:
    """Return the posts of all splits, each with the kind of its picture (None: no picture)."""
    posts = []
    for split, (names, pairs, plain) in SIZES.items():
        part: list[tuple[Fields, str | None]] = []
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
) -> Fields:
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
