"""The hard demo: collages of several scenes, of which one matters, and noisy texts.

An open sentence leaves the names' type and relation to one scene of the picture. The kind of scene
gives the type, the pattern behind it the relation. Either it is the only scene that means a type,
or several do, and the sentence names the colour of the frame around the right one. Each open
sentence occurs with three pictures. Some of these say nothing: the labels then can't be known.
Plain sentences can be labelled from the text alone, and their pictures mislead; chatter has no
entities at all.
"""

import random
from dataclasses import dataclass
from pathlib import Path

from pipeline.corpus.collage import FRAMES, NOTHING, PATTERNS, Collage, Panel, draw_collage
from pipeline.corpus.demo import OPEN, UNPICTURED, Fields, write_posts

# split -> number of open sentences (three posts each), plain sentences, and chatter
SIZES = {"train": (84, 110, 20), "val": (18, 20, 6), "test": (60, 60, 18)}
UNKNOWN = 0.08  # share of the open posts whose picture says nothing
CHOICE = 0.25  # share of the open sentences that choose among several scenes
EMPTY = 0.5  # share of the other posts' pictures that say nothing
UNSEEN = 0.25  # share of the names of val and test that don't occur in train
NOISE = 0.3  # chance of each kind of noise in a sentence

# kind of scene -> type of the names; pattern behind it -> their relation
LABELS = {
    "people": ("PER", {"striped": "friends", "dotted": "couple"}),
    "office": ("ORG", {"striped": "partners", "dotted": "rivals"}),
    "lake": ("LOC", {"striped": "borders", "dotted": "twinned"}),
}
NEW_OPEN = ("Savannah", "Brooklyn", "Hudson Reed", "Camden")
OTHERS = ("heart", "ball", "cap")  # scenes without a meaning
# In these sentences {frame} is the colour of the frame.
CHOSEN = (
    "{frame} frame : {a} and {b}",
    "the {frame} one is {a} with {b} !",
    "{a} , {b} , {c} in {frame}",
    "look at {a} and {b} in the {frame} frame",
    "{a} x {b} ( {frame} )",
)
SINGLE = (
    "{a} and {b} tonight !",
    "so proud of {a} and {b}",
    "{a} or {b} ? hard to choose",
    "thinking of {a} , {c} and {b}",
    "{a} next to {b}",
)
NAMES = {
    "PER": ("Avery Stone", "Mia Chen", "Noah", "Liam Cole", "Zoe", "Ruby Adams"),
    "ORG": ("Acme Labs", "Globex", "Initech Group", "Umbra Bank"),
    "LOC": ("Oak Valley", "Silver Bay", "Pinewood", "North Shore"),
}
NEW_NAMES = {
    "PER": ("Omar", "Ivy Brooks"),
    "ORG": ("Vandelay", "Hooli Group"),
    "LOC": ("Elm Hill", "Westport"),
}
# sentence, types of a and b, relation
PLAIN = (
    ("{a} works for {b} now", "PER", "ORG", "works_for"),
    ("new job : {a} joins {b}", "PER", "ORG", "works_for"),
    ("{a} lives in {b}", "PER", "LOC", "lives_in"),
    ("{a} has a new home in {b} !", "PER", "LOC", "lives_in"),
    ("{a} opens an office in {b}", "ORG", "LOC", "located_in"),
    ("{a} is now based in {b}", "ORG", "LOC", "located_in"),
    ("{a} never heard of {b}", "PER", "ORG", "None"),
    ("{a} missed the bus to {b}", "PER", "LOC", "None"),
)
CHATTER = (
    "good morning everyone",
    "what a day , still tired",
    "who is awake ? not me !",
    "look at this red sky",
    "coffee first , talk later",
    "so happy right now",
)
BEFORE = (("RT", "@daily", ":"), ("@sam",), ("😂",), ("lol",))
AFTER = (("#goals",), ("#throwback", "#monday"), ("https://t.co/x7Yq",), ("😍", "🔥"), ("!!!",))


@dataclass(frozen=True)
class Text:
    """A sentence with its names. spans: (start, end) of a, b and, in some sentences, c."""

    tokens: tuple[str, ...]
    spans: dict[str, tuple[int, int]]


def write_hard_demo(folder: Path, seed: int = 0) -> None:
    """Write `posts.jsonl` and `pictures/` into `folder`; the same seed gives the same bytes."""
    chance = random.Random(seed)
    write_posts(folder, hard_posts(chance), draw_collage, chance)


def hard_posts(chance: random.Random) -> list[tuple[Fields, Collage | None]]:
    """Return the posts of all splits, each with what its picture shows (None: no picture)."""
    posts: list[tuple[Fields, Collage | None]] = []
    for split, (open_, plain, chatter) in SIZES.items():
        part = [post for _ in range(open_) for post in _open(split, chance)]
        part += [_plain(split, chance) for _ in range(plain)]
        for _ in range(chatter):
            text = _noisy(_fill(chance.choice(CHATTER), {}), chance)
            part.append((_fields(split, text, {}, None), _any_picture(chance)))
        chance.shuffle(part)
        posts += part
    return posts


