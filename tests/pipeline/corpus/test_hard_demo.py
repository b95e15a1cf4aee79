"""The hard demo data set: deterministic, noisy, and not to be solved from text or picture alone."""

import random
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.corpus import locate, read
from pipeline.corpus.collage import FRAMES, NOTHING, SIDE, Collage, Panel, draw_collage
from pipeline.corpus.hard_demo import (
    CHATTER,
    LABELS,
    NEW_NAMES,
    NEW_OPEN,
    PLAIN,
    SIZES,
    hard_posts,
    write_hard_demo,
)
from pipeline.corpus.post import SPLITS, Post

PICTURES = [
    *(Collage(filler=filler) for filler in NOTHING),
    Collage((Panel("lake", "dotted", "red"), Panel("cap")), "scenes"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_hard_demo(root / "own")  # read like any data set of the user's
    return root


@pytest.fixture(scope="module")
def posts(folder: Path) -> list[Post]:
    return read(locate("own", folder)).posts


def of_split(posts: list[Post], split: str) -> list[Post]:
    return [post for post in posts if post.split == split]


def test_same_seed_same_posts() -> None:
    assert hard_posts(random.Random(3)) == hard_posts(random.Random(3))
    assert hard_posts(random.Random(3)) != hard_posts(random.Random(4))


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.filler)
def test_same_seed_same_picture(picture: Collage) -> None:
    first, second, other = (
        np.asarray(draw_collage(picture, random.Random(seed))) for seed in (1, 1, 2)
    )
    assert (first == second).all()
    assert (first != other).any()


def test_sizes(posts: list[Post]) -> None:
    expected = {split: 3 * open_ + plain + chat for split, (open_, plain, chat) in SIZES.items()}
    assert Counter(post.split for post in posts) == expected


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_has_all_classes(posts: list[Post], split: str) -> None:
    chosen = of_split(posts, split)
    relations = {relation for *_, relation in PLAIN}
    relations |= {name for _, names in LABELS.values() for name in names.values()}
    assert {post.relation for post in chosen} - {None} == relations
    types = {tag.split("-")[1] for post in chosen for tag in post.tags or () if tag != "O"}
    assert types == {"PER", "ORG", "LOC"}


@pytest.mark.parametrize("split", SPLITS)
def test_text_alone_does_not_decide(posts: list[Post], split: str) -> None:
    relations, tags = defaultdict(list), defaultdict(list)
    for post in of_split(posts, split):
        relations[post.tokens].append(post.relation)
        tags[post.tokens].append(post.tags)
    for labels in (relations, tags):
        total = sum(map(len, labels.values()))
        guessed = sum(Counter(group).most_common(1)[0][1] for group in labels.values())
        assert guessed / total < 0.65


def test_some_posts_have_no_or_three_entities(posts: list[Post]) -> None:
    for split, (_, _, chatter) in SIZES.items():
        counts = Counter(
            sum(tag.startswith("B-") for tag in post.tags or ()) for post in of_split(posts, split)
        )
        assert set(counts) == {0, 2, 3}
        assert counts[0] == chatter


def test_the_named_frame_has_the_scene_of_the_labels() -> None:
    """A sentence that names a frame: exactly one scene has it, and it gives type and relation."""
    checked = 0
    for fields, picture in hard_posts(random.Random(0)):
        words = [word.lower() for word in fields["tokens"]]
        named = [name for name in FRAMES if name in words]
        relation = fields.get("relation")
        if not named or relation is None or picture is None or not picture.panels:
            continue
        (panel,) = (panel for panel in picture.panels if panel.frame == named[0])
        type_, relations = LABELS[panel.kind]
        assert {tag[2:] for tag in fields["tags"] if tag != "O"} == {type_}
        assert relation == relations[str(panel.pattern)]
        assert len({panel.kind for panel in picture.panels}) == len(picture.panels) > 1
        checked += 1
    assert checked > 50


def test_some_pictures_of_open_posts_say_nothing() -> None:
    open_relations = {name for _, names in LABELS.values() for name in names.values()}
    kinds = Counter(
        picture is not None and not picture.panels
        for fields, picture in hard_posts(random.Random(0))
        if fields.get("relation") in open_relations
    )
    assert 0.04 < kinds[True] / kinds.total() < 0.14


def test_names_that_train_lacks(posts: list[Post]) -> None:
    new = [*NEW_OPEN, *(name for names in NEW_NAMES.values() for name in names)]
    texts = {
        split: " ".join(" ".join(p.tokens) for p in of_split(posts, split)) for split in SPLITS
    }
    assert not any(name.lower() in texts["train"].lower() for name in new)
    assert any(name in texts["test"] for name in new)


def test_texts_are_noisy(posts: list[Post]) -> None:
    words = Counter(word for post in posts for word in post.tokens)
    for expected in ("RT", "#goals", "😂", "https://t.co/x7Yq"):
        assert words[expected] > 5
    chatter = {word for sentence in CHATTER for word in sentence.split()}
    assert chatter <= set(words)
    assert any(post.tokens == tuple(map(str.upper, post.tokens)) for post in posts)


def test_pictures(folder: Path, posts: list[Post]) -> None:
    names = [post.picture for post in posts if post.picture is not None]
    assert len(names) == len(set(names))
    assert 0 < len(posts) - len(names) < 40
    with Image.open(folder / names[0]) as picture:
        assert picture.size == (SIDE, SIDE)
