"""Mend JPEG files that are cut off, and estimate the share of their data that is missing.

Pillow's own switch, `ImageFile.LOAD_TRUNCATED_IMAGES`, is a global: it would also change other code
in the process. Here the bytes get an end marker instead, and libjpeg fills the missing part with
the last colour.
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
_ZEROS = 64  # at least so many zero bytes at the end: an unfinished download, not data
# Appended instead of the missing data: the pixels that it changes are the missing ones.
_NOISE = bytes(random.Random(0).randrange(255) for _ in range(4096))


@dataclass
class Layout:
    """The structure of a JPEG, read from its markers.

    size: width and height in pixels.
    sampling: component -> horizontal and vertical sampling factor.
    scan: the components of the last scan.
    start, end: offsets of the last scan's data.
    lacking: component -> for each of its 64 coefficients the number of low bits that no scan has
        coded yet; 16 if none has coded the coefficient at all.
    sizes: component -> bytes of its last scan that codes more than the DC coefficients.
    ended: True if the end marker is there.
    """

    size: tuple[int, int] = (0, 0)
    sampling: dict[int, tuple[int, int]] = field(default_factory=dict)
    scan: list[int] = field(default_factory=list)
    start: int = 0
    end: int = 0
    lacking: dict[int, list[int]] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    ended: bool = False

    @property
    def unit(self) -> tuple[int, int]:
        """Width and height in pixels of the block that the last scan codes at a time (its MCU)."""
        across, down = (max(side) for side in zip(*self.sampling.values(), strict=True))
        if len(self.scan) > 1:
            return 8 * across, 8 * down
        component = self.sampling[self.scan[0]]
        return 8 * across // component[0], 8 * down // component[1]


def layout_of(data: bytes) -> Layout | None:
    """Return the layout of a JPEG's first picture; None if its markers are not valid."""
    layout, offset = Layout(), 2
    while offset < len(data):
        if data[offset] != 0xFF:  # the segment before it has a wrong length
            following = _NEXT.search(data, offset)
            if following is None:
                return None
            offset = following.start()
        while offset < len(data) and data[offset] == 0xFF:
            offset += 1
        marker = data[offset] if offset < len(data) else 0x01
        offset += 1
        if marker == END[1]:
            layout.ended = True
            return layout
        if marker in _ALONE:
            continue
        length = int.from_bytes(data[offset : offset + 2], "big")
        segment = data[offset + 2 : offset + length]
        if len(segment) != length - 2:
            return layout
        offset += length
        if marker in _FRAMES and not _read_frame(layout, segment):
            return None
        if marker == 0xDA:
            if not _read_scan(layout, segment):
                return None
            layout.start = offset
            following = _NEXT.search(data, offset)
            offset = layout.end = len(data) if following is None else following.start()
            if segment[-2] > 0:  # the scan's last coefficient: more than DC
                layout.sizes |= dict.fromkeys(layout.scan, offset - layout.start)
    return layout


def _read_frame(layout: Layout, segment: bytes) -> bool:
    layout.size = int.from_bytes(segment[3:5], "big"), int.from_bytes(segment[1:3], "big")
    parts = [segment[n : n + 3] for n in range(6, len(segment) - 2, 3)]
    layout.sampling = {part[0]: (part[1] >> 4, part[1] & 15) for part in parts}
    layout.lacking = {name: [16] * 64 for name in layout.sampling}
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
            layout.lacking[name][n] = bits & 15
    return True


class CutOffError(ValueError):
    """A JPEG that is cut off. missing: the share of its data that is missing; None: not known."""

    def __init__(self, missing: float | None) -> None:
        super().__init__("cut off")
        self.missing = missing


def is_cut_off(data: bytes) -> bool:
    """Return True if a JPEG lacks its end marker, while its other markers are valid."""
    layout = layout_of(data)
    return layout is not None and not layout.ended


def mend(data: bytes, most: float) -> tuple[bytes, float]:
    """Add an end marker to a JPEG that is cut off; return it and the share of data missing.

    The share is an estimate: see `_lost_bytes` and `_later_scans`. Raises CutOffError if it is
    above `most`, and Pillow's errors on broken data.
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
    """Estimate the bytes of the scans that have not begun: each as long as the scan it refines.

    None if they hold more than the last bit of a coefficient: nothing tells their length.
    """
    if any(max(bits) > 1 for bits in layout.lacking.values()):
        return None
    return sum(layout.sizes.get(name, 0) for name, bits in layout.lacking.items() if any(bits[1:]))


def _lost_bytes(data: bytes, layout: Layout) -> float:
    """Estimate the bytes that are missing from the last scan.

    The missing part of the picture is taken to be as dense (bytes for its area) as the part before
    it, or as the end of that part if that is less dense: the foot of a picture is often plain.
    """
    lost = _undecoded(data, layout)
    if lost in (0, 1):
        return 0 if lost == 0 else math.inf
    size = len(data) - layout.start
    densities = [size / (1 - lost)]  # bytes for the whole picture
    for tail in (len(data) // 20, len(data) // 80):
        if 0 < tail < size:
            covered = _undecoded(data[:-tail].rstrip(b"\xff"), layout) - lost
            enough = 3 * math.prod(layout.unit) <= covered * math.prod(layout.size)
            densities += [tail / covered] if enough else []
    return lost * min(densities)


def _undecoded(data: bytes, layout: Layout) -> float:
    """Return the share of the picture that the last scan does not reach, in whole coding units."""
    with _decoded(data + END) as filled, _decoded(data + _NOISE + END) as other:
        difference = ImageChops.difference(filled, other)
    box = difference.getbbox(alpha_only=False)
    if box is None:
        return 0.0
    width, height = difference.size
    across, down = layout.unit
    row = (box[1] + 2) // down  # upsampled colours change a pixel row of the decoded part, too
    top, bottom = row * down, min((row + 1) * down, height)
    inner = difference.crop((0, top, width, max(bottom - 2, top + 1))).getbbox(alpha_only=False)
    column = width if inner is None else min((inner[0] + 2) // across * across, width)
    return 1 - (top * width + (bottom - top) * column) / (width * height)


def _decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=("JPEG",))
    image.load()
    return image
