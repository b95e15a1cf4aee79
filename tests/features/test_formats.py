import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from features import pictures
from features.formats import HEAD, format_of
from features.pictures import PictureError, open_picture, picture_size
from tests.features.test_pictures import drawn


def ftyp(major: bytes, *others: bytes) -> bytes:
    body = b"ftyp" + major + bytes(4) + b"".join(others)
    return (len(body) + 4).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (ftyp(b"heic", b"mif1", b"heic"), "a HEIC picture"),
        (ftyp(b"mif1", b"mif1", b"heic"), "a HEIC picture"),
        (ftyp(b"mif1", b"avif", b"miaf"), "an AVIF picture"),
        (ftyp(b"avif", b"mif1"), "an AVIF picture"),
        (ftyp(b"isom", b"avc1"), "a video (MP4)"),
        (ftyp(b"mp42"), "a video (MP4)"),
        (ftyp(b"qt  "), "a video (QuickTime)"),
        (ftyp(b"3gp4"), "a video (3GP)"),
        (b"\x1aE\xdf\xa3" + bytes(9), "a video (WebM or Matroska)"),
        (b"RIFF\0\0\0\0AVI LIST", "a video (AVI)"),
        (b"\xff\x0a" + bytes(9), "a JPEG XL picture"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"8BPS\0\1", "a Photoshop file (PSD)"),
        (b"\0\0\1\0\1\0", "an icon (ICO)"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"<?xml version='1.0'?>\n<!-- made by hand -->\n<svg/>", "an SVG drawing"),
        (b"\xef\xbb\xbf\n <!DOCTYPE svg PUBLIC 'x' 'y'><svg>", "an SVG drawing"),
        ("\ufeff<svg/>".encode("utf-16-le"), "an SVG drawing"),
        (b"<!DOCTYPE html><html><svg/>", "a web page (HTML)"),
        (b"\n\n<HTML><body>404", "a web page (HTML)"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML file"),
        (b'{"error": "not found"}', "JSON text"),
        ("nicht gefunden: ä".encode(), "a text file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (bytes(500), "a file of zero bytes"),
        (b"PK\3\4" + bytes(9), "a ZIP archive"),
    ],
)
@pytest.mark.parametrize("read", [open_picture, picture_size])
def test_a_file_is_called_by_what_it_is(
    head: bytes, name: str, read: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "_reader", lambda name: None)
    (tmp_path / "a.jpg").write_bytes(head)
    with pytest.raises(PictureError) as caught:
        read(tmp_path / "a.jpg")  # type: ignore[operator]
    assert str(caught.value).startswith(f"{tmp_path / 'a.jpg'}: {name}")
    assert caught.value.kind == ("format" if "HEIC" in name or "AVIF" in name else "broken")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("data", [b"\1\2\3", np.random.default_rng(0).bytes(HEAD), b"\xff"])
def test_unknown_bytes_have_no_format(data: bytes) -> None:
    assert format_of(data) is None


