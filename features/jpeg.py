"""JPEG files that are cut off: how much of their data is missing, and their pixels up to there.

Pillow's own way, `ImageFile.LOAD_TRUNCATED_IMAGES`, is a global that other threads and programs
see. Here the bytes get an end marker instead: libjpeg fills what is missing with the last colour.
"""

from __future__ import annotations

import io
import math
import random
import re
from dataclasses import dataclass, field

from PIL import Image, ImageChops

END = b"\xff\xd9"
_ALONE = (0x01, *range(0xD0, 0xD8))  # markers without a segment
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_NEXT = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")  # a marker that ends a scan's data
_ZEROS = 64  # so many zero bytes at the end are what a download left unwritten
# Other bits in the place of those that are missing: pixels that they change were not there.
_NOISE = bytes(random.Random(0).randrange(255) for _ in range(4096))


@dataclass
class Layout:
    """What the markers of a JPEG say.

    size: width and height. sampling: of each component, horizontally and vertically.
    scan: the components of the last scan. start, end: offsets of its data.
    left: for each component the bits that its 64 coefficients lack, 16 where none has come.
    sizes: for each component the bytes of its last scan that holds more than means.
    ended: whether the end marker is there.
    """

    size: tuple[int, int] = (0, 0)
    sampling: dict[int, tuple[int, int]] = field(default_factory=dict)
    scan: list[int] = field(default_factory=list)
    start: int = 0
    end: int = 0
    left: dict[int, list[int]] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    ended: bool = False

    @property
    def unit(self) -> tuple[int, int]:
        """Width and height in pixels of what the last scan codes at a time."""
        across, down = (max(side) for side in zip(*self.sampling.values(), strict=True))
        if len(self.scan) > 1:
            return 8 * across, 8 * down
        own = self.sampling[self.scan[0]]
        return 8 * across // own[0], 8 * down // own[1]


def layout_of(data: bytes) -> Layout | None:
    """The layout of a JPEG's first picture; None where its markers make no sense."""
    layout, place = Layout(), 2
    while place < len(data):
        if data[place] != 0xFF:  # behind a segment of a wrong length
            following = _NEXT.search(data, place)
            if following is None:
                return None
            place = following.start()
        while place < len(data) and data[place] == 0xFF:
            place += 1
        marker = data[place] if place < len(data) else 0x01
        place += 1
        if marker == END[1]:
            layout.ended = True
            return layout
        if marker in _ALONE:
            continue
        length = int.from_bytes(data[place : place + 2], "big")
        segment = data[place + 2 : place + length]
        if len(segment) != length - 2:
            return layout
        place += length
        if marker in _FRAMES and not _read_frame(layout, segment):
            return None
        if marker == 0xDA:
            if not _read_scan(layout, segment):
                return None
            layout.start = place
            following = _NEXT.search(data, place)
            place = layout.end = len(data) if following is None else following.start()
            if segment[-2] > 0:  # the last coefficient
                layout.sizes |= dict.fromkeys(layout.scan, place - layout.start)
    return layout


def _read_frame(layout: Layout, segment: bytes) -> bool:
    layout.size = int.from_bytes(segment[3:5], "big"), int.from_bytes(segment[1:3], "big")
    parts = [segment[n : n + 3] for n in range(6, len(segment) - 2, 3)]
    layout.sampling = {part[0]: (part[1] >> 4, part[1] & 15) for part in parts}
    layout.left = {name: [16] * 64 for name in layout.sampling}
    return bool(parts) and all(0 not in side for side in layout.sampling.values())


def _read_scan(layout: Layout, segment: bytes) -> bool:
    if not segment or len(segment) < 2 * segment[0] + 4:
        return False
    count = segment[0]
    layout.scan = [segment[1 + 2 * n] for n in range(count)]
    first, last, bits = segment[1 + 2 * count : 4 + 2 * count]
    if not layout.scan or not all(name in layout.sampling for name in layout.scan):
        return False
    for name in layout.scan:
        for n in range(first, min(last, 63) + 1):
            layout.left[name][n] = bits & 15
    return True


class CutOffError(ValueError):
    """A JPEG lacks its end, and with it `missing`, the share of its data; None: not known."""

    def __init__(self, missing: float | None) -> None:
        super().__init__("cut off")
        self.missing = missing


def is_cut_off(data: bytes) -> bool:
    """Return True if a JPEG lacks its end marker, while its other markers are valid."""
    layout = layout_of(data)
    return layout is not None and not layout.ended


def mend(data: bytes, most: float) -> tuple[bytes, float]:
    """A JPEG that is cut off, with an end marker, and the share of its data that is missing.

    The share is estimated: see `_lost_bytes` and `_later_scans`. Raises CutOffError above `most`;
    what Pillow raises on broken data.
    """
    layout = layout_of(data)
    assert layout is not None
    assert not layout.ended
    if not layout.start:
        raise CutOffError(None)
    later = _later_scans(layout)
    if later is None:
        raise CutOffError(None)
    whole = data[: layout.end]
    whole = whole[: len(whole.rstrip(b"\0"))] if whole.endswith(bytes(_ZEROS)) else whole
    whole = whole.rstrip(b"\xff")  # half a marker, or half an escaped byte
    more = _lost_bytes(whole, layout) + later
    missing = 1 - len(whole) / (len(whole) + more)
    if round(missing, 2) > most:
        raise CutOffError(missing)
    return whole + END, missing


def _later_scans(layout: Layout) -> int | None:
    """Bytes of the scans that have not begun: each as long as the one that it refines.

    None where they hold more than the last bit of coefficients: how long is anybody's guess.
    """
    if any(max(bits) > 1 for bits in layout.left.values()):
        return None
    return sum(layout.sizes.get(name, 0) for name, bits in layout.left.items() if any(bits[1:]))


def _lost_bytes(data: bytes, layout: Layout) -> float:
    """Bytes that are missing of the last scan.

    As many as the missing part would take if it were as dense as the part before; or as the end of
    that part, if it is less dense: the foot of a picture is often plain.
    """
    lost = _undecoded(data, layout)
    if lost in (0, 1):
        return 0 if lost == 0 else math.inf
    size = len(data) - layout.start
    densities = [size / (1 - lost)]  # bytes a share of the picture
    for tail in (len(data) // 20, len(data) // 80):
        if 0 < tail < size:
            covered = _undecoded(data[:-tail].rstrip(b"\xff"), layout) - lost
            enough = 3 * math.prod(layout.unit) <= covered * math.prod(layout.size)
            densities += [tail / covered] if enough else []
    return lost * min(densities)


def _undecoded(data: bytes, layout: Layout) -> float:
    """Share of the picture that the last scan doesn't reach, in its coding's units."""
    with _decoded(data + END) as filled, _decoded(data + _NOISE + END) as other:
        difference = ImageChops.difference(filled, other)
    box = difference.getbbox(alpha_only=False)
    if box is None:
        return 0.0
    width, height = difference.size
    across, down = layout.unit
    row = (box[1] + 2) // down  # upsampling of colours reaches a pixel into what was decoded
    top, bottom = row * down, min((row + 1) * down, height)
    inner = difference.crop((0, top, width, max(bottom - 2, top + 1))).getbbox(alpha_only=False)
    column = width if inner is None else min((inner[0] + 2) // across * across, width)
    return 1 - (top * width + (bottom - top) * column) / (width * height)


def _decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=("JPEG",))
    image.load()
    return image
