"""Grounding without weights or phrases: windows that stand out by their colour.

Frequency-tuned salience (Achanta et al., CVPR 2009, eq. 4): a pixel's salience is the distance of
its blurred colour from the picture's mean colour in CIE Lab. Departure: the distance from the mean
colour of the picture's rim is added. Otherwise an object that fills most of the picture would set
the mean, and its background would stand out.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageFilter

from features.grounding import Candidate
from features.grounding.select import LEAST_SIDE

SETTINGS = "frequency-tuned-2"  # raise it when boxes change
SIDE = 96  # pixels of the thumbnail's longer side
FLAT = 6.0  # Lab units (1 is just visible): a picture whose colours differ less has no objects
LEAST_SCORE = 0.05
MOST = 8  # candidates of a picture
OVERLAP = 0.3  # share of the smaller window that two candidates may have in common
SIZES = (0.12, 0.16, 0.21, 0.28, 0.37, 0.49, 0.65, 0.86)  # a window's sides / the picture's
STEP = 0.125  # distance between windows / a window's side
RING = 0.2  # width of the ring around a window / the window's side


class Salience:
    """A grounder that offers windows more salient than the ring around them.

    A score, in [0, 1], is the salience inside minus that of the ring, relative to the picture's
    highest salience and weighted by size. Boxes overlap by at most 0.3 of the smaller box.
    """

    name = "salience"
    joint = False
    one_size = False

    def find(
        self, pictures: Sequence[Image.Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Candidate]]:
        """Return at most MOST candidates for each picture, best first; phrases are ignored."""
        return [_find(picture) for picture in pictures]


def _find(picture: Image.Image) -> list[Candidate]:
    salience = salience_map(picture)
    if salience is None:
        return []
    height, width = salience.shape
    windows = _windows(width, height)
    boxes = windows * np.array([picture.width / width, picture.height / height] * 2)
    scores = _scores(salience, windows)
    scores[(boxes[:, 2:] - boxes[:, :2]).min(axis=1) < LEAST_SIDE] = 0
    return [Candidate(None, _box(boxes[i]), float(scores[i])) for i in _pick(windows, scores, MOST)]


def _box(sides: np.ndarray) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (round(float(side), 1) for side in sides)
    return x0, y0, x1, y1


def salience_map(picture: Image.Image) -> np.ndarray | None:
    """Return the salience (height, width) float32, 0 to 1, of the picture's thumbnail.

    None if the picture has about one colour.
    """
    longer = max(picture.size)
    size = (
        max(1, round(picture.width * SIDE / longer)),
        max(1, round(picture.height * SIDE / longer)),
    )
    small = picture.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    lab = _lab(np.asarray(small.filter(ImageFilter.GaussianBlur(1)), np.float32) / 255)
    rim = np.concatenate([lab[0], lab[-1], lab[:, 0], lab[:, -1]])
    salience = sum(np.linalg.norm(lab - c, axis=2) for c in (lab.mean(axis=(0, 1)), rim.mean(0)))
    highest = salience.max()
    return salience / highest if highest >= 2 * FLAT else None


def _lab(rgb: np.ndarray) -> np.ndarray:
    """Convert sRGB in [0, 1], (…, 3), to CIE Lab (IEC 61966-2-1; white D65)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32
    )
    xyz = linear @ (to_xyz / to_xyz.sum(axis=1, keepdims=True)).T
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


@lru_cache(maxsize=64)
def _windows(width: int, height: int) -> np.ndarray:
    """Return all windows of a thumbnail of that size, (n, 4) int: x0, y0, x1, y1."""
    columns, rows = _spans(width), _spans(height)
    across, down = np.meshgrid(np.arange(len(columns)), np.arange(len(rows)))
    left, top = columns[across.ravel()], rows[down.ravel()]
    windows = np.stack([left[:, 0], top[:, 0], left[:, 1], top[:, 1]], axis=1)
    sides = windows[:, 2:] - windows[:, :2]
    return windows[sides.max(axis=1) <= 4 * sides.min(axis=1)]


def _spans(length: int) -> np.ndarray:
    """Return first and end positions of the windows along a side, (n, 2)."""
    spans = []
    for size in SIZES:
        side = max(1, round(size * length))
        count = 1 + round((length - side) / max(1.0, STEP * side))
        starts = np.unique(np.linspace(0, length - side, count).round().astype(np.int64))
        spans.append(np.stack([starts, starts + side], axis=1))
    return np.concatenate(spans)


def _scores(salience: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Score windows (n,): mean salience inside minus mean in the ring, times two weights.

    The fourth root of the window's share of the picture makes a whole object score more than its
    most salient part. The share of the ring that lies in the picture lowers the score of windows in
    corners.
    """
    height, width = salience.shape
    table = np.pad(salience.cumsum(0, np.float64).cumsum(1), ((1, 0), (1, 0)))
    margin = np.maximum(1, (RING * (windows[:, 2:] - windows[:, :2])).round().astype(np.int64))
    outer = np.concatenate([windows[:, :2] - margin, windows[:, 2:] + margin], axis=1)
    outer = outer.clip(0, np.array([width, height] * 2))
    inside, area = _sums(table, windows)
    whole, whole_area = _sums(table, outer)
    ring = (whole - inside) / np.maximum(whole_area - area, 1)
    full = (windows[:, 2:] - windows[:, :2] + 2 * margin).prod(axis=1) - area
    weight = (area / salience.size) ** 0.25 * (whole_area - area) / full
    return ((inside / area - ring) * weight).clip(0, 1)


def _sums(table: np.ndarray, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sum and area of each window, from the integral image `table`."""
    x0, y0, x1, y1 = windows.T
    total = table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0]
    return total, (x1 - x0) * (y1 - y0)


def _pick(windows: np.ndarray, scores: np.ndarray, most: int) -> list[int]:
    """Pick greedily the best window that does not overlap one picked before; return row numbers.

    Overlap is relative to the smaller window, not the union: a part of an object is not a second
    object.
    """
    scores, area = scores.copy(), (windows[:, 2:] - windows[:, :2]).prod(axis=1)
    picked: list[int] = []
    while len(picked) < most and scores.max(initial=0) >= LEAST_SCORE:
        best = int(scores.argmax())
        picked.append(best)
        corner = np.maximum(windows[:, :2], windows[best, :2])
        shared = (np.minimum(windows[:, 2:], windows[best, 2:]) - corner).clip(0).prod(axis=1)
        scores[shared > OVERLAP * np.minimum(area, area[best])] = 0
    return picked
