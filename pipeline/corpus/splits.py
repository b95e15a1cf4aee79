"""Draw splits for posts that have none, by shares, so that no picture is in two splits."""

import random
from collections.abc import Sequence

from pipeline.corpus.post import SPLITS


def assign(
    given: Sequence[str | None],
    pictures: Sequence[Sequence[str]],
    shares: Sequence[int],
    seed: int,
) -> list[str]:
    """Return a split for each post: the given one, else one drawn by shares.

    Posts with a common picture get the same split: that of a post among them that has one, else a
    drawn one. The same posts in the same order give the same splits.

    given: the split of each post, or None.
    pictures: the pictures of each post.
    shares: of train, val and test.
    """
    groups = _groups(pictures)
    splits = list(given)
    free = []
    for group in groups:
        known = [split for n in group if (split := given[n]) is not None]
        if not known:
            free.append(group)
        for n in group:
            splits[n] = given[n] or (known[0] if known else None)
    random.Random(seed).shuffle(free)
    wanted = {split: share for split, share in zip(SPLITS, shares, strict=True) if share}
    total = sum(map(len, free))
    missing = {split: total * share / sum(wanted.values()) for split, share in wanted.items()}
    # First one group per split, the smallest share first, so that no split is empty; then each
    # group goes to the split that lacks most posts.
    first = sorted(wanted, key=wanted.__getitem__) if len(free) >= len(wanted) else []
    for number, group in enumerate(free):
        split = first[number] if number < len(first) else max(missing, key=missing.__getitem__)
        missing[split] -= len(group)
        for n in group:
            splits[n] = split
    return [str(split) for split in splits]


def _groups(pictures: Sequence[Sequence[str]]) -> list[list[int]]:
    """Group the numbers of posts that share a picture, directly or through other posts."""
    leader = list(range(len(pictures)))  # union-find

    def leader_of(n: int) -> int:
        while leader[n] != n:
            leader[n] = leader[leader[n]]
            n = leader[n]
        return n

    first: dict[str, int] = {}
    for n, names in enumerate(pictures):
        for name in names:
            a, b = sorted((leader_of(n), leader_of(first.setdefault(name, n))))
            leader[b] = a
    groups: dict[int, list[int]] = {}
    for n in range(len(pictures)):
        groups.setdefault(leader_of(n), []).append(n)
    return list(groups.values())
