"""The label version of Twitter-2015: original and changed labels."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.corpus import label_version, locate, read
from pipeline.corpus.label_version import DIGESTS, about_labels, encoded
from pipeline.corpus.label_version import label_version as version
from pipeline.corpus.post import Post
from tests.tiny import SHARED

REAL = SHARED / "data" / "twitter2015"

TWEETS = [
    Post("1", "train", ("Ada", "in", "Oslo"), tags=("B-PER", "O", "B-LOC")),
    Post("2", "train", ("Hi",), tags=("O",)),
    Post("3", "train", ("Hi",), tags=("B-MISC",)),  # an equal text
    Post("4", "test", ("Hi",), tags=("O",)),
]


@pytest.fixture
def original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Post]:
    """Four tweets in place of the data set."""
    (tmp_path / "digests").write_bytes(encoded(TWEETS))
    monkeypatch.setattr(label_version, "DIGESTS", tmp_path / "digests")
    return TWEETS


def tagged(post: Post, *tags: str) -> Post:
    return replace(post, tags=tags)


def test_labels_of_the_original(original: list[Post]) -> None:
    assert version(original) == "original"
    assert version([replace(post, id=f"x{post.id}") for post in original[::-1]]) == "original"


@pytest.mark.parametrize("tag", [*label_version._TAGS, "B-CITY"])
def test_a_different_tag_is_counted(original: list[Post], tag: str) -> None:
    posts = [tagged(original[0], "B-PER", "O", tag), *original[1:]]
    other = "other labels: 1 of 6 tags differ"
    assert version(posts) == ("original" if tag == "B-LOC" else other)


def test_equal_texts_are_compared_with_the_most_similar(original: list[Post]) -> None:
    both = [original[0], tagged(original[1], "B-MISC"), tagged(original[2], "O"), original[3]]
    assert version(both) == "original"
    same = [original[0], tagged(original[1], "B-MISC"), *original[2:]]
    assert version(same) == "other labels: 1 of 6 tags differ"


def test_other_texts_and_missing_ones(original: list[Post]) -> None:
    other = replace(original[0], tokens=("Ada", "in", "Rome"))
    assert version([other, *original[1:]]) == (
        "other labels: 0 of 3 tags differ; 1 of 4 tweets are not among the original's; "
        "1 of the original's 4 tweets are missing"
    )
    moved = replace(original[3], split="val")
    assert "1 of 4 tweets are not among" in version([*original[:3], moved])


def test_only_twitter2015_has_an_entry(original: list[Post]) -> None:
    assert about_labels("twitter2015", original) == {"label_version": "original"}
    assert about_labels("twitter2017", original) == {}


@pytest.mark.skipif(not REAL.is_dir(), reason="the real texts are not there")
def test_the_file_matches_the_real_texts() -> None:
    posts = read(locate("twitter2015", SHARED / "data")).posts
    assert encoded(posts) == DIGESTS.read_bytes()
    changed = [n for n, post in enumerate(posts) if post.tags and post.tags[0] == "O"][::100]
    for n in changed:
        posts[n] = tagged(posts[n], "B-ORG", *(posts[n].tags or ())[1:])
    tokens = sum(len(post.tokens) for post in posts)
    assert version(posts) == f"other labels: {len(changed)} of {tokens} tags differ"
