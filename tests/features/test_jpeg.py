import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from features.jpeg import layout_of
from features.pictures import MOST_MISSING, PictureError, missing_share, open_picture, read_picture
from tests.features.test_pictures import drawn


def encoded(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


KINDS: dict[str, dict[str, Any]] = {
    "sequential": {},
    "progressive": {"progressive": True},
    "every colour in full": {"subsampling": 0},
    "restarts": {"restart_marker_rows": 2},
    "grey": {},
}


@pytest.fixture(params=KINDS)
def whole(request: pytest.FixtureRequest) -> bytes:
    image = drawn(320, 200)
    image = image.convert("L") if request.param == "grey" else image
    return encoded(image, **KINDS[request.param])


def cut(data: bytes, share: float, path: Path) -> Path:
    path.write_bytes(data[: round(len(data) * (1 - share))])
    return path


def test_without_its_end_marker_a_picture_is_whole(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "whole.jpg").write_bytes(whole)
    for name, data in {
        "marker": whole[:-2],
        "half": whole[:-1],
        "zeros": whole[:-2] + bytes(999),
    }.items():
        (tmp_path / name).write_bytes(data)
        picture, missing = read_picture(tmp_path / name)
        assert missing == 0
        expected = np.asarray(open_picture(tmp_path / "whole.jpg"))
        np.testing.assert_array_equal(np.asarray(picture), expected)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.045])
def test_a_little_that_is_missing_is_filled(whole: bytes, share: float, tmp_path: Path) -> None:
    (tmp_path / "whole.jpg").write_bytes(whole)
    picture, missing = read_picture(cut(whole, share, tmp_path / "a.jpg"))
    assert missing == pytest.approx(share, abs=0.01)
    expected = np.asarray(open_picture(tmp_path / "whole.jpg"))
    np.testing.assert_array_equal(np.asarray(picture)[:160], expected[:160])
    assert missing_share(tmp_path / "a.jpg") == missing


def test_a_segment_that_is_longer_than_it_says_is_passed_over(tmp_path: Path) -> None:
    whole = encoded(drawn(320, 200))
    short = b"\xff\xe1\0\x10" + bytes(40)  # 26 bytes more than its length, as libjpeg skips them
    data = whole[:2] + short + whole[2:]
    (tmp_path / "whole.jpg").write_bytes(data)
    assert read_picture(tmp_path / "whole.jpg")[1] == 0
    _, missing = read_picture(cut(data, 0.03, tmp_path / "a.jpg"))
    assert missing == pytest.approx(0.03, abs=0.01)


@pytest.mark.parametrize("share", [0.08, 0.3, 0.7, 0.97])
def test_much_that_is_missing_is_refused(whole: bytes, share: float, tmp_path: Path) -> None:
    for read in (open_picture, missing_share):
        with pytest.raises(PictureError, match=r"a\.jpg: cut off: .*% of its data is missing"):
            read(cut(whole, share, tmp_path / "a.jpg"))


def test_a_plain_foot_takes_few_bytes(tmp_path: Path) -> None:
    picture = Image.new("RGB", (320, 240), "white")
    picture.paste(drawn(320, 160), (0, 0))
    data = encoded(picture)
    _, missing = read_picture(cut(data, 0.01, tmp_path / "a.jpg"))  # a third of the foot
    assert 0 < missing < 0.03


def test_the_last_scan_of_a_plain_picture_may_be_missing(tmp_path: Path) -> None:
    picture = Image.new("RGB", (320, 200), "red")
    picture.paste("blue", (100, 0, 320, 200))
    (tmp_path / "whole.jpg").write_bytes(data := encoded(picture, progressive=True))
    picture, missing = read_picture(cut(data, 0.05, tmp_path / "a.jpg"))
    assert 0 < missing < 0.05
    expected = np.asarray(open_picture(tmp_path / "whole.jpg")).astype(int)
    assert np.abs(np.asarray(picture) - expected).max() < 20
    with pytest.raises(
        PictureError, match="cut off: more than 5 %"
    ):  # more than the last bits is missing
        open_picture(cut(data, 0.5, tmp_path / "a.jpg"))


def test_zeros_that_a_download_left_are_no_data(tmp_path: Path) -> None:
    whole = encoded(drawn(320, 200))
    path = cut(whole, 0.5, tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes() + bytes(len(whole) // 2))
    with pytest.raises(PictureError, match="cut off"):
        open_picture(path)


def test_the_share_is_named(tmp_path: Path) -> None:
    path = cut(encoded(drawn(320, 200)), 0.4, tmp_path / "a.jpg")
    with pytest.raises(PictureError, match=r"cut off: (3[6-9]|4[0-4]) % of its data is missing"):
        open_picture(path)


def test_a_picture_with_an_end_marker_lacks_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(drawn(32, 32)))
    (tmp_path / "b.jpg").write_bytes(encoded(drawn(32, 32)) + b"what a camera adds")
    assert missing_share(tmp_path / "a.jpg") == missing_share(tmp_path / "b.jpg") == 0


def test_a_thumbnails_end_is_not_the_pictures(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(drawn(320, 200), exif=exif.tobytes() + encoded(drawn(32, 32)))
    assert data.index(b"\xff\xd9") < len(data) - 2
    picture, missing = read_picture(cut(data, 0.03, tmp_path / "a.jpg"))
    assert picture.size == (200, 320)  # upright
    assert 0 < missing <= MOST_MISSING


def test_pillows_global_switch_stays_off(tmp_path: Path) -> None:
    path = cut(encoded(drawn(320, 200)), 0.03, tmp_path / "a.jpg")
    values, stop = set(), threading.Event()

    def watch() -> None:
        while not stop.is_set():
            values.add(ImageFile.LOAD_TRUNCATED_IMAGES)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(5):
        open_picture(path)
    stop.set()
    watcher.join()
    assert values == {False}


def test_invalid_markers_have_no_layout() -> None:
    assert layout_of(b"\xff\xd8\0\0") is None
    whole = encoded(drawn(32, 32))
    layout = layout_of(whole)
    assert layout is not None
    assert layout.ended
    assert not any(map(any, layout.lacking.values()))
