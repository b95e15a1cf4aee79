import errno
import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from features import pictures
from features.pictures import PictureError, Preparation, open_picture, picture_size, prepare


def drawn(width: int, height: int, seed: int = 0) -> Image.Image:
    """Draw a picture in which each pixel differs: noise on a colour ramp."""
    draw = np.random.default_rng(seed)
    ramp = np.linspace(0, 150, width)[None, :, None] + np.zeros((height, 1, 3))
    return Image.fromarray((ramp + draw.uniform(0, 100, (height, width, 3))).astype(np.uint8))


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def pixel(path: Path) -> tuple[int, ...]:
    picture = open_picture(path)
    assert picture.mode == "RGB"
    return tuple(int(value) for value in np.asarray(picture)[0, 0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_comes_out_upright(orientation: int, tmp_path: Path) -> None:
    # The stored array for each orientation, as the EXIF standard defines it by row 0 and column 0.
    upright = np.asarray(drawn(7, 5))
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: upright.swapaxes(0, 1)[::-1],
        7: upright.swapaxes(0, 1)[::-1, ::-1],
        8: upright.swapaxes(0, 1)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    path = saved(image, tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(open_picture(path)), upright)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_plain_modes_become_rgb(mode: str, tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 4), "white").convert(mode)
    assert pixel(saved(image, tmp_path / "a.png")) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_colour_spaces_become_rgb(mode: str, tmp_path: Path) -> None:
    image = Image.new("RGB", (16, 16), (200, 40, 90)).convert(mode)
    path = saved(image, tmp_path / "a.tif")
    assert np.abs(np.subtract(pixel(path), (200, 40, 90))).max() <= 2


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_half_transparent_black_is_grey(mode: str, tmp_path: Path) -> None:
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 128)).convert(mode)
    assert pixel(saved(image, tmp_path / "a.png")) == (127, 127, 127)


def test_a_transparent_palette_colour_is_white(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    assert pixel(saved(image, tmp_path / "a.png", transparency=0)) == (255, 255, 255)


@pytest.mark.parametrize("dtype", [np.uint16, np.dtype(">u2"), np.int32])
def test_grey_of_16_bits_is_scaled(dtype: np.dtype, tmp_path: Path) -> None:
    image = Image.fromarray(np.full((4, 4), 40000).astype(dtype))
    assert image.mode.startswith("I")
    assert pixel(saved(image, tmp_path / "a.tif")) == (156, 156, 156)  # 40000 / 257 = 155.6


def test_float_grey_is_clipped(tmp_path: Path) -> None:
    image = Image.fromarray(np.full((4, 4), 300, np.float32))
    assert pixel(saved(image, tmp_path / "a.tif")) == (255, 255, 255)


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    path = saved(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert pixel(path) == (255, 0, 0)


def test_a_broken_exif_block_is_ignored(tmp_path: Path) -> None:
    path = saved(drawn(8, 8), tmp_path / "a.png", exif=b"no such thing")
    assert open_picture(path).size == (8, 8)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "bmp", "tif"])
def test_a_truncated_picture_is_refused(suffix: str, tmp_path: Path) -> None:
    path = saved(drawn(64, 64), tmp_path / f"a.{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(PictureError, match=f"a.{suffix}: (unreadable|cut off)"):
        open_picture(path)


def test_postscript_is_not_run(tmp_path: Path) -> None:
    path = saved(drawn(8, 8), tmp_path / "a.eps")
    with pytest.raises(PictureError, match=r"a\.eps: a PostScript drawing \(EPS\)"):
        open_picture(path)


@pytest.mark.parametrize("read", [open_picture, picture_size])
@pytest.mark.parametrize(
    ("content", "message", "kind"),
    [
        (b"", "an empty file", "empty"),
        (b"<html>not found</html>", "a web page", "broken"),
        (b"\1\2\3\4", "not a picture", "broken"),
    ],
)
def test_a_file_that_is_not_a_picture_is_refused(
    read: Callable[[Path], object], content: bytes, message: str, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=rf"a\.jpg: {message}") as caught:
        read(path)
    assert caught.value.kind == kind


@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_is_that_of_the_upright_picture(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    drawn(30, 20).save(tmp_path / "a.jpg", exif=exif)
    assert picture_size(tmp_path / "a.jpg") == open_picture(tmp_path / "a.jpg").size


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "bmp", "tiff"])
def test_size_needs_no_pixels(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(drawn(300, 200), tmp_path / f"a.{suffix}")
    with Image.open(path) as image:
        kind = type(image)

    def load(self: Image.Image) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(kind, "load", load)
    assert picture_size(path) == (300, 200)


def test_a_name_too_long_for_a_file_is_a_picture_error(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="too long"):
        open_picture(tmp_path / ("a" * 300))


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"a\.jpg: no such file"):
        open_picture(tmp_path / "a.jpg")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [8001, 9999, 60000])
