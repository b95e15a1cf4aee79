"""Controls: a trained model's scores with pictures that belong to other posts, and without any.

A model that uses its pictures loses F1 in both. Nothing is trained: the stored rows are read in
another order, or all regions are masked.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.corpus.post import Post
from pipeline.engine.files import write_json
from pipeline.experiments.runs import NO_PICTURE, SHUFFLED
from pipeline.extraction.config import PictureFiles
from pipeline.training.evaluate import Evaluation

WHAT = {SHUFFLED: "with other posts' pictures", NO_PICTURE: "without any picture"}


def controls_into(
    folder: Path,
    model_folder: Path,
    posts_folder: Path,
    files: PictureFiles,
    device: str,
    precision: str,
    seed: int,
    about: Mapping[str, Any],
) -> None:
    """Predict test (val, if test has no labels) under each control, into a folder for each.

    Writes `NAME/predictions.jsonl` and `metrics.json`, whose entries "shuffled" and "no-picture"
    hold the figures of the split.

    model_folder: of a model that reads pyramids.
    posts_folder: output of ReadPosts.
    seed: of the order of pictures.
    about: further entries of `metrics.json`.

    Raises DataError as `evaluate_into` does.
    """
    opened = Evaluation.open(model_folder, posts_folder, files)
    pictures = opened.pictures
    assert pictures is not None
    split = "test" if opened.saved.head.numbered(opened.posts, "test") else "val"
    evaluation = replace(opened, splits=_only(opened.splits, split))
    posts = opened.splits[split]
    owners = np.arange(len(opened.posts))
    owners[[*posts]] = shuffled(posts, np.any(pictures.there, axis=1), seed)
    given = {SHUFFLED: owners, NO_PICTURE: np.full(len(owners), -1)}
    model = opened.saved.load()
    scores = {}
    for name, others in given.items():
        (folder / name).mkdir()
        results = evaluation.predict(
            folder / name, model, pictures.of_others(others.tolist()), device, precision
        )
        scores[name] = results[split]
    write_json(folder / "metrics.json", {**about, "split": split, "seed": seed, **scores})


def shuffled(posts: Mapping[int, Post], has_regions: np.ndarray, seed: int) -> list[int]:
    """Return for each numbered post the number of the post whose regions it gets; -1: none.

    A post with regions gets those of a post with another picture; the others keep none. Posts that
    share a picture are put side by side, the pictures in a random order; then each post gets the
    regions of the post that is as many places ahead as the most frequent picture has posts. Where
    that is the same picture, which more than half of the posts share, the post gets none.

    has_regions: (posts of the data set,) bool.
    """
    alike: dict[Any, list[int]] = defaultdict(list)
    for number, post in posts.items():
        if has_regions[number]:
            alike[post.picture or post.crops].append(number)
    groups = list(alike.values())
    order = [n for g in np.random.default_rng(seed).permutation(len(groups)) for n in groups[g]]
    most = max(map(len, groups), default=0)
    given = dict(zip(order, order[most:] + order[:most], strict=True))
    group_of = {number: place for place, group in enumerate(groups) for number in group}
    return [
        -1
        if number in given and group_of[given[number]] == group_of[number]
        else given.get(number, number)
        for number in posts
    ]


def _only(splits: Mapping[str, Mapping[int, Post]], split: str) -> dict[str, Mapping[int, Post]]:
    return {name: posts if name == split else {} for name, posts in splits.items()}


def lines(metrics: Mapping[str, Any]) -> list[str]:
    """Return the scores under each control as a line to print. metrics: of `controls_into`."""
    scores = ", ".join(f"{metrics[name]['f1']:.2f} {what}" for name, what in WHAT.items())
    return [f"{metrics['split']} F1 {scores}"]
