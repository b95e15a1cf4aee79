"""Open pictures in one form, cut crops out of them, and prepare both for the backbone.

Boxes here and everywhere: `(x0, y0, x1, y1)` in pixels of the *upright* picture, origin at its
upper left corner, x to the right, y downwards; `x1` and `y1` lie just outside the box, so that
its width is `x1 - x0`. Only `prepare` and `square` import torch and torchvision, when they are
called: grounding needs neither.
"""

from __future__ import annotations

import errno
import io
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL import features as pillow

from features import formats, jpeg, png
from features.errors import FeatureError, access_named

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
Box = tuple[float, float, float, float]
File = Path | bytes  # a picture file, or its content
Source = File | Image.Image  # or an image that a caller has opened, lazily or not

# Below Pillow's own limit of 89 million, so that Pillow's warning never appears.
MAX_PIXELS = 64_000_000
# Long side to short side. "center" first crops longer pictures to it (see `square`).
MAX_RATIO = 20
# The usual formats of posts. Pillow reads more, but not safely: it passes EPS files to Ghostscript,
# an icon may hold larger pictures than its header says, and a TGA looks like random bytes.
# AVIF and HEIC: see `_reader`.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000")
READER = 3  # raise it when this file reads more pictures: outputs that lack them become stale
MOST_MISSING = 0.05  # largest share of a JPEG's data that may be missing; it is filled
NO_FILE = "no such file"
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

_ORIENTATION = 0x0112  # EXIF
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPPED = (5, 6, 7, 8)  # orientations that exchange width and height
# Exceptions that Pillow raises on broken files.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)
# `errno` of system errors that the file itself causes; None: Pillow's own errors have no number.
_FILE_ERRNOS = (None, errno.ENOENT, errno.EINVAL, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR)


class PictureError(FeatureError):
    """A picture that cannot be used. The message is one line: the file and the reason.

    reason: the message without the file.
    kind: the reason as a word, for counting: missing, broken, huge, empty, or format (this
        installation cannot read it).
    """

    def __init__(self, reason: str, path: Path | None = None, kind: str = "broken") -> None:
        super().__init__(reason if path is None else f"{_on_one_line(path)}: {reason}")
        self.reason, self.kind = reason, kind


def _on_one_line(path: Path) -> str:
    """Return the path, quoted if its name holds line breaks or other unprintable characters."""
    return str(path) if str(path).isprintable() else repr(str(path))


def open_picture(source: Source) -> Image.Image:
    """Open a picture, turn it upright and convert it to RGB.

    Transparency is laid over white, 16-bit grey is scaled to 8 bits, an animation gives its first
    frame, and a JPEG that lacks at most MOST_MISSING of its data is filled. Raises PictureError if
    the file is missing, not a picture, cut off, or larger than MAX_PIXELS.

    An image that the caller has opened gives the same pixels as its file, but missing data is not
    filled. It stays at its frame and remains usable, by one thread at a time. It is turned by the
    EXIF orientation that it still has: `ImageOps.exif_transpose` removes it, `convert` does not.
    """
    return read_picture(source)[0]


def read_picture(source: Source) -> tuple[Image.Image, float]:
    """Do as `open_picture`; return the picture and the share of its data that was filled."""
    return _read(source, _pixels)


def picture_size(source: Source) -> tuple[int, int]:
    """Return width and height of the upright picture from its header; its pixels may be broken.

    A PNG whose EXIF data follow its pixels counts as upright. Raises PictureError.
    """
    return _read(source, _upright_size)[0]


def missing_share(source: Source) -> float:
    """Return the share of a picture's data that `open_picture` fills; 0 unless a JPEG is cut off.

    A complete file costs two reads of two bytes. Raises PictureError if more than MOST_MISSING is
    missing.
    """
    if isinstance(source, Image.Image):
        return 0.0
    with _refusals(source):
        with _stream(source) as file:
            if file.read(2) != formats.JPEG:
                return 0.0
            file.seek(-2, io.SEEK_END)
            if file.read(2) == jpeg.END:
                return 0.0
        if not jpeg.is_cut_off(_content(source)):
            return 0.0
    return read_picture(source)[1]


