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
from pipeline.errors import DataError
from pipeline.experiments.runs import NO_PICTURE, SHUFFLED
from pipeline.extraction.config import PictureFiles
from pipeline.training.evaluate import Evaluation
from pipeline.training.results import figures

WHAT = {SHUFFLED: "with other posts' pictures", NO_PICTURE: "with all regions masked"}


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
    """Predict test (val, if there is no test) under each control, into a folder for each.

    Writes `NAME/predictions.jsonl` and `metrics.json`, whose entries "shuffled" and "no-picture"
    hold the figures of the split.

    model_folder: of a model that reads pyramids.
    posts_folder: output of ReadPosts.
    seed: of the order of pictures.
    about: further entries of `metrics.json`.

    Raises DataError as `evaluate_into` does, and if the split's posts share one picture.
    """
    opened = Evaluation.open(model_folder, posts_folder, files)
    assert opened.pictures is not None
    split = "test" if opened.splits["test"] else "val"
    evaluation = replace(opened, splits=_only(opened.splits, split))
    posts, pictures = opened.splits[split], opened.pictures
    owners = np.arange(len(opened.posts))
    owners[[*posts]] = shuffled(posts, pictures.there[:, 0], seed)
    given = {SHUFFLED: pictures.of_others(owners.tolist()), NO_PICTURE: pictures.without_regions()}
    model = opened.saved.load()
    scores = {}
    for name, other in given.items():
        (folder / name).mkdir()
        results = evaluation.predict(folder / name, model, other, device, precision)
        scores[name] = results.get(split)
    write_json(folder / "metrics.json", {**about, "split": split, "seed": seed, **scores})


def shuffled(posts: Mapping[int, Post], has_picture: np.ndarray, seed: int) -> list[int]:
    """Return for each numbered post the number of the post whose pictures it gets.

    Posts with a picture get another post's, of another file; the others keep none. Posts that
    share a file are put side by side, the files in a random order; then each post gets the
    pictures of the post that is as many places ahead as the most frequent file has posts.

    has_picture: (posts of the data set,) bool.

    Raises DataError if one file belongs to more than half of the posts.
    """
    files: dict[str | None, list[int]] = defaultdict(list)
    for number, post in posts.items():
        if has_picture[number]:
            files[post.picture].append(number)
    groups = list(files.values())
    order = [n for g in np.random.default_rng(seed).permutation(len(groups)) for n in groups[g]]
    most = max(map(len, groups), default=0)
    if order and 2 * most > len(order):
        raise DataError(
            "controls: expected posts with different pictures, found one picture for "
            f"{most} of {len(order)} posts, so most posts can't get another post's picture"
        )
    given = dict(zip(order, order[most:] + order[:most], strict=True))
    return [given.get(number, number) for number in posts]


def _only(splits: Mapping[str, Mapping[int, Post]], split: str) -> dict[str, Mapping[int, Post]]:
    return {name: posts if name == split else {} for name, posts in splits.items()}


def lines(metrics: Mapping[str, Any]) -> list[str]:
    """Return the scores under each control as lines to print. metrics: of `controls_into`."""
    width = max(map(len, WHAT.values())) + 2
    return [
        f"{what:{width}}{metrics['split']} P / R / F1 {figures(metrics, control)}"
        for control, what in WHAT.items()
    ]
