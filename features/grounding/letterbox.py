"""Fit a picture into a square frame, and map boxes back, as the published grounding network does.

The picture is scaled until its longer side fills the frame, and placed in the middle.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

SIDE = 256  # pixels of the frame
ROWS = 16  # rows of the frame that are computed at a time
BORDER = (124, 116, 104)  # RGB


@dataclass(frozen=True)
class Placement:
    """The position of a picture in its frame: its pixels times `ratio`, moved by `left` and `top`.

    With an odd number of border pixels `left` or `top` ends in .5, as in the published code.
    """

    ratio: float
    left: float
    top: float

    def to_picture(self, boxes: np.ndarray) -> np.ndarray:
        """Convert boxes (N, 4), x0, y0, x1, y1, from pixels of the frame to the picture's."""
        shift = np.array([self.left, self.top] * 2)
        return (boxes - shift) / self.ratio


def letterbox(picture: Image.Image) -> tuple[np.ndarray, Placement]:
    """Return an RGB picture's frame, (SIDE, SIDE, 3) uint8, and its placement in it."""
    ratio = SIDE / max(picture.size)
    width, height = (max(1, round(side * ratio)) for side in picture.size)
    left, top = (SIDE - width) / 2, (SIDE - height) / 2
    x, y = round(left - 0.1), round(top - 0.1)
    frame = np.full((SIDE, SIDE, 3), BORDER, np.uint8)
    frame[y : y + height, x : x + width] = _resize(np.asarray(picture), width, height)
    return frame, Placement(ratio, left, top)


def _resize(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize (H, W, 3) uint8 -> (height, width, 3) uint8.

    Equals OpenCV's INTER_AREA to within one grey level.
    """
    shrinks = width <= pixels.shape[1] and height <= pixels.shape[0]
    weights = _overlaps if shrinks else _between
    down, across = weights(pixels.shape[0], height), weights(pixels.shape[1], width)
    resized = np.empty((height, width, 3))
    for start in range(0, height, ROWS):  # each part needs only a few rows of the picture
        part = down[start : start + ROWS]
        used = np.flatnonzero(part.any(axis=0))
        first, last = used[0], used[-1] + 1
        rows = np.tensordot(part[:, first:last], pixels[first:last].astype(np.float64), 1)
        resized[start : start + ROWS] = np.einsum("wx,hxc->hwc", across, rows, optimize=True)
    return resized.round().clip(0, 255).astype(np.uint8)


def _overlaps(source: int, target: int) -> np.ndarray:
    """Return (target, source): the share of each new pixel that each old pixel covers."""
    edges = np.arange(target + 1) * (source / target)
    old = np.arange(source)
    starts = np.maximum(edges[:-1, None], old)
    ends = np.minimum(edges[1:, None], old + 1)
    return (ends - starts).clip(0) * (target / source)


def _between(source: int, target: int) -> np.ndarray:
    """Return (target, source): weights of two neighbours, by OpenCV's rule for enlarging by area.

    A new pixel inside an old pixel takes its value; a new pixel across a border mixes both.
    """
    new = np.arange(target)
    left = np.floor(new * (source / target)).astype(np.int64)
    share = (new + 1) - (left + 1) * (target / source)
    share = np.where(share <= 0, 0.0, share - np.floor(share))
    weights = np.zeros((target, source))
    weights[new, left] = 1 - share
    weights[new, np.minimum(left + 1, source - 1)] += share
    return weights
