"""Texts as published -> `posts.jsonl` and `labels.json`, which every later stage reads."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pipeline import corpus
from pipeline.corpus import DataError, Layout, Post
from pipeline.jsonfile import read_json, write_json
from pipeline.score import NO_RELATION

POSTS, LABELS = "posts.jsonl", "labels.json"

log = logging.getLogger(__name__)


def read_posts(layout: Layout, folder: Path) -> None:
    """Read a data set whole, and write it into `folder`, a line a post."""
    found = corpus.read(layout)
    with (folder / POSTS).open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(post.to_json() + "\n" for post in found.posts)
    labels = {
        "re": found.relations or relation_labels(found.posts),
        "ner": tag_labels(found.posts),
    }
    write_json(folder / LABELS, labels)
    if not layout.released and any(post.crops is not None for post in found.posts):
        log.warning(
            "%s: only some splits have released crops; the others get another grounder's. Choose "
            "one for all with --GroundCrops-grounder",
            layout.dataset,
        )
    splits = Counter(post.split for post in found.posts)
    log.info(
        "%s: %s posts, %d with a picture's name",
        layout.dataset,
        " / ".join(f"{splits[name]} {name}" for name in corpus.SPLITS),
        sum(post.picture is not None for post in found.posts),
    )


def load_posts(folder: Path) -> list[Post]:
    """The posts that `read_posts` wrote."""
    with (folder / POSTS).open(encoding="utf-8", newline="\n") as file:
        return [Post.from_json(line) for line in file]


def load_labels(folder: Path, task: str) -> list[str]:
    """The labels of a task ("re" or "ner"), in the order of their numbers."""
    labels: list[str] = read_json(folder / LABELS)[task]
    if len(labels) < 2:
        kind = "tags" if task == "ner" else "relations other than None"
        raise DataError(f"expected {kind} in the posts, found none")
    return labels


def relation_labels(posts: Sequence[Post]) -> list[str]:
    """None first, then the relations by name: of all splits, so that every post can be scored."""
    found = {post.relation for post in posts if post.relation}
    return [NO_RELATION, *sorted(found - {NO_RELATION})]


def tag_labels(posts: Sequence[Post]) -> list[str]:
    """O first, then B- and I- of each type by name: of all splits, as for relations."""
    types = {tag[2:] for post in posts for tag in post.tags or () if tag != "O"}
    return ["O", *(prefix + name for name in sorted(types) for prefix in ("B-", "I-"))]
