"""The describer `ocr`: the text in a picture, read by RapidOCR, whose models are in its package."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL.Image import Image

from pipeline.description.config import engine_version
from pipeline.description.texts import on_one_line
from pipeline.errors import SettingError

LEAST_SCORE = 0.7  # of a line, 0 to 1: with a lower score, most are textures or misread
GAP = 0.8  # largest gap between two lines of a block, in heights of the smaller one
ALIKE = 0.6  # least height of the smaller line, in heights of the other one

Lines = list[int]  # numbers of lines


def need_engine() -> str:
    """Return `engine_version`. Raises SettingError if a package is missing."""
    engine = engine_version()
    if engine is None or find_spec("onnxruntime") is None:
        raise SettingError(
            "--describer ocr: expected the packages rapidocr and onnxruntime, found "
            f"{engine or 'no rapidocr'}; install them: pip install rapidocr onnxruntime"
        )
    return engine


class TextReader:
    """RapidOCR on the CPU. Nothing is downloaded."""

    def __init__(self, threads: int) -> None:
        """Load the models. threads: that read one picture together."""
        from rapidocr import RapidOCR

        self._read = RapidOCR(
            params={
                "Global.log_level": "error",
                "Global.text_score": LEAST_SCORE,
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            }
        )

    def texts(self, pictures: Sequence[Image]) -> list[str]:
        """Return the text in each picture: its lines in reading order, joined by spaces."""
        return [_joined(self._read(picture)) for picture in pictures]


def _joined(result: Any) -> str:
    """Join the lines of RapidOCR's result, whose type depends on whether there is text."""
    texts = getattr(result, "txts", None)
    if not texts:
        return ""
    corners = np.asarray(result.boxes, float).reshape(-1, 4, 2)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return on_one_line(" ".join(texts[n] for n in reading_order(boxes)))


def reading_order(boxes: np.ndarray) -> Lines:
    """Return the lines' numbers in reading order: block by block, each from its top to its end.

    A block is a column or paragraph: lines of similar height, one under the other. Blocks follow
    each other by their upper edges.

    boxes: (N, 4) x0, y0, x1, y1 of the lines, in pixels.
    """
    blocks: list[Lines] = []
    for n in np.argsort(boxes[:, 1], kind="stable").tolist():
        above = next((b for b in blocks if _continues(boxes[b[-1]], boxes[n])), None)
        if above is None:
            blocks.append([n])
        else:
            above.append(n)
    return [n for block in _by_rows(blocks, boxes) for n in block]


def _continues(last: np.ndarray, line: np.ndarray) -> bool:
    """Return True if a line is the next one of the block that ends with `last`."""
    heights = sorted((last[3] - last[1], line[3] - line[1]))
    beside = min(last[2], line[2]) <= max(last[0], line[0])
    gap = line[1] - last[3]
    similar = heights[0] >= ALIKE * heights[1]
    return bool(similar and not beside and abs(gap) <= GAP * heights[0])


def _by_rows(blocks: list[Lines], boxes: np.ndarray) -> list[Lines]:
    """Sort blocks by the rows of their first lines, and within a row from left to right."""
    rows: list[list[Lines]] = []
    end = 0.0  # lower edge of the row's first line
    for block in sorted(blocks, key=lambda block: float(boxes[block[0], 1])):
        top, bottom = boxes[block[0], 1], boxes[block[0], 3]
        if rows and (top + bottom) / 2 < end:
            rows[-1].append(block)
        else:
            rows.append([block])
            end = bottom
    return [block for row in rows for block in sorted(row, key=lambda block: boxes[block[0], 0])]