def test_a_huge_picture_is_refused_by_its_header(side: int, tmp_path: Path) -> None:
    path = saved(Image.new("1", (8, 8)), tmp_path / "a.bmp")
    data = bytearray(path.read_bytes())
    data[18:26] = side.to_bytes(4, "little") * 2  # BMP's width and height
    path.write_bytes(data)
    with pytest.raises(PictureError, match="pixels"):
        open_picture(path)


def png(*chunks: tuple[bytes, bytes], width: int = 8, height: int = 8) -> bytes:
    """Return a black PNG with more chunks before its pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(8 * (1 + 3 * 8)))
    all_chunks = [(b"IHDR", head), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in all_chunks
    )


def gif(width: int, height: int) -> bytes:
    """Return a GIF of 8×8 pixels whose frame declares another size."""
    colours = bytes(3) + b"\xff\xff\xff"
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0)
    return b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + colours + frame + b"\2\2L\1\0;"


def tiff(*tags: tuple[int, int, int, int]) -> bytes:
    """Return a TIFF of 8×8 grey pixels with some tags replaced: number, type, count, value."""
    plain = [(256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (273, 300), (277, 1), (279, 64)]
    every = {number: (4, 1, value) for number, value in plain} | {t[0]: t[1:] for t in tags}
    entries = b"".join(struct.pack("<HHII", n, *tag) for n, tag in sorted(every.items()))
    data = b"II*\0" + struct.pack("<IH", 8, len(every)) + entries + bytes(4)
    return data.ljust(300, b"\0") + bytes(64)


SWELLING = zlib.compress(bytes(50_000_000))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (png((b"iCCP", b"x\0\0" + SWELLING)), "broken"),
        (png((b"zTXt", b"x\0\0" + SWELLING)), "broken"),
        (png((b"iTXt", b"x\0\1\0\0\0" + SWELLING)), "broken"),
        (png(*[(b"zTXt", b"x\0\0" + zlib.compress(bytes(900_000)))] * 80), "broken"),
        (png(width=2**31 - 1, height=2**31 - 1), "huge"),
        (png(width=9500, height=9500), "huge"),
        (png(width=8000, height=8000), "broken"),  # the largest size allowed, but few pixels
        (png(width=0), "broken"),
        (gif(65535, 65535), "huge"),
        (gif(8001, 8001), "huge"),
        (tiff((273, 4, 2**28, 8), (279, 4, 2**28, 8)), "broken"),
        (tiff((277, 3, 1, 65535)), "broken"),
        (b"P6 " + b"9" * 5000 + b" 1 255\n", "broken"),
        (b"P6 8000 8000 65535\n", "broken"),
        (b"\xff\xd8" + b"\xff" * 100_000, "broken"),
    ],
)
def test_bombs_and_absurd_sizes_are_refused(content: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(PictureError) as caught:
        open_picture(tmp_path / "a")
    assert caught.value.kind == kind
    assert str(caught.value).isprintable()


def test_many_texts_that_swell_together_are_named_by_their_sum(tmp_path: Path) -> None:
    texts = [(b"zTXt", b"x\0\0" + zlib.compress(bytes(900_000)))] * 80
    (tmp_path / "a").write_bytes(png(*texts))
    with pytest.raises(PictureError, match=r"32,000,000 bytes, or all its texts to more than 64,"):
        open_picture(tmp_path / "a")


@pytest.mark.parametrize(
    "chunk",
    [
        (b"zTXt", b"x\0\0" + zlib.compress(bytes(20_000_000))),
        (b"iTXt", b"x\0\1\0\0\0" + zlib.compress(bytes(9_000_000))),
        (b"iCCP", b"x\0\0" + zlib.compress(bytes(3_000_000))),
        (b"tEXt", b"x\0" + b"a" * 65_000_000),
    ],
    ids=["compressed", "international", "profile", "plain"],
)
def test_large_text_of_a_png_is_passed_over(chunk: tuple[bytes, bytes], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = (b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    (tmp_path / "a").write_bytes(png(chunk, turned, width=8, height=4))
    assert picture_size(tmp_path / "a") == (4, 8)
    assert open_picture(tmp_path / "a").size == (4, 8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "content",
    [
        png((b"eXIf", b"II*\0\x08\0\0\0\xff\xff" + b"\x12\1\5\0\xff\xff\xff\x7f\0\0\0\0" * 99)),
        png((b"tEXt", b"x\0" + bytes(100_000))),
        tiff(
            (34675, 7, 2**32 - 1, 8), (34665, 4, 1, 8)
        ),  # its EXIF block points back to its own start
        tiff((258, 3, 2**30, 8)),
        tiff((322, 4, 1, 2**31 - 16), (323, 4, 1, 2**31 - 16), (324, 4, 1, 8)),
        b"P5 1 1 65535\n\0\1",
    ],
    ids=["exif", "text", "tags", "bits", "tiles", "pixel"],
)
def test_oddities_of_a_good_picture_are_ignored(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    picture = open_picture(tmp_path / "a")
    assert picture.size == picture_size(tmp_path / "a")
    assert not np.asarray(picture).any()


def test_a_wrongly_named_picture_is_read(tmp_path: Path) -> None:
    assert pixel(saved(Image.new("RGB", (4, 4), "red"), tmp_path / "a.jpg", format="PNG")) == (
        255,
        0,
        0,
    )


@pytest.mark.parametrize("read", [open_picture, picture_size])
@pytest.mark.parametrize("name", ["a\0b", "a\nb", "a\u2028b", "\ud800", "a" * 5000])
def test_names_that_no_file_has(read: Callable[[Path], object], name: str, tmp_path: Path) -> None:
    with pytest.raises(PictureError) as caught:
        read(tmp_path / name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (os.mkfifo, "a pipe, socket or device in a picture's place"),
        (os.mkdir, "a folder in a picture's place"),
        (lambda path: os.symlink(path, path), "a link that leads to no file"),
        (lambda path: os.symlink("gone.jpg", path), "a link that leads to no file"),
    ],
    ids=["pipe", "folder", "loop", "dangling"],
)
@pytest.mark.parametrize("read", [open_picture, picture_size, pictures.missing_share])
def test_a_path_that_is_not_a_file_is_named(
    make: Callable[[Path], None], reason: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    make(tmp_path / "a.jpg")
    with pytest.raises(PictureError) as caught:
        read(tmp_path / "a.jpg")
    assert (caught.value.reason, caught.value.kind) == (reason, "missing")


def test_flipped_bytes_raise_nothing_else(tmp_path: Path) -> None:
    draw, path, messages = np.random.default_rng(0), tmp_path / "a", []
    for format_ in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"):
        data = saved(drawn(24, 24), path, format=format_).read_bytes()
        for _ in range(60):
            broken = bytearray(data)
            for place in draw.integers(0, min(len(data), 400), 4):
                broken[place] = draw.integers(256)
            path.write_bytes(broken)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    open_picture(path)
                except PictureError as error:
                    messages.append(str(error))
    assert len(messages) > 100
    assert not any("\n" in line for line in messages)


@pytest.mark.parametrize(("width", "height"), [(500, 333), (333, 500), (40, 700), (256, 256)])
def test_center_is_what_torchvision_gives(width: int, height: int) -> None:
    reference = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    picture = drawn(width, height)
    assert torch.equal(prepare(picture, None, Preparation()), reference(picture))


def test_stretch_keeps_the_corners() -> None:
    picture = Image.new("RGB", (300, 100), "black")
    picture.paste("white", (270, 0, 300, 100))
    white = prepare(picture, None, Preparation("stretch", 64))[0] > 2
    assert white[:, -4:].all()
    assert not white[:, :-8].any()


def test_a_box_is_widened_and_clamped() -> None:
    picture = drawn(60, 50)
    whole = prepare(picture.crop((40, 10, 60, 31)), None, Preparation(size=32))
    assert torch.equal(prepare(picture, (40.7, 10.2, 99, 30.1), Preparation(size=32)), whole)


@pytest.mark.parametrize("resize", ["center", "stretch"])
@pytest.mark.parametrize("box", [None, (20.5, 10.0, 220.0, 90.0), (-5.0, 30.0, 60.0, 170.0)])
def test_the_kept_area_is_what_the_square_shows(resize: str, box: pictures.Box | None) -> None:
    ramp = np.zeros((180, 240, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(240), np.arange(180)[:, None]  # red: x, green: y
    preparation = Preparation(resize, 64)
    shown = pictures.square(Image.fromarray(ramp), box, preparation).astype(float)
    x0, y0, x1, y1 = pictures.kept_area((240, 180), box, preparation)
    middle, step = shown[31:33, 31:33].mean((0, 1)), np.diff(shown[10:54, 10:54].mean(0), axis=0)
    assert middle[:2] == pytest.approx([(x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2], abs=1)
    assert step[:, 0].mean() * 64 == pytest.approx(x1 - x0, rel=0.03)


@pytest.mark.parametrize("box", [(60, 0, 70, 9), (9, 9, 9, 9), (9, 0, 5, 9), (0, 0, 1, np.nan)])
def test_an_empty_box_is_refused(box: pictures.Box) -> None:
    with pytest.raises(PictureError, match="box"):
        prepare(drawn(60, 50), box, Preparation())


def test_a_very_long_picture_counts_by_its_centre() -> None:
    picture = drawn(5001, 1)
    centre = picture.crop((2490, 0, 2510, 1))
    assert torch.equal(prepare(picture, None, Preparation()), prepare(centre, None, Preparation()))


@pytest.mark.parametrize("arguments", [("crop", 224), ("center", 0), ("center", 100_000)])
def test_a_wrong_preparation_is_refused(arguments: tuple[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Preparation(*arguments)


def test_preparations_have_names() -> None:
    assert Preparation().name == "center224"
    assert Preparation("stretch", 96).name == "stretch96"


def test_trouble_of_the_machine_is_not_the_pictures_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such trouble may be temporary, but a picture noted as broken stays so."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Image, "open", refused)
    with pytest.raises(OSError, match="Too many"):
        open_picture(tmp_path / "a.png")


# --- a file, its content, and an open image give the same


def with_orientation() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return content(drawn(40, 24), "JPEG", exif=exif)


def content(image: Image.Image, format_: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def animated(format_: str) -> bytes:
    frames = [drawn(20, 16, seed) for seed in range(3)]
    return content(frames[0], format_, save_all=True, append_images=frames[1:])


SOURCES = {
    "turned": with_orientation(),
    "transparent": content(drawn(9, 8).convert("RGBA").rotate(30), "PNG"),
    "grey of 16 bits": content(
        Image.fromarray(np.arange(0, 64000, 1000).astype(np.uint16).reshape(8, 8)), "PNG"
    ),
    "animation": animated("GIF"),
    "pages": animated("TIFF"),
    "palette": content(drawn(9, 8).quantize(16), "PNG"),
    "a pixel": content(drawn(1, 1), "BMP"),
    "large text": png((b"zTXt", b"x\0\0" + zlib.compress(bytes(20_000_000)))),
}


@pytest.mark.parametrize("data", SOURCES.values(), ids=SOURCES)
def test_content_gives_what_its_file_gives(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    assert picture_size(data) == picture_size(path) == open_picture(path).size
    assert open_picture(data).mode == "RGB"
    np.testing.assert_array_equal(np.asarray(open_picture(data)), np.asarray(open_picture(path)))


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("frame", [0, 2])
@pytest.mark.parametrize(
    "name", sorted(SOURCES.keys() - {"large text"})
)  # Pillow itself refuses that
def test_an_open_image_gives_what_its_file_gives(name: str, frame: int, loaded: bool) -> None:
    image = Image.open(io.BytesIO(SOURCES[name]))
    frame = min(frame, getattr(image, "n_frames", 1) - 1)
    image.seek(frame)
    if loaded:
        image.load()
    expected = open_picture(SOURCES[name])
    assert picture_size(image) == expected.size
    for _ in range(2):
        np.testing.assert_array_equal(np.asarray(open_picture(image)), np.asarray(expected))
        assert image.tell() == frame


def test_an_image_made_in_memory_is_copied() -> None:
    image = drawn(8, 8)
    picture = open_picture(image)
    picture.putpixel((0, 0), (1, 2, 3))
    assert image.getpixel((0, 0)) != (1, 2, 3)


@pytest.mark.parametrize("as_image", [False, True])
def test_a_page_that_is_left_keeps_its_pixels(as_image: bool) -> None:
    """An image at its third page returns to its third page."""
    image = Image.open(io.BytesIO(SOURCES["pages"]))
    image.seek(2)
    before = np.array(image)
    (open_picture if as_image else picture_size)(image)
    np.testing.assert_array_equal(np.asarray(image), before)


def test_a_cut_off_jpeg_is_filled_from_its_content(tmp_path: Path) -> None:
    data = content(drawn(200, 160), "JPEG")
    data = data[: int(len(data) * 0.98)]
    (tmp_path / "a").write_bytes(data)
    expected, missing = pictures.read_picture(tmp_path / "a")
    picture, share = pictures.read_picture(data)
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(expected))
    assert share == missing == pictures.missing_share(data) > 0
    with Image.open(io.BytesIO(data)) as image, pytest.raises(PictureError, match="truncated"):
        open_picture(image)


def huge() -> bytes:
    data = bytearray(content(Image.new("1", (8, 8)), "BMP"))
    data[18:26] = (8001).to_bytes(4, "little") * 2  # BMP's width and height
    return bytes(data)


@pytest.mark.parametrize("read", [open_picture, picture_size])
@pytest.mark.parametrize(
    ("data", "message", "kind"),
    [
        (b"", "an empty file", "empty"),
        (b"\1\2\3\4", "not a picture of a known format", "broken"),
        (b"<html>not found</html>", "a web page (HTML) in a picture's place", "broken"),
        (huge(), "8001×8001 = 64,016,001 pixels, at most 64,000,000 allowed", "huge"),
    ],
)
def test_refused_content_names_no_file(
    read: Callable[[bytes], object], data: bytes, message: str, kind: str
) -> None:
    with pytest.raises(PictureError) as caught:
        read(data)
    assert (str(caught.value), caught.value.kind) == (message, kind)


@pytest.mark.parametrize("read", [open_picture, picture_size])
@pytest.mark.parametrize(
    ("size", "kind"), [((8001, 8000), "huge"), ((0, 5), "empty")], ids=["huge", "empty"]
)
def test_limits_hold_for_images(
    read: Callable[[Image.Image], object], size: tuple[int, int], kind: str
) -> None:
    with pytest.raises(PictureError) as caught:
        read(Image.new("1", size))
    assert caught.value.kind == kind


@pytest.mark.parametrize("name", ["turned", "palette", "a pixel"])
def test_an_image_whose_file_was_closed_before_it_was_read(name: str) -> None:
    with Image.open(io.BytesIO(SOURCES[name])) as image:
        pass
    with pytest.raises(PictureError, match="an image whose file was closed before"):
        open_picture(image)


@pytest.mark.parametrize("frame", [0, 1])
def test_a_closed_image_is_refused(frame: int) -> None:
    image = Image.open(io.BytesIO(SOURCES["animation"]))
    image.seek(frame)
    image.close()
    with pytest.raises(PictureError, match="unreadable picture: Operation on closed image"):
        open_picture(image)
