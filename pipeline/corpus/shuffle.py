"""Give each post the picture of another post: a control of experiments."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.corpus.post import Post


def shuffled(posts: Mapping[int, Post], has_picture: np.ndarray, seed: int) -> list[int]:
    """Return for each numbered post the number of the post whose picture it gets; -1: none.

    A post with a picture gets that of a post with another picture; the others keep none. Posts that
    share a picture are put side by side, the pictures in a random order; then each post gets the
    picture of the post that is as many places ahead as the most frequent picture has posts. Where
    that is the same picture, which more than half of the posts share, the post gets none.

    has_picture: (posts of the data set,) bool: posts with regions, or with a picture text.
    """
    alike: dict[Any, list[int]] = defaultdict(list)
    for number, post in posts.items():
        if has_picture[number]:
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
