"""Splits for posts that come without one: by shares, and never a picture in two of them."""

import random
from collections.abc import Sequence

from pipeline.corpus.post import SPLITS


def assign(
    given: Sequence[str | None],
    pictures: Sequence[Sequence[str]],
    shares: Sequence[int],
    seed: int,
) -> list[str]:
    """A split for each post: the given one, or one drawn by `shares` of train, val and test.

    pictures: each post's. Posts that share one are drawn together, and go where a post with that
    picture is said to be. The same posts in the same order give the same splits.
    """
    groups = _groups(pictures)
    splits = list(given)
    free = []
    for group in groups:
        own = [split for n in group if (split := given[n]) is not None]
        if not own:
            free.append(group)
        for n in group:
            splits[n] = given[n] or (own[0] if own else None)
    random.Random(seed).shuffle(free)
    wanted = {split: share for split, share in zip(SPLITS, shares, strict=True) if share}
    total = sum(map(len, free))
    missing = {split: total * share / sum(wanted.values()) for split, share in wanted.items()}
    # One group for each split, the rarest first, so that none is empty; then where most is missing.
    first = sorted(wanted, key=wanted.__getitem__) if len(free) >= len(wanted) else []
    for number, group in enumerate(free):
        split = first[number] if number < len(first) else max(missing, key=missing.__getitem__)
        missing[split] -= len(group)
        for n in group:
            splits[n] = split
    return [str(split) for split in splits]


def _groups(pictures: Sequence[Sequence[str]]) -> list[list[int]]:
    """Numbers of posts that share a picture, directly or through others, in order."""
    leader = list(range(len(pictures)))

    def of(n: int) -> int:
        while leader[n] != n:
            leader[n] = leader[leader[n]]
            n = leader[n]
        return n

    first: dict[str, int] = {}
    for n, names in enumerate(pictures):
        for name in names:
            a, b = sorted((of(n), of(first.setdefault(name, n))))
            leader[b] = a
    groups: dict[int, list[int]] = {}
    for n in range(len(pictures)):
        groups.setdefault(of(n), []).append(n)
    return list(groups.values())
