"""The demo data set: it is deterministic and cannot be solved from its text alone."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pipeline.corpus import locate, read
from pipeline.corpus.demo import write_demo
from pipeline.corpus.drawing import HEIGHT, WIDTH
from pipeline.corpus.post import SPLITS, Post


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_demo(root / "own")  # read like any data set of the user's
    return root


@pytest.fixture(scope="module")
def posts(folder: Path) -> list[Post]:
    return read(locate("own", folder)).posts


def test_same_seed_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_demo(tmp_path / "own")
    first, second = (
        {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        for root in (folder, tmp_path)
    )
    assert first == second


def test_posts_stay_the_same(folder: Path) -> None:
    """Without pictures: a JPEG's bytes depend on the library's version."""
    digest = hashlib.sha256((folder / "own/posts.jsonl").read_bytes()).hexdigest()
    assert digest == "65c2ce864c60000d9eae97e98c2c0774800d8ead28928e477b90facd97f5dc91"


def test_another_seed_gives_other_posts(folder: Path, tmp_path: Path) -> None:
    write_demo(tmp_path, seed=1)
    assert (tmp_path / "posts.jsonl").read_text() != (folder / "own/posts.jsonl").read_text()


def test_sizes(posts: list[Post]) -> None:
    assert Counter(post.split for post in posts) == {"train": 312, "val": 84, "test": 96}


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(
    ("label", "open_at_least", "guessed_at_most"),
    [(lambda post: post.tags, 0.45, 0.7), (lambda post: post.relation, 0.6, 0.6)],
    ids=["tags", "relation"],
)
def test_text_alone_does_not_decide_the_labels(
    posts: list[Post],
    split: str,
    label: Callable[[Post], object],
    open_at_least: float,
    guessed_at_most: float,
) -> None:
    labels = defaultdict(list)
    for post in posts:
        if post.split == split:
            labels[post.tokens].append(label(post))
    total = sum(map(len, labels.values()))
    open_ = sum(len(group) for group in labels.values() if len(set(group)) > 1)
    best_guess = sum(Counter(group).most_common(1)[0][1] for group in labels.values())
    assert open_ / total >= open_at_least
    assert best_guess / total <= guessed_at_most


def test_entities_are_tagged_where_head_and_tail_are(posts: list[Post]) -> None:
    for post in posts:
        assert post.tags is not None
        inside = set()
        for span in (post.head, post.tail):
            assert span is not None
            start, end = span
            assert post.tags[start].startswith("B-")
            assert all(tag.startswith("I-") for tag in post.tags[start + 1 : end])
            inside |= set(range(start, end))
        assert all(tag == "O" for n, tag in enumerate(post.tags) if n not in inside)


def test_pictures(folder: Path, posts: list[Post]) -> None:
    names = [post.picture for post in posts if post.picture is not None]
    assert len(names) == len(set(names))
    assert 0 < len(posts) - len(names) < 30
    for name in names:
        with Image.open(folder / name) as picture:
            assert picture.size == (WIDTH, HEIGHT)
