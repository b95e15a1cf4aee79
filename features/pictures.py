"""Open pictures in one form, cut crops out of them, and prepare both for the backbone.

Boxes here and everywhere: `(x0, y0, x1, y1)` in pixels of the *upright* picture, origin at its
upper left corner, x to the right, y downwards; `x1` and `y1` lie just outside the box, so that
its width is `x1 - x0`. torch is imported by `prepare` alone: grounding needs it not.
"""

from __future__ import annotations

import errno
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from features.errors import FeatureError, access_named

if TYPE_CHECKING:
    import torch

Box = tuple[float, float, float, float]

# Below Pillow's own threshold of 89 million, so that its warning is no part of our behaviour.
MAX_PIXELS = 64_000_000
# Longer pictures are cut to this, about the centre, before "center" resizes them (see prepare).
MAX_RATIO = 20
# What posts hold. Others stay shut: Pillow hands EPS files, for one, to Ghostscript.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")
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
_LYING = (5, 6, 7, 8)  # width and height are exchanged
# What Pillow's readers raise on broken files.
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
# Errors of the system that a file itself is the reason of. Pillow's own have no number.
_OF_THE_FILE = (None, errno.ENOENT, errno.EINVAL, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR)


class PictureError(FeatureError):
    """One picture can't be used. The message is one line, with the file and the reason.

    `reason` is the message without the file; `kind` is the reason in a word, for counting:
    missing, broken, huge, empty.
    """

    def __init__(self, reason: str, path: Path | None = None, kind: str = "broken") -> None:
        super().__init__(reason if path is None else f"{_written(path)}: {reason}")
        self.reason, self.kind = reason, kind


def _written(path: Path) -> str:
    """The path on one line: a file's name may hold line ends, and much else."""
    return str(path) if str(path).isprintable() else repr(str(path))


def open_picture(path: Path) -> Image.Image:
    """The picture, upright, in mode RGB.

    Transparency is laid over white, 16-bit grey is scaled to 8 bits, an animation gives its first
    frame. Raises PictureError: no such file, no picture, truncated, more than MAX_PIXELS.
    """
    with _opened(path) as image:
        image.load()
        return _upright(_to_rgb(image), _orientation(image))


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of the upright picture by its header alone; its pixels may be broken.

    A PNG that tells its orientation behind its pixels counts as upright. Raises PictureError.
    """
    with _opened(path) as image:
        width, height = image.size
        if image.format == "PNG" and "exif" not in image.info:  # to ask would decode it
            return width, height
        return (height, width) if _orientation(image) in _LYING else (width, height)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image whose header was read and found good; errors of reading more become one line too."""
    try:
        if not path.is_file():
            raise PictureError(NO_FILE, path, "missing")
        if path.stat().st_size == 0:
            raise PictureError("an empty file", path, "empty")
        with Image.open(path, formats=FORMATS) as image:
            _check_size(image, path)
            yield image
    except PictureError:
        raise
    except PermissionError as error:  # no reason to go on without it: the right can be given
        with access_named(path):
            raise error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = f"{_one_line(error)}, at most {MAX_PIXELS:,} allowed"
        raise PictureError(reason, path, "huge") from error
    except UnidentifiedImageError as error:
        raise PictureError("not a picture of a known format", path) from error
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno not in _OF_THE_FILE:
            raise  # the machine's trouble, which may pass
        raise PictureError(f"unreadable picture: {_one_line(error)}", path) from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _check_size(image: Image.Image, path: Path) -> None:
    """Refuse by the header alone: decoding a small file can fill the memory."""
    width, height = image.size
    if width < 1 or height < 1:
        raise PictureError(f"{width}×{height} is an empty picture", path, "empty")
    if width * height > MAX_PIXELS:
        pixels = f"{width}×{height} = {width * height:,} pixels"
        raise PictureError(f"{pixels}, at most {MAX_PIXELS:,} allowed", path, "huge")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.float32).clip(0, 65535) / 257
        return Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")
    if image.mode == "F":  # no scale is known: taken as 0…255
        grey = np.nan_to_num(np.asarray(image)).clip(0, 255)
        return Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode == "La":  # Pillow has no direct way from here to RGBA
        image = image.convert("LA")
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image)
    return white


def _orientation(image: Image.Image) -> int | None:
    """The EXIF orientation; None where the EXIF block is broken, as its pixels may still be good.

    To be asked after loading: a PNG may carry it behind its pixels.
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
    """How a picture or crop becomes the backbone's square input of `size` pixels a side.

    `center`: short side to size · 256 / 224, then the square in the centre (the published code).
    `stretch`: both sides to size (the paper, "rescale to 224×224").
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

    Returns (3, size, size) float32, normalised with ImageNet's mean and deviation: for "center"
    what torchvision's Resize, CenterCrop, ToTensor, Normalize give. Raises as `square`.
    """
    import torch

    return normalise(torch.from_numpy(square(picture, box, preparation))[None])[0]


def square(picture: Image.Image, box: Box | None, preparation: Preparation) -> np.ndarray:
    """`prepare` up to normalising, without torch, as threads of their own do it: (size, size, 3).

    uint8. Departure: what is longer than MAX_RATIO to 1 is first cut to that about its centre, as
    resizing one row of 5,000 pixels would otherwise make 1.3 million columns. Raises PictureError
    when the box misses the picture.
    """
    from torchvision.transforms import functional

    if box is not None:
        picture = cut(picture, box)
    size = preparation.size
    if preparation.resize == "stretch":
        picture = functional.resize(picture, [size, size])
    else:
        picture = functional.resize(_shorten(picture), [round(size * 256 / 224)])
        picture = functional.center_crop(picture, [size, size])
    return np.array(picture)


def normalise(squares: torch.Tensor) -> torch.Tensor:
    """(N, S, S, 3) uint8 -> (N, 3, S, S) float32 on the same device, channels-last in memory."""
    numbers = squares.float().div_(255)
    mean, std = numbers.new_tensor(MEAN), numbers.new_tensor(STD)
    return numbers.sub_(mean).div_(std).permute(0, 3, 1, 2)


def cut(picture: Image.Image, box: Box) -> Image.Image:
    """The crop of an upright picture: the box, widened to whole pixels and clamped to the picture.

    Raises PictureError when no pixel is left.
    """
    width, height = picture.size
    if not all(math.isfinite(side) for side in box):
        raise PictureError(f"box {box} is not finite")
    x0, y0 = max(math.floor(box[0]), 0), max(math.floor(box[1]), 0)
    x1, y1 = min(math.ceil(box[2]), width), min(math.ceil(box[3]), height)
    if x0 >= x1 or y0 >= y1:
        raise PictureError(f"box {box} holds no pixel of a picture of {width}×{height}")
    return picture.crop((x0, y0, x1, y1))


def _shorten(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    longest = MAX_RATIO * min(width, height)
    if max(width, height) <= longest:
        return picture
    x0, y0 = max(width - longest, 0) // 2, max(height - longest, 0) // 2
    return picture.crop((x0, y0, x0 + min(width, longest), y0 + min(height, longest)))
