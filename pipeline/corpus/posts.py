"""Read a data set's texts into `posts.jsonl` and `labels.json`, which every later stage reads."""

import logging
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline import corpus
from pipeline.corpus.config import DEFAULT, ReadConfig
from pipeline.corpus.files import Layout, clip
from pipeline.corpus.labels import NO_RELATION, relation_labels, tag_labels
from pipeline.corpus.post import Post
from pipeline.engine.files import read_json, write_json
from pipeline.errors import DataError

POSTS, LABELS = "posts.jsonl", "labels.json"
log = logging.getLogger(__name__)


def read_posts(layout: Layout, folder: Path, config: ReadConfig = DEFAULT) -> None:
    """Read a whole data set and write it into `folder`, one line per post."""
    data = corpus.read(layout, config)
    with (folder / POSTS).open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(post.to_json() + "\n" for post in data.posts)
    labels = {
        "re": data.relations or relation_labels(data.posts),
        "ner": tag_labels(data.posts),
    }
    write_json(folder / LABELS, labels)
    _warn_of_none(layout.dataset, labels["re"])
    given = {post.relation for post in data.posts if post.relation is not None}
    if layout.own and config.none_label is not None and given and NO_RELATION not in given:
        log.warning(
            "%s: --none-label %s: expected a relation of the data, found %s",
            *(layout.dataset, clip(config.none_label), clip(sorted(given))),
        )
    crops_released = layout.own or layout.released
    if not crops_released and any(post.crops is not None for post in data.posts):
        log.warning(
            "%s: only some splits have released crops; the others get crops of another grounder. "
            "Choose one for all splits with --GroundCrops-grounder",
            layout.dataset,
        )
    splits = Counter(post.split for post in data.posts)
    log.info(
        "%s: %s posts, %d that name a picture",
        layout.dataset,
        " / ".join(f"{splits[name]} {name}" for name in corpus.SPLITS),
        sum(post.picture is not None for post in data.posts),
    )


# Names of "no relation" in data sets, in lower case and without separators.
_NONE = {"none", "norelation", "norel", "na", "nil", "null", "no", "other", "others", "norelations"}
_NONE |= {"nonerelation", "unrelated", "notrelated", "negative", "false", "o"}


def _warn_of_none(dataset: str, relations: list[str]) -> None:
    """Warn of names that look like "no relation", because they are scored as relations."""
    named = set(relations) - {NO_RELATION}
    near = [name for name in sorted(named) if "".join(filter(str.isalnum, name.lower())) in _NONE]
    for name in near:
        log.warning(
            "%s: relation %s looks like a name for no relation, and is scored as a relation; "
            "if it means no relation, give --ReadPosts-none-label %s",
            *(dataset, clip(name), shlex.quote(name)),
        )


def each_post(folder: Path) -> Iterator[Post]:
    """Yield the posts that `read_posts` wrote."""
    with (folder / POSTS).open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield Post.from_json(line)


def load_posts(folder: Path) -> list[Post]:
    """Load the posts that `read_posts` wrote."""
    return list(each_post(folder))


def load_labels(folder: Path, task: str) -> list[str]:
    """Load the labels of a task ("re" or "ner"), in the order of their numbers."""
    labels: list[str] = read_json(folder / LABELS)[task]
    check_labels_differ(task, labels)
    return labels


def check_labels_differ(task: str, labels: Sequence[str]) -> None:
    """Raise DataError unless a task ("re" or "ner") has at least two labels."""
    if len(labels) < 2:
        kind = "tags other than O" if task == "ner" else "relations other than None"
        raise DataError(f"expected {kind} in the posts, found none")
