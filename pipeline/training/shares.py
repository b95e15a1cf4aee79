"""Draw a share of the training posts, for training with few labels (HVPNeT, Figure 3)."""

from collections.abc import Collection, Mapping

import numpy as np


def draw(
    classes: Mapping[int, Collection[str]], share: float, seed: int, with_replacement: bool = False
) -> list[int]:
    """Return the numbers of the drawn posts, in the order of drawing: round(share · n), at least 1.

    The order depends on the seed alone, so draws are nested: a smaller share is the start of a
    larger one. Without replacement, the first post of each class comes before all other posts, so
    every class is drawn if the share has room for it. With replacement, as in the published
    script, each post is drawn independently of the others and no class is favoured.

    classes: the classes of each of the n posts, by the post's number.
    share: above 0, at most 1.
    """
    numbers = [*classes]
    count = max(1, round(share * len(numbers)))
    random = np.random.default_rng(seed)
    if with_replacement:
        places = random.integers(len(numbers), size=len(numbers))
        return [numbers[place] for place in places[:count]]
    order = [numbers[place] for place in random.permutation(len(numbers))]
    return _classes_first(order, classes)[:count]


def _classes_first(order: list[int], classes: Mapping[int, Collection[str]]) -> list[int]:
    """Move the first post of each class to the front; otherwise keep the order."""
    seen: set[str] = set()
    first: list[int] = []
    for number in order:
        if not seen.issuperset(classes[number]):
            first.append(number)
            seen.update(classes[number])
    return [*dict.fromkeys([*first, *order])]
