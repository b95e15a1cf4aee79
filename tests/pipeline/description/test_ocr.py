"""The describer `ocr`: reading order, and RapidOCR itself without a network."""

import socket
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from pipeline.description.config import DescribeConfig
from pipeline.description.describer import make_describer
from pipeline.description.ocr import reading_order
from pipeline.errors import SettingError
from pipeline.machine import Machine

OCR = DescribeConfig("ocr")


def test_columns_are_read_one_after_the_other() -> None:
    left = [(0, 30 + 20 * n, 90, 46 + 20 * n) for n in range(3)]
    right = [(120, 34 + 20 * n, 200, 50 + 20 * n) for n in range(3)]
    title, footer = (0, 0, 200, 22), (30, 120, 170, 136)
    boxes = np.array([right[1], footer, left[2], right[0], left[0], title, right[2], left[1]])
    assert reading_order(boxes.astype(float)) == [5, 4, 7, 2, 3, 0, 6, 1]


def test_words_of_a_row_are_read_from_left_to_right() -> None:
    boxes = np.array([[60, 3, 90, 23], [0, 0, 50, 20], [100, -2, 140, 18]], float)
    assert reading_order(boxes) == [1, 0, 2]


def test_lines_of_different_height_are_different_blocks() -> None:
    boxes = np.array([[0, 0, 100, 60], [0, 62, 80, 74], [0, 76, 80, 88], [90, 64, 99, 76]], float)
    assert reading_order(boxes) == [0, 1, 2, 3]


def test_text_in_pictures_is_read_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rapidocr")
    pytest.importorskip("onnxruntime")

    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    sign = Image.new("RGB", (240, 110), "white")
    draw, font = ImageDraw.Draw(sign), ImageFont.load_default(32)
    draw.text((10, 10), "ORIENTAL", "darkblue", font)
    draw.text((10, 55), "HOTEL", "darkblue", font)
    assert make_describer(OCR, Machine(threads=1)).texts([sign]) == ["ORIENTAL HOTEL"]


def test_without_the_extra_one_line_says_how_to_mend_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("pipeline.description.config.version", missing)
    with pytest.raises(SettingError, match=r"found no rapidocr; .* pip install rapidocr onnxrun"):
        make_describer(OCR, Machine())
    monkeypatch.setattr("pipeline.description.config.version", lambda name: "3.10.0")
    monkeypatch.setattr("pipeline.description.ocr.find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"found rapidocr 3.10.0; .* pip install rapidocr onnx"):
        make_describer(OCR, Machine())