def _read(source: Source, use: Callable[[Image.Image], T]) -> tuple[T, float]:
    """Apply `use` to the open image; return its result and the share of data that is missing."""
    with _refusals(source):
        if isinstance(source, Image.Image):
            return _read_image(source, use), 0.0
        try:
            with _opened(source) as image:
                return use(_checked(image)), 0.0
        except PictureError:
            raise
        except _BROKEN as error:
            _raise_system_error(error)
            data, missing = _mended(_content(source), error)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return use(_checked(image)), missing


def _read_image(image: Image.Image, use: Callable[[Image.Image], T]) -> T:
    try:
        with _at_first_frame(image):
            return use(_checked(image))
    except (AssertionError, AttributeError) as error:  # Pillow raises these for a closed file
        raise PictureError("an image whose file was closed before it was read") from error


@contextmanager
def _at_first_frame(image: Image.Image) -> Iterator[None]:
    """Move the image to its first frame, and at the end back to the frame where it was."""
    frame = image.tell()
    if frame:
        image.seek(0)
    try:
        yield
    finally:
        if frame:
            image.seek(frame)


def _opened(source: File) -> Image.Image:
    known = formats.format_of(_head(source))
    reader = None if known is None else _reader(known.reader)
    # A path is passed on as it is: Pillow may then map the file into memory.
    file = source if isinstance(source, Path) else io.BytesIO(source)
    return Image.open(file, formats=FORMATS) if reader is None else reader(file)


def _stream(source: File) -> BinaryIO:
    return source.open("rb") if isinstance(source, Path) else io.BytesIO(source)


def _content(source: File) -> bytes:
    return source.read_bytes() if isinstance(source, Path) else source


def _head(source: File) -> bytes:
    with _stream(source) as file:
        return file.read(formats.HEAD)


def installation() -> str:
    """Return the versions that decide which pictures can be read on this installation."""
    parts = [f"reader {READER}", f"pillow {metadata.version('pillow')}"]
    parts += [name for name in (formats.AVIF,) if _reader(name)]
    with suppress(metadata.PackageNotFoundError):
        parts.append(f"pillow-heif {metadata.version('pillow-heif')}")
    return ", ".join(parts)


def in_words(missing: float) -> str:
    """Return the share of a file's data that is missing, in the words of reports."""
    return f"{max(1, round(missing * 100))} % of its data is missing"


@cache
def _reader(name: str) -> Callable[[Path | BinaryIO], Image.Image] | None:
    """Return the opener of a format that only some installations read; None if this one can't."""
    if name == formats.AVIF and name.lower() in pillow.modules and pillow.check(name.lower()):
        return lambda file: Image.open(file, formats=(name,))
    if name == formats.HEIC:
        with suppress(ImportError):
            from pillow_heif import HeifImageFile

            # Not registered: that would change Image.open for the whole program.
            return lambda file: HeifImageFile(file)
    return None


def _mended(data: bytes, error: Exception) -> tuple[bytes, float]:
    """Return a file's bytes in a form that Pillow can read, and the share of data that is missing.

    error: raised by Pillow on `data`, and again here if nothing can be mended. Raises PictureError
    if too much is missing.
    """
    if data.startswith(formats.JPEG) and jpeg.is_cut_off(data):
        try:
            return jpeg.mend(data, MOST_MISSING)
        except jpeg.CutOffError as cut:
            raise _cut_off(cut.missing) from error
    if data.startswith(png.SIGNATURE):
        lighter, missing = png.without_text(data), png.missing_share(data)
    else:
        lighter, missing = None, formats.missing_of_declared(data[: formats.HEAD], len(data))
    if lighter is not None and missing is None:
        return lighter, 0.0
    if missing is not None:
        raise _cut_off(missing) from error
    raise error


def _cut_off(missing: float | None) -> PictureError:
    if missing is None:
        return PictureError(f"cut off: more than {MOST_MISSING * 100:.0f} % of its data is missing")
    return PictureError(f"cut off: {in_words(missing)}")