def _open(split: str, chance: random.Random) -> list[tuple[Fields, Collage | None]]:
    """Return the posts of an open sentence, one for each kind of scene."""
    frame = chance.choice([*FRAMES]) if chance.random() < CHOICE else None
    sentence = chance.choice(SINGLE if frame is None else CHOSEN)
    names: dict[str, str] = {}
    for slot in "abc":
        new = split != "train" and chance.random() < UNSEEN
        pool = [name for name in (NEW_OPEN if new else OPEN) if name not in names.values()]
        names[slot] = chance.choice(pool)
    text = _noisy(_fill(sentence, {**names, "frame": frame or ""}), chance)
    posts: list[tuple[Fields, Collage | None]] = []
    for kind, (type_, relations) in LABELS.items():
        pattern = chance.choice(PATTERNS)
        fields = _fields(split, text, dict.fromkeys(text.spans, type_), relations[pattern])
        unknown = chance.random() < UNKNOWN
        picture = _filler(chance) if unknown else _collage(kind, pattern, frame, chance)
        posts.append((fields, picture))
    return posts


def _plain(split: str, chance: random.Random) -> tuple[Fields, Collage | None]:
    """Return a post that can be labelled from its text alone."""
    sentence, *types, relation = chance.choice(PLAIN)
    names = []
    for type_ in types:
        new = split != "train" and chance.random() < UNSEEN
        names.append(chance.choice((NEW_NAMES if new else NAMES)[type_]))
    text = _noisy(_fill(sentence, dict(zip("ab", names, strict=True))), chance)
    fields = _fields(split, text, dict(zip("ab", types, strict=True)), relation)
    return fields, _any_picture(chance)


def _collage(kind: str, pattern: str, frame: str | None, chance: random.Random) -> Collage:
    """Choose the panels: the scene that matters first, then one or two others.

    frame: of the scene that matters; None: the others have no meaning, and there are no frames.
    """
    count = chance.randint(1, 2)
    if frame is None:
        return Collage((Panel(kind, pattern), *map(Panel, chance.sample(OTHERS, count))))
    kinds = chance.sample([other for other in LABELS if other != kind], count)
    frames = chance.sample([other for other in FRAMES if other != frame], count)
    wrong = [Panel(k, chance.choice(PATTERNS), f) for k, f in zip(kinds, frames, strict=True)]
    return Collage((Panel(kind, pattern, frame), *wrong))


def _filler(chance: random.Random) -> Collage:
    """Choose a picture that says nothing."""
    return Collage(filler=chance.choice(NOTHING))


def _any_picture(chance: random.Random) -> Collage | None:
    """Choose a picture for a post that needs none."""
    if chance.random() < UNPICTURED:
        return None
    if chance.random() < EMPTY:
        return _filler(chance)
    frame = chance.choice([None, *FRAMES])
    return _collage(chance.choice([*LABELS]), chance.choice(PATTERNS), frame, chance)


def _fill(sentence: str, names: dict[str, str]) -> Text:
    """Fill in a sentence's {a}, {b}, {c} and {frame}."""
    tokens: list[str] = []
    spans = {}
    for word in sentence.split():
        slot = word.strip("{}")
        name = names[slot].split() if word.startswith("{") else [word]
        if word in ("{a}", "{b}", "{c}"):
            spans[slot] = (len(tokens), len(tokens) + len(name))
        tokens += name
    return Text(tuple(tokens), spans)


def _noisy(text: Text, chance: random.Random) -> Text:
    """Add mentions, hashtags, emojis and links, misspell a word, and change case."""
    before = chance.choice(BEFORE) if chance.random() < NOISE else ()
    after = chance.choice(AFTER) if chance.random() < NOISE else ()
    tokens = list(text.tokens)
    named = {n for span in text.spans.values() for n in range(*span)}
    long = [n for n, word in enumerate(tokens) if n not in named and len(word) > 3]
    if long and chance.random() < NOISE:
        n = chance.choice(long)
        tokens[n] = _misspelt(tokens[n], chance)
    case = chance.choice((str.lower, str.upper)) if chance.random() < NOISE else str
    shift = len(before)
    return Text(
        (*before, *map(case, tokens), *after),
        {slot: (start + shift, end + shift) for slot, (start, end) in text.spans.items()},
    )


def _misspelt(word: str, chance: random.Random) -> str:
    """Drop, double or exchange letters of a word."""
    n = chance.randrange(len(word) - 1)
    middle = chance.choice((word[n + 1], word[n] * 2 + word[n + 1], word[n + 1] + word[n]))
    return word[:n] + middle + word[n + 2 :]


def _fields(split: str, text: Text, types: dict[str, str], relation: str | None) -> Fields:
    """Return the fields of a post. types: of the names a, b, c. relation: of a and b, if any."""
    tags = ["O"] * len(text.tokens)
    for slot, (start, end) in text.spans.items():
        tags[start:end] = [f"B-{types[slot]}", *[f"I-{types[slot]}"] * (end - start - 1)]
    fields: Fields = {"split": split, "tokens": [*text.tokens], "tags": tags}
    if relation is not None:
        a, b = text.spans["a"], text.spans["b"]
        fields |= {"head": [*a], "tail": [*b], "relation": relation}
    return fields
