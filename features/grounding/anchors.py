"""Anchors of the published grounding network, by the data set that a checkpoint was trained on.

Wrong anchors give boxes up to 5.6 times too large or too small, and cause no error.
"""

import re
from collections.abc import Mapping
from pathlib import Path

Anchors = tuple[tuple[int, int], ...]

ANCHOR_SIDE = 416  # pixels of the frame that anchors are given for
# Width and height, three for each stride of 32, 16, 8.
FLICKR_ANCHORS: Anchors = (
    *((352, 294), (369, 169), (209, 263)),
    *((204, 132), (124, 205), (82, 121)),
    *((137, 71), (55, 58), (29, 26)),
)
COCO_ANCHORS: Anchors = (
    *((373, 326), (156, 198), (116, 90)),
    *((59, 119), (62, 45), (30, 61)),
    *((33, 23), (16, 30), (10, 13)),
)
# By the data set that a checkpoint was trained on.
ANCHORS: Mapping[str, Anchors] = {
    "flickr": FLICKR_ANCHORS,
    "referit": COCO_ANCHORS,
    "unc": COCO_ANCHORS,
    "gref": COCO_ANCHORS,
    "refcoco": COCO_ANCHORS,
}
_ALIASES = {"flickr30k": "flickr"}


def trained_on(checkpoint: Path) -> str | None:
    """Return the data set that the file's name contains as a word: a key of ANCHORS.

    Published files are named so. None if the name contains no data set, or several.
    """
    words = {_ALIASES.get(word, word) for word in re.split(r"[^a-z0-9]+", checkpoint.name.lower())}
    named = words & ANCHORS.keys()
    return named.pop() if len(named) == 1 else None
