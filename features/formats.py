"""Tell a file's format from its first bytes: the "pictures" of posts are often other files."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

HEAD = 4096  # bytes from which a format is recognised
JPEG = b"\xff\xd8"
# Readers.
READ = "read"  # Pillow
AVIF = "AVIF"  # Pillow, but not in every build
HEIC = "HEIC"  # pillow-heif
OTHER = "other"  # none

# Brands of ISO media files (ISO/IEC 14496-12) by their content.
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_AVIF = {b"avif", b"avis"}
_HEIF = {b"mif1", b"mif2", b"msf1", b"miaf"}  # any codec: the compatible brands say which
_BRANDS = {
    b"qt  ": "a video (QuickTime)",
    b"M4A ": "a sound (M4A)",
    b"M4B ": "a sound (M4A)",
    b"crx ": "a raw photograph (CR3)",
    b"jp2 ": "a JPEG 2000 picture",
    b"jxl ": "a JPEG XL picture",
}
_READ = (
    (JPEG, "a JPEG picture"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"GIF87a", "a GIF picture"),
    (b"GIF89a", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"II+\0", "a TIFF picture"),
    (b"MM\0+", "a TIFF picture"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
)
_OTHER = (
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
    (b"%PDF-", "a PDF"),
    (b"%!PS", "a PostScript drawing (EPS)"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript drawing (EPS)"),
    (b"8BPS", "a Photoshop file (PSD)"),
    (b"gimp xcf", "a GIMP file (XCF)"),
    (b"\0\0\1\0", "an icon (ICO)"),
    (b"\0\0\2\0", "a cursor (CUR)"),
    (b"icns", "an icon (ICNS)"),
    (b"DDS ", "a texture (DDS)"),
    (b"qoif", "a QOI picture"),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (b"#?RADIANCE", "a Radiance picture (HDR)"),
    (b"FUJIFILMCCD-RAW", "a raw photograph (RAF)"),
    (b"IIU\0", "a raw photograph (RW2)"),
    (b"AT&TFORM", "a DjVu document"),
    (b"\xd7\xcd\xc6\x9a", "a drawing (WMF)"),
    (b"\x1aE\xdf\xa3", "a video (WebM or Matroska)"),
    (b"FLV\1", "a video (FLV)"),
    (b"\0\0\1\xba", "a video (MPEG)"),
    (b"\0\0\1\xb3", "a video (MPEG)"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a video (WMV)"),
    (b"OggS", "a video or sound (Ogg)"),
    (b"ID3", "a sound (MP3)"),
    (b"fLaC", "a sound (FLAC)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"PK\3\4", "a ZIP archive or an office document"),
    (b"PK\5\6", "a ZIP archive or an office document"),
    (b"Rar!\x1a\7", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\xd0\xcf\x11\xe0", "an office document"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"SQLite format 3\0", "a SQLite file"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
)
_RIFF = {b"AVI ": "a video (AVI)", b"WAVE": "a sound (WAV)"}
_DRAWN = ("picture", "drawing", "photograph", "icon", "cursor", "texture", "(PSD)", "(XCF)")
_LFS = b"version https://git-lfs"
_OPENING = re.compile(rb"\s*(?:<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*(?:\[.*?\])?[^>]*>|\s+)*", re.S)
_HTML = (b"<html", b"<head", b"<body", b"<script", b"<title", b"<meta", b"<div", b"<p>", b"<h1")


@dataclass(frozen=True)
class Format:
    """A file's format. name: with its article. reader: READ, AVIF, HEIC or OTHER."""

    name: str
    reader: str = OTHER

    @property
    def advice(self) -> str:
        """Advice for making the file readable; follows the name in a message."""
        if self.reader == HEIC:
            return ": install the extra [heif] (pip install pillow-heif), or save it as JPEG"
        if self.reader == AVIF:
            return ", which the installed Pillow does not decode: pip install --upgrade pillow"
        if any(word in self.name for word in _DRAWN):
            return ": save it as JPEG or PNG"
        return " in a picture's place"


