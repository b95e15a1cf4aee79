"""PNG files: drop the texts that Pillow refuses, and measure how much of a file is missing.

Pillow refuses a text or colour profile that unpacks to more than 1 MB (its MAX_TEXT_CHUNK), and
more than 64 MB of text in all (MAX_TEXT_MEMORY); both limits are globals. Only the orientation in
some texts matters here, so the other texts are dropped. Their unpacked size is bounded as well: a
text may be a decompression bomb.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_CHUNK = 32_000_000  # bytes that a text, or a profile, may unpack to
MAX_ALL = 64_000_000  # bytes that all of them may unpack to
MAX_ROWS = 8 * 64_000_000  # bytes of the largest picture
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_SMALL = 1_000_000  # bytes that Pillow accepts
_ORIENTED = (b"XML:com.adobe.xmp", b"Raw profile type exif", b"Raw profile type APP1", b"exif")


class BombError(ValueError):
    """Compressed text that unpacks to more than MAX_CHUNK or MAX_ALL bytes."""


def without_text(data: bytes) -> bytes | None:
    """Return the PNG without its texts and profile; a small text with an orientation is kept.

    None if there is nothing to drop. Raises BombError.
    """
    parts, left, dropped = [SIGNATURE], MAX_ALL, False
    for kind, chunk, whole in _chunks(data):
        if kind in _TEXTS:
            size = _unpacked(kind, chunk, min(left, MAX_CHUNK))
            left -= size
            if size > _SMALL or chunk.partition(b"\0")[0] not in _ORIENTED:
                dropped = True
                continue
        parts.append(whole)
    return b"".join(parts) if dropped else None


def missing_share(data: bytes) -> float | None:
    """Return the share of a PNG's pixels that is missing at its end.

    Unpacks the rows and counts their bytes. None if the file is not cut off, or is interlaced.
    """
    expected, got, ended = 0, 0, False
    unpacking = zlib.decompressobj()
    for kind, chunk, _ in _chunks(data):
        if kind == b"IHDR" and len(chunk) == 13:
            width, height, depth, colours, *_, interlaced = struct.unpack(">IIBBBBB", chunk)
            bits = depth * {2: 3, 4: 2, 6: 4}.get(colours, 1)
            expected = 0 if interlaced else height * (1 + (width * bits + 7) // 8)
        elif kind == b"IDAT":
            try:
                got += _length(unpacking, chunk, expected - got)
            except zlib.error:
                return None
            if got >= expected or expected > MAX_ROWS:
                return None
        ended = ended or kind == b"IEND"
    return None if ended or not expected else 1 - got / expected


def _length(unpacking: zlib._Decompress, packed: bytes, enough: int) -> int:
    """Count the bytes that `packed` unpacks to, up to about `enough`; keeps 1 MB in memory."""
    length = 0
    while packed and length < enough:
        length += len(unpacking.decompress(packed, 1_000_000))
        packed = unpacking.unconsumed_tail
    return length


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield type, content, and all bytes of each chunk; the last may be cut off."""
    offset = len(SIGNATURE)
    while offset < len(data):
        end = offset + 12 + int.from_bytes(data[offset : offset + 4], "big")
        yield data[offset + 4 : offset + 8], data[offset + 8 : end - 4], data[offset:end]
        offset = end


def _unpacked(kind: bytes, chunk: bytes, most: int) -> int:
    """Return the bytes that a chunk's compressed text unpacks to; 0 for uncompressed text.

    Raises BombError above `most`.
    """
    keyword, _, content = chunk.partition(b"\0")
    del keyword
    if kind == b"tEXt":
        return 0
    if kind == b"iTXt":
        if content[:1] in (b"", b"\0"):
            return 0
        packed = content[2:].split(b"\0", 2)[-1]
    else:
        packed = content[1:]
    unpacking = zlib.decompressobj()
    try:
        size = len(unpacking.decompress(packed, most + 1))
    except zlib.error:  # Pillow ignores it, too
        return 0
    if size > most:
        raise BombError(
            f"its {kind.decode()} text unpacks to more than {MAX_CHUNK:,} bytes, or all its texts "
            f"to more than {MAX_ALL:,}: a decompression bomb"
        )
    return size
