"""PNG files whose text is larger than Pillow reads: the same files without it.

Pillow refuses a text or colour profile that unpacks to more than 1 MB (its MAX_TEXT_CHUNK) and
64 MB of text in all (MAX_TEXT_MEMORY): both are globals. Nothing but the orientation that some text
holds counts here, so the rest is dropped instead; its size stays bounded, as it may be a bomb.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_CHUNK = 32_000_000  # bytes that one text, or a profile, may unpack to
MAX_ALL = 64_000_000  # that all of them may
MAX_ROWS = 8 * 64_000_000  # bytes of the largest picture
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_SMALL = 1_000_000  # bytes that Pillow surely reads
_ORIENTED = (b"XML:com.adobe.xmp", b"Raw profile type exif", b"Raw profile type APP1", b"exif")


class BombError(ValueError):
    """Compressed text unpacks to more than is read."""


def without_text(data: bytes) -> bytes | None:
    """The same picture without its text and profile, less what can hold an orientation.

    None where nothing is to be dropped. Raises BombError.
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
    """Share of a PNG's pixels that is missing at its end; None where it is not cut off.

    Not interlaced: its rows are unpacked, and counted in bytes.
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
    """Bytes that these unpack to, or about as many as are enough; never many are in memory."""
    length = 0
    while packed and length < enough:
        length += len(unpacking.decompress(packed, 1_000_000))
        packed = unpacking.unconsumed_tail
    return length


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Kind, content, and all bytes of each chunk; the last may be cut off."""
    place = len(SIGNATURE)
    while place < len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        yield data[place + 4 : place + 8], data[place + 8 : end - 4], data[place:end]
        place = end


def _unpacked(kind: bytes, chunk: bytes, most: int) -> int:
    """Bytes that a chunk's compressed text unpacks to; 0 for text that isn't compressed."""
    keyword, _, rest = chunk.partition(b"\0")
    del keyword
    if kind == b"tEXt":
        return 0
    if kind == b"iTXt":
        if rest[:1] in (b"", b"\0"):
            return 0
        rest = rest[2:].split(b"\0", 2)[-1]
    else:
        rest = rest[1:]
    unpacking = zlib.decompressobj()
    try:
        size = len(unpacking.decompress(rest, most + 1))
    except zlib.error:  # Pillow passes over it, too
        return 0
    if size > most:
        raise BombError(
            f"its {kind.decode()} text unpacks to more than {MAX_CHUNK:,} bytes, or all its texts "
            f"to more than {MAX_ALL:,}: a decompression bomb"
        )
    return size