@pytest.mark.parametrize("head", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0"])
def test_a_known_format_with_a_broken_header_is_broken(head: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(head + b"\0\1")
    with pytest.raises(PictureError) as caught:
        open_picture(tmp_path / "a")
    assert caught.value.kind == "broken"
    assert "not a picture of a known format" not in str(caught.value)


def test_text_as_long_as_the_head_may_end_within_a_letter(tmp_path: Path) -> None:
    known = format_of(("x" + "ä" * HEAD).encode()[:HEAD])
    assert known is not None
    assert known.name == "a text file"


# --- formats that only some installations read


def in_halves() -> Image.Image:
    picture = Image.new("RGB", (96, 72), "red")
    picture.paste("blue", (48, 0, 96, 72))
    return picture


def check_halves(path: Path) -> None:
    assert picture_size(path) == (96, 72)
    picture = open_picture(path)
    assert picture.mode == "RGB"
    red, blue = np.asarray(picture).astype(int)[[5, 5], [5, 90]]
    assert red[0] - red[2] > 150
    assert blue[2] - blue[0] > 150


@pytest.mark.parametrize("suffix", ["avif", "jpg"])
def test_avif_is_read(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("PIL._avif")
    in_halves().save(tmp_path / f"a.{suffix}", "AVIF")
    check_halves(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_turned_avif_comes_out_upright(orientation: int, tmp_path: Path) -> None:
    pytest.importorskip("PIL._avif")
    exif = Image.Exif()
    exif[0x0112] = orientation
    drawn(60, 40).save(tmp_path / "a.jpg", exif=exif, quality=100)
    drawn(60, 40).save(tmp_path / "a.avif", exif=exif, quality=100)
    expected = np.asarray(open_picture(tmp_path / "a.jpg")).astype(int)
    assert picture_size(tmp_path / "a.avif") == picture_size(tmp_path / "a.jpg")
    assert np.abs(np.asarray(open_picture(tmp_path / "a.avif")) - expected).mean() < 20


def test_avif_names_the_remedy_where_pillow_lacks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures.pillow, "modules", {})
    pictures._reader.cache_clear()
    (tmp_path / "a.jpg").write_bytes(ftyp(b"avif"))
    with pytest.raises(PictureError, match="an AVIF picture, which the installed Pillow does not"):
        open_picture(tmp_path / "a.jpg")
    pictures._reader.cache_clear()


def test_heic_is_read_with_the_extra(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    heif.from_pillow(in_halves()).save(file)
    (tmp_path / "a.jpg").write_bytes(file.getvalue())
    check_halves(tmp_path / "a.jpg")
    assert "HEIF" not in Image.OPEN  # the program's own readers are unchanged
    (tmp_path / "a.jpg").write_bytes(file.getvalue()[:-200])
    with pytest.raises(PictureError, match=r"a\.jpg: cut off: \d+ %"):
        open_picture(tmp_path / "a.jpg")


def test_a_turned_heic_comes_out_upright(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112] = 6
    drawn(60, 40).save(tmp_path / "a.jpg", exif=exif, quality=100)
    heif.from_pillow(drawn(60, 40)).save(tmp_path / "a.heic", exif=exif.tobytes(), quality=100)
    expected = np.asarray(open_picture(tmp_path / "a.jpg")).astype(int)
    assert picture_size(tmp_path / "a.heic") == (40, 60)
    assert np.abs(np.asarray(open_picture(tmp_path / "a.heic")) - expected).mean() < 20


def test_heic_names_the_extra_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    pictures._reader.cache_clear()
    (tmp_path / "a.heic").write_bytes(ftyp(b"heic"))
    with pytest.raises(PictureError, match=r"a HEIC picture: install the extra \[heif\]") as caught:
        open_picture(tmp_path / "a.heic")
    assert caught.value.kind == "format"
    pictures._reader.cache_clear()


@pytest.mark.parametrize("form", ["JPEG2000", "MPO", "PNG", "WEBP"])
def test_other_formats_that_viewers_show_give_their_first_frame(form: str, tmp_path: Path) -> None:
    several: dict[str, Any] = (
        {} if form == "JPEG2000" else {"append_images": [Image.new("RGB", (96, 72), "lime")]}
    )
    in_halves().save(tmp_path / "a", form, save_all=bool(several), **several)
    check_halves(tmp_path / "a")


@pytest.mark.parametrize("form", ["WEBP", "AVIF", "BMP", "PNG"])
def test_a_declared_size_shows_how_much_is_missing(form: str, tmp_path: Path) -> None:
    if form == "AVIF":
        pytest.importorskip("PIL._avif")
    drawn(64, 64).save(tmp_path / "a", form)
    data = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(data[: round(len(data) * 0.6)])
    with pytest.raises(PictureError, match="cut off: 40 % of its data is missing"):
        open_picture(tmp_path / "a")