@contextmanager
def _refusals(source: Source) -> Iterator[None]:
    """Turn the errors of reading a picture into a PictureError that names its file, if any."""
    path = source if isinstance(source, Path) else None
    try:
        if path is not None and not path.is_file():
            raise PictureError(absence(path), kind="missing")
        if source == b"" or (path is not None and path.stat().st_size == 0):
            raise PictureError("an empty file", kind="empty")
        yield
    except PictureError as error:
        raise PictureError(error.reason, path, error.kind) from error
    except PermissionError as error:  # stop rather than skip the picture: its owner can mend this
        with access_named(path or "a picture"):
            raise error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = f"{_one_line(error)}, at most {MAX_PIXELS:,} allowed"
        raise PictureError(reason, path, "huge") from error
    except UnidentifiedImageError as error:
        reason, kind = _unidentified(b"" if isinstance(source, Image.Image) else _head(source))
        raise PictureError(reason, path, kind) from error
    except _BROKEN as error:
        _raise_system_error(error)
        raise PictureError(f"unreadable picture: {_one_line(error)}", path) from error


def absence(path: Path) -> str:
    """Return the reason of a PictureError for a path that is not a file."""
    if path.is_dir():
        return "a folder in a picture's place"
    if path.exists():
        return "a pipe, socket or device in a picture's place"
    return "a link that leads to no file" if path.is_symlink() else NO_FILE


def _unidentified(head: bytes) -> tuple[str, str]:
    """Return reason and kind of the PictureError for a file that no reader accepts.

    head: its first bytes, which show its real format.
    """
    known = formats.format_of(head)
    if known is None:
        return "not a picture of a known format", "broken"
    if known.reader == formats.READ or _reader(known.reader):
        return f"{known.name} with a broken header", "broken"
    kind = "broken" if known.reader == formats.OTHER else "format"
    return f"{known.name}{known.advice}", kind


def _raise_system_error(error: BaseException) -> None:
    """Raise an error again if the machine caused it, not the file: it may be temporary."""
    if isinstance(error, OSError) and error.errno not in _FILE_ERRNOS:
        raise error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _checked(image: Image.Image) -> Image.Image:
    """Raise PictureError for an empty or huge image: decoding a small file can fill the memory."""
    width, height = image.size
    if width < 1 or height < 1:
        raise PictureError(f"{width}×{height} is an empty picture", kind="empty")
    if width * height > MAX_PIXELS:
        pixels = f"{width}×{height} = {width * height:,} pixels"
        raise PictureError(f"{pixels}, at most {MAX_PIXELS:,} allowed", kind="huge")
    return image


def _pixels(image: Image.Image) -> Image.Image:
    image.load()
    _checked(image)  # a HEIC picture may be larger than its header says
    return _upright(_to_rgb(image), _orientation(image))


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    if image.format == "PNG" and "exif" not in image.info:  # getexif would decode the pixels
        return width, height
    return (height, width) if _orientation(image) in _SWAPPED else (width, height)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.float32).clip(0, 65535) / 257
        return Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")
    if image.mode == "F":  # the scale is not known: 0…255 is assumed
        grey = np.nan_to_num(np.asarray(image)).clip(0, 255)
        return Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode == "La":  # Pillow does not convert it to RGBA directly
        image = image.convert("LA")
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image)
    return white


def _orientation(image: Image.Image) -> int | None:
    """Return the EXIF orientation; None if the EXIF block is broken: the pixels may still be good.

    Call it after loading: in a PNG the EXIF data may follow the pixels.
    """
    try:
        return image.getexif().get(_ORIENTATION)
    except _BROKEN:
        return None


def _upright(image: Image.Image, orientation: int | None) -> Image.Image:
    if orientation in _UPRIGHT:
        return image.transpose(_UPRIGHT[orientation])
    return image


@dataclass(frozen=True)
class Preparation:
    """Settings for turning a picture or crop into the backbone's square input.

    resize: "center" scales the short side to size · 256 / 224, then cuts out the central square
        (the published code); "stretch" scales both sides to size (the paper, "rescale to 224×224").
    size: side of the square in pixels.
    """

    resize: str = "center"
    size: int = 224

    def __post_init__(self) -> None:
        if self.resize not in ("center", "stretch"):
            raise ValueError(f"resize must be 'center' or 'stretch', got {self.resize!r}")
        if not 32 <= self.size <= 2048:  # a ResNet divides the sides by 32
            raise ValueError(f"size must be 32 to 2048 pixels, got {self.size}")

    @property
    def name(self) -> str:
        return f"{self.resize}{self.size}"