def format_of(head: bytes) -> Format | None:
    """Return the format of a file by its first HEAD bytes; None if they match no format."""
    for signature, name in _READ:
        if head.startswith(signature):
            return Format(name, READ)
    for signature, name in _OTHER:
        if head.startswith(signature):
            return Format(name)
    if head[4:8] == b"ftyp":
        return _media(head)
    if head[4:8] in (b"moov", b"mdat", b"wide", b"pnot"):
        return Format("a video (QuickTime)")
    if head[:4] == b"RIFF":
        is_webp = head[8:12] == b"WEBP"
        other = Format(_RIFF.get(head[8:12], "a RIFF file"))
        return Format("a WebP picture", READ) if is_webp else other
    if re.match(rb"P[1-7y]\s", head):
        return Format("a PPM picture", READ)
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return Format("a video (MPEG)")
    if head and not any(head):
        return Format("a file of zero bytes, as unfinished downloads leave it")
    return _text(head)


def _media(head: bytes) -> Format:
    """Return the format of an ISO media file by its major brand, then its compatible brands."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    major, others = head[8:12], {head[n : n + 4] for n in range(16, size - 3, 4)}
    for brands in ({major}, others if major in _HEIF else set()):
        if brands & _AVIF:
            return Format("an AVIF picture", AVIF)
        if brands & _HEIC:
            return Format("a HEIC picture", HEIC)
    if major in _HEIF:
        return Format("a HEIF picture", HEIC)
    if major[:3] in (b"3gp", b"3g2"):
        return Format("a video (3GP)")
    return Format(_BRANDS.get(major, "a video (MP4)"))


def _text(head: bytes) -> Format | None:
    """Return the format of a text: a drawing, a web page, a server's answer; None if not text."""
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if head.startswith(mark):
            head = head[2:].decode(encoding, "replace").encode()
    head = head.removeprefix(b"\xef\xbb\xbf")
    if head.startswith(_LFS):
        return Format("a Git LFS pointer (git lfs pull fetches the file)")
    start = head.lstrip().lower()
    opening = _OPENING.match(head)
    body = (head[opening.end() :] if opening else head).lower()
    if body.startswith((b"<svg", b"<svg:svg")):
        return Format("an SVG drawing")
    if start.startswith(b"<!doctype html") or body.startswith(_HTML):
        return Format("a web page (HTML)")
    if start.startswith(b"<!doctype svg") or (b"<svg" in start and start.startswith(b"<?xml")):
        return Format("an SVG drawing")
    if start.startswith((b"<?xml", b"<")):
        return Format("an XML file")
    if start.startswith(b"http/1"):
        return Format("an answer of a web server (HTTP)")
    if not head.strip() or re.search(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]", head):
        return None
    try:  # the head may end within a character
        codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) < HEAD)
    except UnicodeDecodeError:
        return None
    return Format("JSON text" if start.startswith((b"{", b"[")) else "a text file")


def missing_of_declared(data: bytes, size: int) -> float | None:
    """Return the share of a file's data that is missing by the size that its header declares.

    data: the first HEAD bytes. size: of the file, bytes. None if the header declares no size, or
    the file is as large.
    """
    declared = _declared(data, size)
    return None if declared is None or declared <= size else 1 - size / declared


def _declared(data: bytes, size: int) -> int | None:
    if data[:4] == b"RIFF":
        return int.from_bytes(data[4:8], "little") + 8
    if data[:2] == b"BM":
        return int.from_bytes(data[2:6], "little")
    if data[4:8] != b"ftyp":
        return None
    offset = 0
    while offset + 8 <= len(data):  # the file's boxes; the last begins within the head
        box = int.from_bytes(data[offset : offset + 4], "big")
        if box < 8:  # it reaches to the file's end, or its size has 64 bits
            return None
        offset += box
    return offset if offset > size else None
