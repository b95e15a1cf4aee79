from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from features.grounding.salience import MOST, Salience, _lab, _scores, _windows
from features.grounding.select import iou
from features.pictures import Box, open_picture


def scene(path: Path, size: tuple[int, int], things: dict[str, Box], noise: float = 0.0) -> Path:
    """Draw ellipses of the given colours and boxes on grey-green, and save them to `path`."""
    image = Image.new("RGB", size, (110, 140, 110))
    for colour, box in things.items():
        ImageDraw.Draw(image).ellipse(box, fill=colour)
    grain = np.random.default_rng(0).normal(0, noise, (size[1], size[0], 1))
    Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8)).save(path)
    return path


def boxes(path: Path, most: int = 3) -> list[Box]:
    (candidates,) = Salience().find([open_picture(path)], [()])
    return [candidate.box for candidate in candidates[:most]]


@pytest.mark.parametrize("noise", [0, 15])
@pytest.mark.parametrize(
    "disc", [(300, 100, 420, 220), (20, 30, 90, 100), (40, 10, 600, 417), (400, 300, 639, 420)]
)
def test_a_disc_comes_first(disc: Box, noise: float, tmp_path: Path) -> None:
    file = scene(tmp_path / "a.png", (640, 427), {"red": disc}, noise)
    assert iou(boxes(file)[0], disc) >= 0.5


def test_two_objects_are_found(tmp_path: Path) -> None:
    things: dict[str, Box] = {"red": (60, 80, 180, 240), "blue": (400, 150, 560, 290)}
    grounded = boxes(scene(tmp_path / "a.png", (640, 427), things, noise=10))
    assert all(max(iou(box, thing) for box in grounded) >= 0.5 for thing in things.values())


def test_a_flat_picture_has_no_objects(tmp_path: Path) -> None:
    assert boxes(scene(tmp_path / "a.png", (300, 200), {}, noise=4)) == []


def test_a_barely_visible_object_is_ignored(tmp_path: Path) -> None:
    faint: dict[str, Box] = {"#72926f": (60, 80, 180, 240)}  # about 2 Lab units from the background
    assert boxes(scene(tmp_path / "a.png", (640, 427), faint)) == []


def test_the_best_come_first(tmp_path: Path) -> None:
    things: dict[str, Box] = {"red": (60, 80, 180, 240), "blue": (400, 150, 560, 290)}
    file = scene(tmp_path / "a.png", (640, 427), things)
    (candidates,) = Salience().find([open_picture(file)], [()])
    scores = [candidate.score for candidate in candidates]
    assert 1 < len(scores) <= MOST
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)


def test_boxes_lie_in_the_picture_apart_and_large_enough(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    blocks = draw.integers(0, 256, (6, 4, 3)).astype(np.uint8)
    Image.fromarray(blocks).resize((45, 67), 0).save(tmp_path / "a.png")
    grounded = boxes(tmp_path / "a.png", most=9)
    assert len(grounded) >= 3
    for i, (x0, y0, x1, y1) in enumerate(grounded):
        assert 0 <= x0 <= x1 - 8
        assert x1 <= 45
        assert 0 <= y0 <= y1 - 8
        assert y1 <= 67
        assert all(iou((x0, y0, x1, y1), other) <= 0.31 for other in grounded[:i])


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 900), (900, 9)])
def test_odd_sizes_are_survived(size: tuple[int, int], tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    for x0, y0, x1, y1 in boxes(tmp_path / "a.png"):
        assert min(x1 - x0, y1 - y0) >= 8


def test_scores_are_a_plain_sum() -> None:
    salience = np.random.default_rng(0).random((20, 30))
    windows = _windows(30, 20)[::37]
    expected: list[float] = []
    for x0, y0, x1, y1 in windows:
        across, down = max(1, round(0.2 * (x1 - x0))), max(1, round(0.2 * (y1 - y0)))
        ring = np.zeros((20 + 2 * down, 30 + 2 * across), bool)
        ring[y0 : y1 + 2 * down, x0 : x1 + 2 * across] = True
        ring[y0 + down : y1 + down, x0 + across : x1 + across] = False
        inside = ring[down : down + 20, across : across + 30]
        contrast = salience[y0:y1, x0:x1].mean() - salience[inside].mean()
        share = (x1 - x0) * (y1 - y0) / 600
        expected.append(max(0.0, float(contrast * share**0.25 * inside.sum() / ring.sum())))
    np.testing.assert_allclose(_scores(salience, windows), expected, atol=1e-9)


def test_lab_of_known_colours() -> None:
    rgb = np.array([[1, 1, 1], [1, 0, 0], [0, 0, 1], [0, 0, 0]], np.float32)
    expected = np.array([[100, 0, 0], [53.24, 80.09, 67.2], [32.3, 79.19, -107.86], [0, 0, 0]])
    np.testing.assert_allclose(_lab(rgb), expected, atol=0.1)