def prepare(picture: Image.Image, box: Box | None, preparation: Preparation) -> torch.Tensor:
    """Cut `box` out of an upright RGB picture (None: all of it), resize, normalise.

    Returns (3, size, size) float32, normalised with ImageNet's mean and deviation; "center" equals
    torchvision's Resize, CenterCrop, ToTensor and Normalize. Raises as `square`.
    """
    import torch

    return normalise(torch.from_numpy(square(picture, box, preparation))[None])[0]


def square(picture: Image.Image, box: Box | None, preparation: Preparation) -> np.ndarray:
    """Do as `prepare`, but stop before normalising. Returns (size, size, 3) uint8.

    Makes no tensor, so that worker threads can run it. Departure: a picture longer than MAX_RATIO
    to 1 is first cropped to that ratio about its centre; resizing one row of 5,000 pixels would
    otherwise make 1.3 million columns. Raises PictureError if the box misses the picture.
    """
    from torchvision.transforms import functional

    if box is not None:
        picture = cut(picture, box)
    size = preparation.size
    if preparation.resize == "stretch":
        picture = functional.resize(picture, [size, size])
    else:
        picture = functional.resize(_shorten(picture), [_short_side(preparation)])
        picture = functional.center_crop(picture, [size, size])
    return np.array(picture)


def _short_side(preparation: Preparation) -> int:
    """Return the short side, in pixels, of a picture from which "center" cuts its square."""
    return round(preparation.size * 256 / 224)


def normalise(squares: torch.Tensor) -> torch.Tensor:
    """Normalise with ImageNet's mean and deviation: (N, S, S, 3) uint8 -> (N, 3, S, S) float32.

    The result is on the same device, channels-last in memory.
    """
    width = squares.shape[2]
    lines = squares.flatten(2).float().div_(255)
    # Repeated along a line: broadcasting three numbers at a time takes a CPU five times as long.
    mean, std = lines.new_tensor(MEAN).repeat(width), lines.new_tensor(STD).repeat(width)
    return lines.sub_(mean).div_(std).unflatten(2, (width, 3)).permute(0, 3, 1, 2)


def cut(picture: Image.Image, box: Box) -> Image.Image:
    """Crop an upright picture to the box, widened to whole pixels and clamped to the picture.

    Raises PictureError if no pixel is left.
    """
    return picture.crop(_whole_pixels(picture.size, box))


def _whole_pixels(size: tuple[int, int], box: Box) -> tuple[int, int, int, int]:
    """Widen a box to whole pixels and clamp it to a picture of this width and height."""
    width, height = size
    if not all(math.isfinite(side) for side in box):
        raise PictureError(f"box {box} is not finite")
    x0, y0 = max(math.floor(box[0]), 0), max(math.floor(box[1]), 0)
    x1, y1 = min(math.ceil(box[2]), width), min(math.ceil(box[3]), height)
    if x0 >= x1 or y0 >= y1:
        raise PictureError(f"box {box} holds no pixel of a picture of {width}×{height}")
    return x0, y0, x1, y1


def kept_area(size: tuple[int, int], box: Box | None, preparation: Preparation) -> Box:
    """Return the part of `box` that `square` keeps, in pixels of the upright picture.

    size: the picture's width and height. box: None for the whole picture. Raises PictureError if
    the box misses the picture.
    """
    x0, y0, x1, y1 = (0, 0, *size) if box is None else _whole_pixels(size, box)
    if preparation.resize == "stretch":
        return x0, y0, x1, y1
    side = min(x1 - x0, y1 - y0) * preparation.size / _short_side(preparation)
    x, y = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2
    return x, y, x + side, y + side


def _shorten(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    longest = MAX_RATIO * min(width, height)
    if max(width, height) <= longest:
        return picture
    x0, y0 = max(width - longest, 0) // 2, max(height - longest, 0) // 2
    return picture.crop((x0, y0, x0 + min(width, longest), y0 + min(height, longest)))
